"""Import speed: MSR-VTT's 10,000 videos through the importer, against fo.Dataset.add_samples of the same samples.

    python benchmarks/importing.py [--videos 10000] [--rounds 3] [--files]

Annotations are generated; a FiftyOne database of its own is used. With ``--files`` every video exists, and the importer
opens each for its metadata, which add_samples does not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from clip2video_plugin.app.demo.mongod import use_own_database
from clip2video_plugin.shapes import write_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--quick", action="store_true", help="1,000 videos, 2 rounds")
    args = parser.parse_args()
    if args.quick:
        args.videos, args.rounds = 1_000, 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        use_own_database(folder / "fiftyone")
        import fiftyone as fo

        from clip2video_plugin.datasets import import_dataset

        ids = [f"video{i}" for i in range(args.videos)]
        url = "https://www.youtube.com/watch?v=Sa4BUsvAcjc"
        videos = [{"video_id": i, "url": url, "start time": 1, "end time": 9, "split": "train"} for i in ids]
        sentences = [{"caption": f"{n} happens in {i}", "video_id": i, "sen_id": n} for i in ids for n in range(20)]
        (folder / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
        if args.files:
            (folder / "all").mkdir()
            write_video(folder / "one.mp4", np.zeros((24, 96, 96, 3), np.uint8))
            for i in ids:
                os.link(folder / "one.mp4", folder / "all" / f"{i}.mp4")
        times: dict[str, list[float]] = {"importer": [], "add_samples": []}
        for _ in range(args.rounds):
            start = time.perf_counter()
            dataset = import_dataset(
                "msrvtt", folder, splits=["train"], protocol="full", on_missing="keep", progress=False
            )
            times["importer"].append(time.perf_counter() - start)
            samples = [fo.Sample.from_dict(sample.to_dict()) for sample in dataset]
            bare = fo.Dataset()
            start = time.perf_counter()
            bare.add_samples(samples, progress=False)
            times["add_samples"].append(time.perf_counter() - start)
            dataset.delete()
            bare.delete()
        table = Table("way", "seconds", "ratio")
        base = statistics.median(times["add_samples"])
        for way, spent in times.items():
            table.add_row(way, f"{statistics.median(spent):.1f}", f"{statistics.median(spent) / base:.2f}")
        Console().print(table)


if __name__ == "__main__":
    main()
