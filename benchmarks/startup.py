"""How long a command takes from a cold start, and its peak memory, beside ``python -c "import fiftyone"``.

    python benchmarks/startup.py [--rows 100000] [--rounds 7] [--quick]

``c2v search`` asks an index of that many random rows: with the embedded model, and with ViT-B/32 of random weights and
of full size, as what a plain CLIP becomes (mean pooling) and in the paper's form. Every run is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from side_by_side import show, timed
from vit_b32 import SIZES

C2V = [sys.executable, "-m", "clip2video_plugin.cli"]
MODELS: dict[str, dict[str, Any] | None] = {
    "embedded model": None,
    "ViT-B/32, mean pooling": {"temporal": "mean", "alignment": "none"},
    "ViT-B/32, CLIP2Video": {},
}
FIFTYONE = 'python -c "import fiftyone"'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    rounds = 2 if args.quick else args.rounds
    peaks: dict[str, float] = {}

    def command(name: str, *words: str | Path, forget: Path | None = None) -> Callable[[], None]:
        def run() -> None:
            if forget:
                forget.unlink()
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{name} ended with {process.returncode}")
            peaks[name] = max(peaks.get(name, 0), used.ru_maxrss / 1024)

        return run

    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: what is started from a large one counts its memory, too.
        child = get_context("spawn").Process(target=prepare, args=(Path(folder), args.rows))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit("the models and indexes could not be made")
        runs = {FIFTYONE: command(FIFTYONE, sys.executable, "-c", "import fiftyone")}
        for model in MODELS:
            place, name = Path(folder) / model, f"search, {model}"
            words = (*C2V, "search", "a red square moves left", "--index", place / "index")
            words += ("--model", place / "model") if MODELS[model] is not None else ()
            runs[name] = command(name, *words)
        again = "the same, its hash unknown"
        runs[again] = command(again, *words, forget=place / "model" / "model.safetensors.json")
        runs["c2v --help"] = command("c2v --help", *C2V, "--help")
        spent = timed(runs, rounds)
    values = {}
    for name, times in spent.items():
        ratios = sorted(time / first for time, first in zip(times, spent[FIFTYONE], strict=True))
        values[name] = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), {peaks[name]:.0f} MB"
    show(f"cold start, {args.rows} rows", spent, values, more="of its time; peak memory")


def prepare(folder: Path, rows: int) -> None:
    """A folder for each of MODELS: its checkpoint, and an index of random rows."""
    import torch

    from clip2video_plugin import load_model
    from clip2video_plugin.model import Clip2Video, ModelConfig, clip_tokenizer
    from clip2video_plugin.model.saving import save_checkpoint

    torch.manual_seed(0)
    for name, options in MODELS.items():
        checkpoint: str | Path = "shapes"
        if options is not None:
            checkpoint = folder / name / "model"
            save_checkpoint(checkpoint, Clip2Video(ModelConfig(**SIZES, **options)), clip_tokenizer())
        fill(folder / name / "index", rows, load_model(checkpoint, text_only=True))


def fill(folder: Path, rows: int, model: Any) -> None:
    import numpy as np
    import pyarrow as pa

    from clip2video_plugin.index import VideoIndex
    from clip2video_plugin.provenance import provenance

    dim = model.config.vector_dim
    index = VideoIndex.create(folder, dim, provenance(model))
    schema, random = index._table.schema, np.random.default_rng(0)
    vectors = random.standard_normal((rows, dim), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = {
        "id": pa.array([f"{n:032x}" for n in range(rows)]),
        "path": pa.array([f"/videos/{n}.mp4" for n in range(rows)]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
    }
    arrays = [known[f.name].cast(f.type) if f.name in known else pa.nulls(rows, f.type) for f in schema]
    index._table.add(pa.Table.from_arrays(arrays, schema=schema))
    index.finish()


if __name__ == "__main__":
    main()
