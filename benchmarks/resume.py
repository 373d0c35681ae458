"""What a rerun over videos that are all indexed and unchanged costs: seconds of CPU and peak memory.

    python benchmarks/resume.py --rows 10000 100000 [--objects]

Files of one byte stand for the videos, or with --objects a list in Parquet with size and mtime, for which no store is
asked; their rows are written by the product, with vectors of 1,024 random numbers. Each rerun is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clip2video_plugin import embed_videos, load_model
from clip2video_plugin.encode import Item
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.inputs import Inputs
from clip2video_plugin.provenance import provenance
from clip2video_plugin.rows import row_of, video_id
from clip2video_plugin.video.files import file_stamp

PART = 5_000  # rows of a commit


def prepare(folder: Path, rows: int, objects: bool) -> None:
    """Videos, or a list of objects, and an index that has them all."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    model = load_model("shapes", device="cpu")
    index = VideoIndex.create(folder / "index", model.config.vector_dim, provenance(model, "uniform"))
    random = np.random.default_rng(0)
    if objects:
        names = [f"s3://bucket/videos/{i:08d}.mp4" for i in range(rows)]
        write_table(pa.table({"uri": names, "size": range(1, rows + 1), "mtime": [1.7e9] * rows}), folder / "list")
        found = [(one.place, one.stamp) for one in Inputs((), folder / "list").videos()]
    else:
        (folder / "videos").mkdir()
        for i in range(rows):
            (folder / "videos" / f"{i:08d}.mp4").write_bytes(b"x")
        found = [(one.place, file_stamp(one.place)) for one in Inputs(folder / "videos").videos()]
    for start in range(0, rows, PART):
        part = found[start : start + PART]
        vectors = random.standard_normal((len(part), model.config.vector_dim), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        items = (Item(place, video_id(place)) for place, _ in part)
        with index.writing():
            index.write(
                [row_of(item, s, 3.0, v, "0" * 32) for item, (_, s), v in zip(items, part, vectors, strict=True)]
            )


def rerun(folder: Path) -> None:
    """In this process."""
    model = load_model("shapes", device="cpu")
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    listed = folder / "list" if (folder / "list").exists() else None
    report = embed_videos(() if listed else folder / "videos", listed=listed, index=folder / "index", model=model)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        json.dumps(
            {"skipped": report.skipped, "cpu": cpu, "wall": time.monotonic() - began, "mb": after.ru_maxrss / 1024}
        )
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    options.add_argument("--objects", action="store_true")
    options.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.folder:
        rerun(asked.folder)
        return
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as name:
            prepare(Path(name), rows, asked.objects)
            command = [sys.executable, __file__, "--in", name]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            assert said["skipped"] == rows, said
            print(
                f"{rows:>9,} unchanged: {said['cpu']:.1f} s of CPU, {said['wall']:.1f} s, "
                f"{1000 * said['cpu'] / rows:.2f} ms of CPU each, peak {said['mb']:,.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
