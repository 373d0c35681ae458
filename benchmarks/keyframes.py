"""Key frames near the uniform picks beside those picks: how fast they are read, and what a search loses by them.

    OMP_NUM_THREADS=1 python benchmarks/keyframes.py speed [--minutes 10] [--rounds 5] [--folder DIR] [--footage FILE]
        [--container mp4 mkv ts]
    OMP_NUM_THREADS=1 python benchmarks/keyframes.py search [--videos 30] [--minutes 3] [--kinds chapters cuts]
        [--folder DIR] [--seed 13]

``speed`` makes 720p videos of 25 frames a second with a key frame every 2 seconds, H.264 (x264, medium) and H.265
(x265, fast, open groups of pictures) of ffmpeg's moving test picture, and of ``--footage`` in a loop. Of each, 12
frames are read by both samplings in turn, by one thread, in seconds of this process on a CPU: decoded to RGB, and as
``read_frames`` gives them, resized by Pillow to 224 pixels, which takes both samplings as long. Bytes are those read
from the file. A part of 30 s is encoded and joined to itself, as the whole would take an hour.

``search`` makes long videos of generated scenes, 4 frames a second, each of its own length (.8 to 1.25 times
``--minutes``), with key frames of several distances, embeds them by both samplings and asks for the sentence of each
scene. A video is right that shows a scene of that sentence. ``whole`` are videos of one event each, ``chapters`` of
six, ``cuts`` of scenes of 4 to 12 s, of which 12 frames miss some: there it is chance which scene a frame falls into.

Interrupted, either prints what it has found so far.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # last: the folder datasets/ must not shadow a package

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.side_by_side import speedup, timed
from benchmarks.stories import Story, different_things
from clip2video_plugin.model.checkpoint import load_model
from clip2video_plugin.model.installed import embedded_folder
from clip2video_plugin.places import place_of
from clip2video_plugin.shapes import caption, scenes
from clip2video_plugin.video import read_frames
from clip2video_plugin.video.frames import decode, picker

COUNT, PART, RATE, CHAPTERS, SIDE = 12, 30, 4, 6, 96  # frames, seconds, frames a second, scenes, pixels
CODECS = {
    "H.264": ["-c:v", "libx264", "-preset", "medium", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0"],
    "H.265": [
        "-c:v",
        "libx265",
        "-preset",
        "fast",
        "-x265-params",
        "keyint=50:min-keyint=50:scenecut=0:log-level=none",
    ],
}
SAMPLINGS = ("uniform", "keyframes")
STORIES = ("whole", "chapters", "cuts")
KEYS = {  # of x264; the last are nearly as far apart as makes them dense
    "2 s": ["-g", str(2 * RATE), "-sc_threshold", "0"],
    "2 s and cuts": ["-g", str(2 * RATE)],
    "5 s": ["-g", str(5 * RATE), "-keyint_min", str(5 * RATE), "-sc_threshold", "0"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "search"])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=int, default=30)
    parser.add_argument("--kinds", nargs="+", choices=STORIES, default=STORIES, help="of videos to search")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--folder", type=Path, help="where the videos are kept for another time")
    parser.add_argument("--footage", type=Path, nargs="*", default=[], help="files to show in a loop")
    parser.add_argument("--container", nargs="*", default=["mp4"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if args.what == "speed":
            speed(folder, args.minutes or 10, args.rounds, args.footage, args.container)
        else:
            search(folder, args.minutes or 3, args.videos, args.seed, args.kinds)


@contextmanager
def printed(table: Table) -> Iterator[None]:
    """Prints a table when it is done, or as far as it came."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        Console(width=140).print(table)


def speed(folder: Path, minutes: float, rounds: int, footage: list[Path], containers: list[str]) -> None:
    table = Table("", "MB", "", "uniform", "keyframes", "times as fast", "least to most", "MB read")
    with printed(table):
        for source, codec, container in product((None, *footage), CODECS, containers):
            path = long_video(folder, source, codec, CODECS[codec], minutes, container)
            for name, read in READERS.items():
                spent = timed({one: bound(read, path, one) for one in SAMPLINGS}, rounds, time.process_time)
                middle, least, most = speedup(*spent.values())
                table.add_row(
                    f"{source.stem if source else 'test picture'}, {codec}, {container}",
                    f"{path.stat().st_size / 1e6:.0f}",
                    name,
                    *(f"{1000 * statistics.median(times):.0f} ms" for times in spent.values()),
                    f"{middle:.1f}",
                    f"{least:.1f} to {most:.1f}",
                    ", ".join(f"{bytes_of(bound(read, path, one)) / 1e6:.1f}" for one in SAMPLINGS),
                )
                Console().print(f"{path.name}, {name}: {middle:.1f}", highlight=False)


def bound(read: Callable[[Path, str], Any], path: Path, sampling: str) -> Callable[[], Any]:
    return lambda: read(path, sampling)


def decoded(path: Path, sampling: str) -> Any:
    """To RGB, and no further."""
    pick = picker(path, sampling, count=COUNT, fps=None, start=None, end=None)
    return decode(place_of(path), pick, lambda image: None, by_keys=sampling == "keyframes")


def resized(path: Path, sampling: str) -> Any:
    return read_frames(path, policy=sampling, count=COUNT)


READERS = {"decoded": decoded, "resized": resized}


