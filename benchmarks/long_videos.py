"""Events in a film of hours: whether they are found, and what time and memory its windows take.

    OMP_NUM_THREADS=2 python benchmarks/long_videos.py [--minutes 120] [--planted 120] [--folder DIR] [--seed 13]
        [--windows 5/2.5,10/5,15/5] [--rounds 3]

Writes a film of generated scenes, 96 pixels at 12 frames a second, planted ones of 10 s among them of things that
nothing else shows (kept in ``--folder`` for another time), and embeds it in a process of its own by ``c2v embed
--windows``. A window is right that shares half of the shorter of the two with a scene of the sentence; each planted
event is asked for in the film without the other planted ones. The floors of the issue are in brackets.

The throughput of the whole is the time that decoding alone and encoding alone take one after another, on a CPU in
turns, by the time of the whole; of the first ``--part`` minutes, in rounds, as the machine's speed varies.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # last: the folder datasets/ must not shadow a package

import numpy as np

from benchmarks.stories import Story, film
from clip2video_plugin import embed_videos, open_index
from clip2video_plugin.encode import ahead, usual_batch
from clip2video_plugin.encode_windows import MOST, WINDOWS
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.model.installed import embedded_folder
from clip2video_plugin.query import Windows
from clip2video_plugin.query.moments import spans
from clip2video_plugin.video.grid import Grid, Wanted
from clip2video_plugin.video.windows import WindowPlan, window_picks

C2V = [sys.executable, "-m", "clip2video_plugin.cli"]
FLOOR_FOUND, FLOOR_MB, FLOOR_THROUGHPUT = 98, 1000, 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--planted", type=int, default=120, help="events of 10 s")
    parser.add_argument("--folder", type=Path, help="where the films are kept")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--windows", default="5/2.5,10/5,15/5")
    parser.add_argument("--part", type=float, default=10, help="minutes of the film whose throughput is measured")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        planted = min(args.planted, int(args.minutes))
        story, places = film(60 * args.minutes, planted, args.seed)
        path = written(story, folder / f"film-{args.minutes:g}-{planted}-{args.seed}.mp4")
        index = Path(scratch) / "index"
        print(f"film: {story.duration / 60:.0f} minutes, {len(story.scenes)} events, {path.stat().st_size >> 20} MB")
        memory = embedded(path, index, args.windows)
        print(f"memory of indexing: {memory} MB [below {FLOOR_MB}]")
        print(f"memory of a search: {searched(index, story.captions[0])} MB [below {FLOOR_MB}]")
        model = load_model(embedded_folder(), device="cpu")
        found(story, places, index, model)
        if args.rounds:
            part, _ = film(60 * min(args.part, args.minutes), 0, args.seed)
            short = written(part, folder / f"film-{min(args.part, args.minutes):g}-0-{args.seed}.mp4")
            throughput(short, model, WindowPlan(args.windows), args.rounds)


def written(story: Story, path: Path) -> Path:
    """The film, made where it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial_path = path.with_suffix(".partial.mp4")
        story.write(partial_path, 96, 12)
        partial_path.rename(path)
    return path


