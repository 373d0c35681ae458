"""What a user waits for with a model of full size: ViT-B/32 in the paper's form, of random weights.

    python benchmarks/full_size.py [--parts search embed app] [--rounds 5] [--videos 50] [--searches 10] [--rows 1000]
    python benchmarks/full_size.py --quick

search: ``c2v search`` from the start of the process to its end, over an index of ``--rows`` random rows, in turn with
    ``python -c "import fiftyone"``; and where the time goes, of a process that does the same step by step.
embed: ``c2v embed`` of generated clips (320x240, 12 s, H.264), the whole process, with its peak memory; and decoding
    and encoding alone, which on a CPU take turns.
app: from Enter in the Video search panel to the grid redrawn, in Chromium (benchmarks/app_search.py): the first search,
    which loads the model, and those after it; and from a click on a video until its best captions are told.

Each stands beside the embedded model. The weights are random: speed is measured, and nothing else.
Every part is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # last: the folder datasets/ must not shadow a package

MODELS = {"embedded model": "shapes", "ViT-B/32": ""}  # the other is made
C2V = [sys.executable, "-m", "clip2video_plugin.cli"]
PARTS = ["search", "embed", "app"]
SENTENCE = "a red square moves left"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="2 rounds, 8 videos, 4 searches")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # a part, a model and a folder, in this process
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.videos, args.searches = 2, 8, 4
    if args.one:
        print(json.dumps(ONE[args.one[0]](Path(args.one[2]), args.one[1], args)))
        return
    with tempfile.TemporaryDirectory(prefix="c2v-full-") as folder:
        home = Path(folder)
        MODELS["ViT-B/32"] = str(home / "vit-b32")
        here(args, "make", MODELS["ViT-B/32"], home)
        if "search" in args.parts:
            show_search(args, home)
        if "embed" in args.parts:
            show_embed(args, home)
        if "app" in args.parts:
            show_app(args, home)


def here(args: argparse.Namespace, part: str, model: str, folder: Path) -> Any:
    """What a process of its own says of a part: what is started from a large one counts its memory, too."""
    options = [f"--{name}={getattr(args, name)}" for name in ("rounds", "videos", "searches", "rows")]
    command = [sys.executable, __file__, "--one", part, model, str(folder), *options, "--parts", *args.parts]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(words: list[str], quiet: bool = True) -> tuple[float, float]:
    """Seconds that a command took, and its peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL if quiet else None)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return time.perf_counter() - began, used.ru_maxrss / 1024


def make(folder: Path, model: str, args: argparse.Namespace) -> None:
    """The checkpoint, an index of random rows for each model, and the clips."""
    import torch
    from decode import write
    from startup import fill
    from vit_b32 import SIZES

    from clip2video_plugin import load_model
    from clip2video_plugin.model import Clip2Video, ModelConfig, clip_tokenizer
    from clip2video_plugin.model.saving import save_checkpoint

    torch.manual_seed(0)
    save_checkpoint(Path(model), Clip2Video(ModelConfig(**SIZES)), clip_tokenizer())
    for name in ("shapes", model):
        if "search" in args.parts:
            fill(folder / f"index-{Path(name).name}", args.rows, load_model(name, text_only=True))
    (folder / "clips").mkdir()
    for number in range(args.videos if "embed" in args.parts else 0):
        write(folder / "clips" / f"{number:03d}.mp4", 320, 240, 250, seed=number)


# Search


def show_search(args: argparse.Namespace, home: Path) -> None:
    spent: dict[str, list[tuple[float, float]]] = {}
    for number in range(args.rounds + 1):
        for name, model in MODELS.items():
            index = home / f"index-{Path(model).name}"
            taken = run([*C2V, "search", SENTENCE, "--index", str(index), "--model", model])
            if number:
                spent.setdefault(f"c2v search, {name}", []).append(taken)
        taken = run([sys.executable, "-c", "import fiftyone"])
        if number:
            spent.setdefault('python -c "import fiftyone"', []).append(taken)
    print(f"\n| cold, {args.rows} rows | median s | least to most | peak MB |\n|---|---|---|---|")
    for name, runs in spent.items():
        seconds = [one for one, _ in runs]
        print(
            f"| `{name}` | {statistics.median(seconds):.2f} | {min(seconds):.2f} to {max(seconds):.2f} "
            f"| {max(peak for _, peak in runs):.0f} |"
        )
    steps = {name: [here(args, "steps", model, home) for _ in range(args.rounds)] for name, model in MODELS.items()}
    print("\n| step, ms | " + " | ".join(steps) + " |\n|---|" + "---|" * len(steps))
    for step in next(iter(steps.values()))[0]:
        middles = [statistics.median(one[step] for one in runs) for runs in steps.values()]
        print(f"| {step} | " + " | ".join(f"{1000 * middle:.0f}" for middle in middles) + " |")


