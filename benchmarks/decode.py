"""Decoding 12 frames at 224 px, beside decord and beside the paper's way, on the same files and cores.

    python benchmarks/decode.py [VIDEO...] [--rounds 5] [--quick]

Without videos it makes three kinds of H.264: 320x240 with a key frame every 250 frames and every 12, and 720p. A pool
of one thread per core reads them; decord opens each file with one thread, ``get_batch`` of the same 12 frames, resized
as here. The paper's way is ``ffmpeg -r 5`` to JPEG files, of which 12 are read with PIL. torchcodec takes part where it
is installed (its wheel for torch without CUDA, and FFmpeg's shared libraries).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from side_by_side import show, timed

from clip2video_plugin.video import read_frames
from clip2video_plugin.video.sampling import uniform_indices
from clip2video_plugin.video.transform import resize_and_crop

COUNT, SIZE, SECONDS, RATE = 12, 224, 12, 25
KINDS = {"320x240, GOP 250": (320, 240, 250), "320x240, GOP 12": (320, 240, 12), "720p, GOP 250": (1280, 720, 250)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    rounds, copies = (2, 4) if args.quick else (args.rounds, 16)
    with tempfile.TemporaryDirectory() as folder:
        sets = {path.name: [path] * copies for path in args.videos} or made(Path(folder), copies)
        for title, paths in sets.items():
            with ThreadPoolExecutor(os.cpu_count()) as pool:

                def each(read: Callable[[Path], Any], paths: list[Path] = paths, pool: Any = pool) -> None:
                    list(pool.map(read, paths))

                jpegs = Path(folder) / "jpegs"
                readers = {
                    "decord get_batch": with_decord,
                    "ffmpeg -r 5, PIL": lambda path, jpegs=jpegs: with_ffmpeg(path, jpegs),
                    **torchcodec(),
                    "read_frames": read_frames,
                }
                spent = timed({name: lambda each=each, read=read: each(read) for name, read in readers.items()}, rounds)
            show(f"{title}, {len(paths)} videos, {os.cpu_count()} cores", spent)


def with_decord(path: Path) -> list[Any]:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    batch = reader.get_batch(uniform_indices(len(reader), COUNT)).asnumpy()
    del reader
    return [resize_and_crop(Image.fromarray(frame), SIZE) for frame in batch]


def with_ffmpeg(path: Path, folder: Path) -> list[Any]:
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = ["ffmpeg", "-loglevel", "error", "-threads", "1", "-i", str(path), "-r", "5", "-q:v", "2"]
        subprocess.run([*command, f"{out}/%08d.jpg"], check=True)
        files = sorted(Path(out).iterdir())
        return [resize_and_crop(Image.open(files[i]), SIZE) for i in uniform_indices(len(files), COUNT)]


def torchcodec() -> dict[str, Callable[[Path], Any]]:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError):
        return {}

    def read(path: Path, mode: str) -> list[Any]:
        decoder = VideoDecoder(path, seek_mode=mode, num_ffmpeg_threads=1, dimension_order="NHWC")
        batch = decoder.get_frames_at(uniform_indices(len(decoder), COUNT)).data.numpy()
        return [resize_and_crop(Image.fromarray(frame), SIZE) for frame in batch]

    return {f"torchcodec, {mode}": lambda path, mode=mode: read(path, mode) for mode in ("exact", "approximate")}


def made(folder: Path, copies: int) -> dict[str, list[Path]]:
    """Videos of textures that drift past each other, some noise over them, each of its own seed."""
    sets = {}
    for number, (title, (width, height, gop)) in enumerate(KINDS.items()):
        paths = []
        for copy in range(copies):
            path = folder / f"{number}-{copy:02d}.mp4"
            write(path, width, height, gop, seed=copy)
            paths.append(path)
        sets[title] = paths
    return sets


def write(path: Path, width: int, height: int, gop: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    far, near = (texture(random, height, width, cells) for cells in (6, 14))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"g": str(gop), "preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(SECONDS * RATE):
            picture = np.where(near > 140, np.roll(near, 3 * t, axis=1), np.roll(far, -t, axis=1)).astype(np.int16)
            picture += random.integers(-3, 4, picture.shape, np.int16)
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def texture(random: Any, height: int, width: int, cells: int) -> Any:
    small = random.integers(0, 256, (cells, cells, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