def peak(command: list[str]) -> tuple[int, float]:
    """Peak memory in MB of a process, and its seconds."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, used = os.wait4(process.pid, 0)
    assert process.stderr is not None
    if status:
        sys.exit(process.stderr.read().decode())
    process.stderr.close()
    return used.ru_maxrss >> 10, time.monotonic() - began


def embedded(path: Path, index: Path, windows: str) -> int:
    command = ["embed", str(path), "--index", str(index), "--model", str(embedded_folder()), "--device", "cpu"]
    memory, seconds = peak([*C2V, *command, "--windows", windows])
    table = open_index(index).windows()
    assert table is not None
    print(f"indexing: {seconds:.0f} s, {table.count()} windows")
    return memory


def searched(index: Path, sentence: str) -> int:
    memory, _ = peak([*C2V, "search", sentence, "--index", str(index)])
    return memory


def found(story: Story, places: list[int], index: Path, model: Model) -> None:
    """Prints at which rank the first right window and the first right moment of each event are."""
    table = open_index(index).windows()
    assert table is not None
    (film,) = (Windows(*found) for found in table.windows_by_video([next(table.ids()).partition("/")[0]]).values())
    captions, planted = story.captions, [story.spans[place] for place in places]
    told = {text: [span for one, span in zip(captions, story.spans, strict=True) if one == text] for text in captions}
    ranks, times = dict[str, tuple[int, int]](), list[float]()
    for text, vector in zip(told, model.encode_captions(list(told)).vector.numpy(), strict=True):
        began = time.monotonic()
        table.search(vector, 10)
        times.append(time.monotonic() - began)
        alone = np.ones(len(film.spans), bool)
        for start, end in planted:
            if (start, end) not in told[text]:
                alone &= (film.spans[:, 1] <= start) | (film.spans[:, 0] >= end)
        windows = Windows(film.spans[alone], film.vectors[alone])
        best = windows.spans[np.argsort(-(windows.vectors @ vector))[:10]].tolist()
        moments = [(moment.start, moment.end) for moment in spans(windows, vector, threshold=-1)[:10]]
        ranks[text] = rank(best, told[text]), rank(moments, told[text])
    tens = np.array([ranks[captions[place]] for place in places])
    for name, some, floor in (
        ("planted", tens, f"[at least {FLOOR_FOUND} among ten]"),
        ("all", np.array(list(ranks.values())), ""),
    ):
        if not len(some):
            continue
        ofs = ["/".join(f"{100 * np.mean(column <= k):.1f}" for k in (1, 5, 10)) for column in some.T]
        print(f"{name:8} n={len(some):4}  R@1/5/10 of windows {ofs[0]}, of moments {ofs[1]}  {floor}")
    print(f"a query: {1000 * np.median(times):.1f} ms")


def rank(some: Sequence[Sequence[float]], scenes: Sequence[Sequence[float]]) -> int:
    """Place of the first span that shares half of the shorter of the two with a scene; 99 where there is none."""
    for place, (start, end) in enumerate(some, start=1):
        for first, last in scenes:
            if min(end, last) - max(start, first) >= min(end - start, last - first) / 2:
                return place
    return 99


def throughput(path: Path, model: Model, plan: WindowPlan, rounds: int) -> None:
    """Prints how the time of the whole compares with those of decoding alone and encoding alone together."""
    ratios = list[float]()
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            began = time.monotonic()
            embed_videos(path, index=scratch, model=model, windows=plan.text)
            whole = time.monotonic() - began
        decoding, encoding = alone(path, model, plan)
        ratios.append(100 * (decoding + encoding) / whole)
        print(f"round {number + 1}: whole {whole:.1f} s, decoding {decoding:.1f}, encoding {encoding:.1f}")
    spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
    print(f"throughput: {np.median(ratios):.0f} % ({spread}) of both in turns [at least {FLOOR_THROUGHPUT}]")


def alone(path: Path, model: Model, plan: WindowPlan) -> tuple[float, float]:
    """Seconds to decode the frames that the windows need, and to encode as many and the windows."""
    count, how = model.config.max_frames, model.config.preprocessing
    workers, began = os.cpu_count() or 1, time.monotonic()
    grid = Grid.open(path, Wanted(partial(plan.rate, count=count), ("uniform", None), count, how))
    jobs = ((number, partial(grid.read, part)) for number, part in enumerate(grid.parts()))
    for _ in ahead(jobs, workers, max(MOST, 2 * workers), turns=True):
        pass
    decoding, began = time.monotonic() - began, time.monotonic()
    batch = usual_batch(model.device.type) * count
    pixels = np.random.default_rng(0).integers(0, 256, (batch, how.size, how.size, 3), np.uint8)
    for start in range(0, len(grid.layout.picks), batch):
        features = model.image_features(pixels[: len(grid.layout.picks) - start])
    picks = window_picks(grid.layout.due, plan.spans(grid.duration), count)
    for start in range(0, len(picks), WINDOWS):
        some = picks[start : start + WINDOWS]
        model.embed_picks(features, np.where(some < 0, -1, some % len(features)))
    return decoding, time.monotonic() - began


if __name__ == "__main__":
    main()
