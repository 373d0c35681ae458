"""Memory that ``embed`` takes as the number of videos grows; reading and encoding are simulated, all else is real.

    python benchmarks/memory.py [--rows 10000 30000 100000] [--quick]
    python benchmarks/memory.py --video     # one 4K video and one of ten minutes, read for real

Every size is embedded by a process of its own, from a folder of that many links to one file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from clip2video_plugin import embed, encode, load_model
from clip2video_plugin.model import Model
from clip2video_plugin.video import Frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--video", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(simulate(args.one)))
        return
    if args.video:
        large_videos()
        return
    table = Table("videos", "peak memory, MB", "of it before the first video", "seconds")
    for rows in [1_000, 10_000] if args.quick else args.rows:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(rows)], check=True, capture_output=True, text=True
        )
        told = json.loads(done.stdout)
        table.add_row(str(rows), f"{told['peak']:.0f}", f"{told['before']:.0f}", f"{told['seconds']:.0f}")
    Console().print(table)


def simulate(rows: int) -> dict[str, float]:
    real = load_model("shapes", device="cpu")
    dim = real.config.vector_dim
    picture = np.zeros((12, 48, 48, 3), np.uint8)

    def read(path: Any, **_: Any) -> Frames:
        return Frames(picture.copy(), np.arange(12.0), 48, 48, 12.0, "simulated")

    def start_encoding(pixels: list[Any]) -> Any:
        vectors = SimpleNamespace(vector=torch.full((len(pixels), dim), dim**-0.5))
        vectors.cpu = lambda: vectors
        return vectors

    Model.start_encoding = lambda _, pixels: start_encoding(pixels)  # type: ignore[method-assign]
    encode.read_quietly, embed.load_model = read, lambda *_, **__: real  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        videos.mkdir()
        (videos / "0.mp4").write_bytes(b"simulated")
        for number in range(1, rows):
            (videos / f"{number}.mp4").symlink_to(videos / "0.mp4")
        before = peak()
        report = embed.embed_videos([videos], index=Path(folder) / "index")
    assert report.embedded == rows
    return {"peak": peak(), "before": before, "seconds": report.seconds}


def large_videos() -> None:
    """Peak memory of a process that reads 12 frames of a large video, beside that of one that reads a small one."""
    table = Table("video", "MB on disk", "peak memory, MB")
    sizes = {
        "320x240, 4 s": (320, 240, 100),
        "3840x2160, 4 s": (3840, 2160, 100),
        "320x240, 10 min": (320, 240, 15_000),
    }
    code = (  # ends as peak() does, in a process that imports the reader alone
        "import sys; from pathlib import Path; from clip2video_plugin import read_frames; read_frames(sys.argv[1]); "
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    with tempfile.TemporaryDirectory() as folder:
        for title, (width, height, frames) in sizes.items():
            path = Path(folder) / f"{width}-{frames}.mp4"
            source = f"testsrc2=size={width}x{height}:rate=25"
            command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", source, "-frames:v", str(frames)]
            subprocess.run([*command, "-pix_fmt", "yuv420p", "-preset", "ultrafast", str(path)], check=True)
            done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
            table.add_row(title, f"{path.stat().st_size / 1024**2:.0f}", f"{int(done.stdout) / 1024:.0f}")
    Console().print(table)


def peak() -> float:
    """Of this process, in MB; not ru_maxrss, which a child takes over from the process that started it."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
