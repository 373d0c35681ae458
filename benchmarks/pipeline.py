"""The whole of ``embed`` beside what its parts allow: 1 / (1/D + 1/E) of decoding and encoding measured alone.

    python benchmarks/pipeline.py [--videos 400] [--rounds 3] [--quick]

On a CPU both share the cores, so their times add up. Generated videos, the embedded model, an index on disk.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from rich.console import Console

from clip2video_plugin import embed_videos, load_model
from clip2video_plugin.shapes import scenes, write_videos
from clip2video_plugin.video import read_frames
from clip2video_plugin.video.files import find_videos

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    count, rounds = (100, 2) if args.quick else (args.videos, args.rounds)
    model = load_model(device="cpu")
    size = model.config.image_size
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        write_videos(videos, list(islice(scenes(5), count)), paraphrases=1)
        paths = list(find_videos([videos]))
        for number in range(rounds + 1):
            began = time.perf_counter()
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                frames = [f.pixels for f in pool.map(lambda path: read_frames(path, size=size), paths)]
            decoding = time.perf_counter() - began
            began = time.perf_counter()
            for start in range(0, count, BATCH):
                model.encode_frames(frames[start : start + BATCH])
            encoding = time.perf_counter() - began
            whole = embed_videos([videos], index=Path(folder) / f"index-{number}", model=model).seconds
            if number:  # the first warms up
                Console().print(
                    f"decode {count / decoding:.0f} videos/s, encode {count / encoding:.0f}, both in turn "
                    f"{count / (decoding + encoding):.0f}; embed {count / whole:.0f}, "
                    f"{100 * (decoding + encoding) / whole:.0f} % of that"
                )


if __name__ == "__main__":
    main()
