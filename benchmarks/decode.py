"""Decoding speed: 12 frames at 224 px by each reader, videos per second against decord in the same run.

    python benchmarks/decode.py VIDEO... [--rounds 5]

Variants are interleaved; the ratio of medians is what holds on another machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video import read_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    table = Table("video", "decord ms", "pyav ms", "pyav / decord")
    for path in args.videos:
        times: dict[str, list[float]] = {"decord": [], "pyav": []}
        try:
            if read_frames(path, reader="decord").reader != "decord":
                continue  # decord is not proved exact there
        except VideoReadError:
            continue
        for _ in range(args.rounds):
            for reader, spent in times.items():
                start = time.process_time()
                read_frames(path, reader=reader)
                spent.append(time.process_time() - start)
        decord, pyav = (statistics.median(times[name]) for name in ("decord", "pyav"))
        table.add_row(path.name, f"{1000 * decord:.1f}", f"{1000 * pyav:.1f}", f"{decord / pyav:.2f} x as fast")
    Console().print(table)


if __name__ == "__main__":
    main()