def bytes_of(run: Callable[[], Any]) -> int:
    """Bytes that this process asks of files meanwhile."""
    before = _asked()
    run()
    return _asked() - before


def _asked() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def long_video(
    folder: Path, source: Path | None, codec: str, options: list[str], minutes: float, container: str
) -> Path:
    name = f"{source.stem if source else 'test'}-{codec}"
    path = folder / f"{name}-{minutes:g}.{container}"
    if path.exists():
        return path
    part = folder / f"{name}-part.mp4"
    if not part.exists():
        shown = (
            ["-stream_loop", "-1", "-i", str(source)] if source else ["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25"]
        )
        sound = ["-f", "lavfi", "-i", "sine"]
        how = ["-map", "0:v:0", "-map", "1:a", "-vf", "scale=1280:720,fps=25", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        ffmpeg(*shown, *sound, "-t", str(PART), *how, *options, part.with_suffix(".partial.mp4"))
        part.with_suffix(".partial.mp4").rename(part)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write(f"file '{part.resolve()}'\n" * round(60 * minutes / PART))
        listed.flush()
        ffmpeg("-f", "concat", "-safe", "0", "-i", listed.name, "-c", "copy", path)
    return path


def ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-y", "-v", "error", *map(str, arguments)], check=True)


def search(folder: Path, minutes: float, videos: int, seed: int, kinds: Sequence[str]) -> None:
    model = load_model(embedded_folder(), device="cpu")
    table = Table("", "key frames", "n", "", "R@1", "R@5", "cosine: mean", "least", "seconds moved: mean", "most")
    with printed(table):
        for kind in kinds:
            stories = made(kind, videos, 60 * minutes, seed)
            told = [set(story.captions) for story in stories]
            asked = sorted(set[str]().union(*told))
            sentences = model.encode_captions(asked).vector.numpy()
            files = [
                written(story, folder, f"{kind}-{minutes:g}-{seed}-{number:03d}")
                for number, story in enumerate(stories)
            ]
            for keys in KEYS:
                frames = {
                    sampling: [
                        read_frames(paths[keys], policy=sampling, count=COUNT, **model.config.preprocessing.options)
                        for paths in files
                    ]
                    for sampling in SAMPLINGS
                }
                vectors = {
                    sampling: np.concatenate([model.encode_frames([one.pixels]).vector.numpy() for one in some])
                    for sampling, some in frames.items()
                }
                cosines = (vectors["uniform"] * vectors["keyframes"]).sum(axis=1)
                moved = [np.abs(a.timestamps - b.timestamps) for a, b in zip(*frames.values(), strict=True)]
                more = [
                    f"{cosines.mean():.4f}",
                    f"{cosines.min():.4f}",
                    f"{np.mean(moved):.2f}",
                    f"{np.max(moved):.2f}",
                ]
                right = np.array([[text in captions for captions in told] for text in asked])
                for sampling, rows in vectors.items():
                    scores = sentences @ rows.T
                    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
                    ranks = (scores > best).sum(axis=1) + 1
                    recall = [f"{100 * np.mean(ranks <= k):.1f}" for k in (1, 5)]
                    table.add_row(
                        kind, keys, str(len(asked)), sampling, *recall, *(more if sampling == "keyframes" else [])
                    )
            Console().print(f"{kind}: done", highlight=False)


def made(kind: str, count: int, seconds: float, seed: int) -> list[Story]:
    """Stories of one scene each, of ``CHAPTERS`` scenes that show different things, or of many short scenes."""
    random, out = Random(f"keyframes {kind}:{seed}"), list[Story]()
    others, told = scenes(seed), set[str]()
    while len(out) < count:
        length = seconds * random.uniform(0.8, 1.25)
        if kind == "whole":
            scene = next(others)
            if caption(scene) not in told:
                told.add(caption(scene))
                out.append(Story((scene,), (length,)))
        elif kind == "chapters":
            out.append(Story(tuple(different_things(CHAPTERS, random)), (length / CHAPTERS,) * CHAPTERS))
        else:
            lengths = list[float]()
            while sum(lengths) < length:
                lengths.append(random.uniform(4, 12))
            out.append(Story(tuple(next(others) for _ in lengths), tuple(lengths)))
    return out


def written(story: Story, folder: Path, name: str) -> dict[str, Path]:
    """The story as H.264 files, one for each of ``KEYS``, made where they are not there."""
    paths = {keys: folder / f"{name}-{keys.replace(' ', '-')}.mp4" for keys in KEYS}
    if all(path.exists() for path in paths.values()):
        return paths
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIDE}x{SIDE}", "-r", str(RATE), "-i", "-"]
    how = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-preset", "veryfast", "-threads", "1"]
    running = []
    for keys, path in paths.items():
        command = ["ffmpeg", "-y", "-v", "error", *raw, *how, *KEYS[keys], str(path.with_suffix(".partial.mp4"))]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE))
    for frames, _ in story.parts(SIDE, RATE):
        for process in running:
            assert process.stdin is not None
            process.stdin.write(np.ascontiguousarray(frames).tobytes())
    for process, path in zip(running, paths.values(), strict=True):
        process.communicate()
        if process.returncode:
            sys.exit(f"ffmpeg could not write {path}")
        path.with_suffix(".partial.mp4").rename(path)
    return paths


if __name__ == "__main__":
    main()