STEPS = """import time; began = float(__import__("os").environ["BEGAN"]); marks = {}
def mark(what):
    global began
    now = time.time(); marks[what] = now - began; began = now
mark("Python starts")
import json, sys
import clip2video_plugin.cli.main
import clip2video_plugin.cli.search
mark("the command line")
from clip2video_plugin.cli.loading import loading, one_thread
with loading():
    import torch; mark("import torch")
    import lancedb; mark("import lancedb")
    import clip2video_plugin.query; mark("import the rest")
from clip2video_plugin.index import open_index
from clip2video_plugin.query import Query, load_for
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.search import answer
with one_thread():
    gallery = Gallery(open_index(sys.argv[1])); mark("open the index")
    model = load_for(gallery.videos, sys.argv[2]); mark("load the text tower")
    model.encode_captions([sys.argv[3]]); mark("encode a sentence")
    result = answer(Query((sys.argv[3],)), gallery, model); mark("answer, the sentence again included")
from clip2video_plugin.cli.tables import print_hits
print_hits(result); mark("print")
print(json.dumps(marks))"""


def steps(folder: Path, model: str, args: argparse.Namespace) -> dict[str, float]:
    """Seconds of each step of a search in a process that has just started."""
    index = str(folder / f"index-{Path(model).name}")
    environment = {**os.environ, "BEGAN": str(time.time())}
    words = [sys.executable, "-c", STEPS, index, model, SENTENCE]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    ended = time.time()
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    told["Python ends"] = ended - float(environment["BEGAN"]) - sum(told.values())
    return told


# Embed


def show_embed(args: argparse.Namespace, home: Path) -> None:
    print(
        f"\n| embed {args.videos} clips | the whole command, s | its videos/s | peak MB | decoding alone, videos/s "
        "| encoding alone | both in turn | embed, warm | encoding's share |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, model in MODELS.items():
        words = [*C2V, "embed", str(home / "clips"), "--model", model]
        seconds, peak = run([*words, "--index", str(home / f"embedded-{Path(model).name}")])
        told = here(args, "rates", model, home)
        share = told["decode"] / (told["decode"] + told["encode"])
        print(
            f"| {name} | {seconds:.1f} | {args.videos / seconds:.2f} | {peak:.0f} | {told['decode']:.1f} "
            f"| {told['encode']:.2f} | {told['allowed']:.2f} | {told['embed']:.2f} | {100 * share:.0f} % |"
        )


def rates(folder: Path, model: str, args: argparse.Namespace) -> dict[str, float]:
    from clip2video_plugin import load_model
    from clip2video_plugin.bench import bench

    speed = bench([folder / "clips"], model=load_model(model), most=args.videos)
    return {name: getattr(speed, name) for name in ("decode", "encode", "allowed", "embed")}


# App


def show_app(args: argparse.Namespace, home: Path) -> None:
    rows = {name: here(args, "typed", model, home) for name, model in MODELS.items()}
    print("\n| App, Enter to grid painted | " + " | ".join(rows) + " |\n|---|" + "---|" * len(rows))
    for what in next(iter(rows.values())):
        print(f"| {what} | " + " | ".join(str(told[what]) for told in rows.values()) + " |")


def typed(folder: Path, model: str, args: argparse.Namespace) -> dict[str, object]:
    import atexit
    import shutil

    from app_search import measure

    from clip2video_plugin.app.demo.mongod import use_own_database

    home = Path(tempfile.mkdtemp(prefix="c2v-app-", dir=folder))
    atexit.register(shutil.rmtree, home, ignore_errors=True)  # registered first, so it runs last
    use_own_database(home)
    return measure(home, args.videos, args.searches, model)


ONE = {"make": make, "steps": steps, "rates": rates, "typed": typed}

if __name__ == "__main__":
    main()
