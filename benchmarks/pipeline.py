"""The whole of ``embed`` beside what its parts allow: 1 / (1/D + 1/E) of decoding and encoding measured alone.

    python benchmarks/pipeline.py [--videos 400] [--rounds 3] [--quick]

On a CPU both share the cores, so their times add up. Generated videos, the embedded model, an index on disk.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from itertools import islice
from pathlib import Path

from rich.console import Console

from clip2video_plugin import load_model
from clip2video_plugin.bench import bench
from clip2video_plugin.shapes import scenes, write_videos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    count, rounds = (100, 2) if args.quick else (args.videos, args.rounds)
    model = load_model("shapes", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        write_videos(videos, list(islice(scenes(5), count)), paraphrases=1)
        shares = []
        for number in range(rounds + 1):
            speed = bench([videos], model=model, most=count)
            if number:  # the first warms up
                shares.append(100 * speed.embed / speed.allowed)
                Console().print(
                    f"decode {speed.decode:.0f} videos/s, encode {speed.encode:.0f}, both in turn "
                    f"{speed.allowed:.0f}; embed {speed.embed:.0f}, {shares[-1]:.0f} % of that"
                )
        Console().print(f"median {statistics.median(shares):.0f} %, {min(shares):.0f} to {max(shares):.0f}")


if __name__ == "__main__":
    main()
