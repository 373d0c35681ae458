"""Scenes to H.264 files with captions."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.shapes.captions import captions
from clip2video_plugin.shapes.render import render
from clip2video_plugin.shapes.scene import Scene

SIZE, RATE, LENGTH = 96, 8, 24  # pixels a side, frames a second, frames


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], rate: int = RATE, *, crf: int = 18) -> None:
    """Writes frames, each [height, width, 3], as an H.264 mp4 that browsers play; takes one at a time."""
    frames = iter(frames)
    first = next(frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        for frame in chain([first], frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def write_videos(
    folder: Path,
    scenes: Sequence[Scene],
    *,
    paraphrases: int = 3,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Path, list[str]]]:
    """Writes ``00000.mp4 ...`` and ``captions.csv`` (columns filename, caption) to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    times = np.linspace(0, 1, LENGTH).tolist()
    out = []
    for number, scene in enumerate(scenes):
        path = folder / f"{number:05d}.mp4"
        write_video(path, render(scene, times, SIZE))
        out.append((path, captions(scene, paraphrases, seed)))
        if progress:
            progress(number + 1)
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "caption"])
        writer.writerows((path.name, text) for path, texts in out for text in texts)
    return out
