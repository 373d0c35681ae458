"""What ``--isolate`` costs: the same videos decoded by threads of this process and by workers apart, in one run.

    python benchmarks/isolation.py [VIDEO...] [--count 48] [--rounds 5]

Without videos it makes some of H.264: 3 s of 96x96, and 12 s of 320x240 and of 720p. They are read as the embedded
model reads them, in rounds of both ways in turn: videos a second, and milliseconds of a core for each, of all processes
together; then the whole of ``embed`` both ways, with the start of the workers. Before that: what a worker takes to
start and weighs, and what it takes to hand over the frames of a video, through the socket that is used and through
shared memory.
"""

from __future__ import annotations

import argparse
import mmap
import os
import resource
import socket
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from decode import made
from rich.console import Console

from clip2video_plugin import embed_videos, load_model
from clip2video_plugin.apart import Worker
from clip2video_plugin.isolated import Isolation, Workers
from clip2video_plugin.shapes import scenes, write_videos
from clip2video_plugin.video.frames import read_quietly
from clip2video_plugin.video.worker import receive, send

FRAMES = (12, 224, 224, 3)
HANDED, KEPT = 300, 16  # how often, and how many are in memory, as those of a batch are
say = Console(width=200, highlight=False).print
warnings.filterwarnings("ignore", ".*fork")  # the child that is forked only sends


class Took:
    """Seconds of a clock, and of cores, of this process and of those that it started."""

    seconds = cores = 0.0


@contextmanager
def taking() -> Iterator[Took]:
    took, began, before = Took(), time.monotonic(), cores()
    yield took
    took.seconds, took.cores = time.monotonic() - began, cores() - before


def cores() -> float:
    ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    alive = (child.cpu_times() for child in psutil.Process().children())
    return sum(each.ru_utime + each.ru_stime for each in ended) + sum(each.user + each.system for each in alive)


def starting() -> str:
    """Of a worker: seconds until it is ready, of a core, and what it weighs."""
    took, sizes = list[Took](), list[Any]()
    for _ in range(5):
        with taking() as one:
            worker = Worker(2e9)
            worker.wait_until_ready()
            ready = time.monotonic()
            sizes.append(psutil.Process(worker.process.pid).memory_full_info())
            worker.end()
        one.seconds -= time.monotonic() - ready
        took.append(one)
    return (
        f"a worker starts in {statistics.median(t.seconds for t in took):.2f} s, "
        f"{statistics.median(t.cores for t in took):.2f} s of a core; "
        f"it has {sizes[0].rss / 1e6:.0f} MB, {sizes[0].uss / 1e6:.0f} MB of them alone"
    )


def handing(shared: bool) -> float:
    """Milliseconds of cores to hand over the frames of a video to another process."""
    frames, memory = np.random.default_rng(0).integers(0, 255, FRAMES, np.uint8), mmap.mmap(-1, int(np.prod(FRAMES)))
    (mine, theirs), came = socket.socketpair(), list[Any]()
    with taking() as took:
        if (child := os.fork()) == 0:
            other = Connection(theirs.detach())
            for _ in range(HANDED):
                other.recv_bytes()
                if shared:
                    np.frombuffer(memory, np.uint8)[:] = frames.ravel()
                send(other, {}, () if shared else (frames,))
            os._exit(0)
        here = Connection(mine.detach())
        for _ in range(HANDED):
            here.send_bytes(b"next")
            _, arrays = receive(here)
            came.append(np.frombuffer(memory, np.uint8).copy().reshape(FRAMES) if shared else arrays[0])
            del came[:-KEPT]
        os.waitpid(child, 0)
    assert np.array_equal(came[-1], frames)
    return took.cores / HANDED * 1000


def compare(title: str, count: int, rounds: int, ways: dict[str, Callable[[], object]]) -> None:
    """Both ways in turn; the first round warms up."""
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, work in ways.items():
            with taking() as took:
                work()
            spent[way].append((took.seconds, took.cores))
    one, other = (np.array(taken[1:]) for taken in spent.values())
    for way, taken in spent.items():
        seconds, used = np.median(np.array(taken[1:]), axis=0)
        say(f"{title}: {way} {count / seconds:.1f} videos/s, {used / count * 1000:.1f} ms of a core each")
    ratios = other / one
    (seconds, used), (least, low), (most, high) = np.median(ratios, axis=0), ratios.min(axis=0), ratios.max(axis=0)
    of_cores = f"{used:.2f} times that of cores ({low:.2f} to {high:.2f})"
    say(f"  workers: {seconds:.2f} times the time ({least:.2f} to {most:.2f}), {of_cores}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=48, help="videos of a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    say(starting())
    say(f"frames of a video handed over: socket {handing(False):.2f} ms of a core, shared memory {handing(True):.2f}")
    model = load_model("shapes", device="cpu")
    how: dict[str, Any] = {"policy": "uniform", "count": model.config.max_frames, **model.config.preprocessing.options}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {path.name: [path] for path in args.videos}
        if not sets:
            small = write_videos(folder / "small", list(islice(scenes(5), 8)), paraphrases=1)
            sets = {"96x96": [path for path, _ in small], **made(folder, 2)}
        sets = {title: list(islice(cycle(paths), args.count)) for title, paths in sets.items()}
        with Workers(Isolation()) as workers, ThreadPoolExecutor(os.cpu_count()) as pool:

            def here(videos: list[Path]) -> None:
                list(pool.map(lambda video: read_quietly(video, **how), videos))

            def apart(videos: list[Path]) -> None:
                list(pool.map(lambda video: workers.frames(video, 0, **how), videos))

            for title, videos in sets.items():
                ways = {"threads": partial(here, videos), "workers": partial(apart, videos)}
                compare(f"decoding, {title}", len(videos), args.rounds, ways)
        for title, videos in sets.items():
            (below := folder / "embed" / title).mkdir(parents=True)
            for n, video in enumerate(videos):
                (below / f"{n}{video.suffix}").symlink_to(video.absolute())

            def embed(isolate: bool, below: Path = below) -> None:
                with tempfile.TemporaryDirectory() as index:
                    embed_videos([below], index=Path(index, "index"), model=model, isolate=isolate)

            ways = {"threads": partial(embed, False), "workers": partial(embed, True)}
            compare(f"embed, {title}", len(videos), args.rounds, ways)


if __name__ == "__main__":
    main()
