"""Decoding in processes apart: what a video does to its decoder ends that process, and is a failure of that video.

A worker (``video/worker.py``) has one video at a time, so that there is no doubt whose fault its death is. One that
died may have been killed from outside, or been spoilt by a video before: the video is tried again by a new worker, and
blamed when that dies as well.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from clip2video_plugin.apart import Death, Worker
from clip2video_plugin.bounds import checked_amount
from clip2video_plugin.errors import Clip2VideoError, VideoReadError, WorkerError
from clip2video_plugin.places import Place, Uri
from clip2video_plugin.video.frames import Frames
from clip2video_plugin.video.grid import PART, Grid, Untrue, Wanted
from clip2video_plugin.video.worker import Answer, frames_of, layout_of

SECONDS, MEMORY = 300.0, 2.0  # of a video, and gigabytes of the process that decodes it
LEAST_SECONDS, LEAST_MEMORY = 0.1, 0.25  # a worker has a quarter of this before it decodes anything
MORE = 100e6  # bytes of a file for which there is as much time again
CRASHES = 2  # of processes with a video alone, after which it is a failure
STARTS = 3  # processes in a row that die before they are ready, after which a run ends
TICK = 0.05  # seconds between two looks at all workers


def time_for(seconds: float, size: int) -> float:
    """Seconds that a video of so many bytes may take."""
    return seconds * (1 + size / MORE)


@dataclass(frozen=True)
class Isolation:
    """What a video may take: ``seconds``, more where its file is large (``time_for``), and gigabytes of memory.

    With windows a video is read in parts, and has the seconds for each of them.
    """

    seconds: float = SECONDS
    memory: float = MEMORY

    @classmethod
    def of(cls, isolate: bool, seconds: float | None, memory: float | None) -> Isolation | None:
        """What a user asks for.

        Raises:
            Clip2VideoError: a limit is out of range or stands alone, or there are no such processes here.
        """
        limits = (("video_seconds", seconds), ("video_memory", memory))
        for name, value in limits:
            if value is not None and not isolate:
                raise Clip2VideoError(f"{name} is {value}, and videos are not isolated; add isolate (--isolate)")
        if not isolate:
            return None
        if os.name != "posix":
            raise Clip2VideoError("isolate works on Linux and macOS; leave it out here")
        seconds = checked_amount("video_seconds", seconds, "seconds", LEAST_SECONDS)
        memory = checked_amount("video_memory", memory, "gigabytes", LEAST_MEMORY)
        return cls(SECONDS if seconds is None else seconds, MEMORY if memory is None else memory)


@dataclass
class Lent:
    """The worker that somebody has now, None until it is asked, and where it died."""

    worker: Worker | None = None

    def moved(self) -> Lent:
        """The same for somebody else; this one has none any more."""
        other, self.worker = Lent(self.worker), None
        return other


class Workers:
    """Workers as they are needed, for several threads; ``with`` ends them all.

    Its methods raise VideoReadError for a video that cannot be read, or whose decoder died of it, and WorkerError
    where none can be started.
    """

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._idle, self._all, self._ended = list[Worker](), set[Worker](), False
        self._lock = threading.Lock()  # of these
        # Workers end with the thread that started them
        self._starting = ThreadPoolExecutor(1, thread_name_prefix="start")
        self._over = threading.Event()
        self._unready = 0  # workers that died before they were ready, one after another
        self._gate, self._busy, self._changed = threading.Lock(), 0, threading.Condition()

    def __enter__(self) -> Workers:
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._ended, workers = True, list(self._all)
        self._over.set()
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.wait()
        for worker in self._idle:
            worker.end()
        self._starting.shutdown()

    def frames(self, path: Place, size: int, /, **options: Any) -> tuple[Frames, str | None]:
        """What ``read_quietly`` reads of a file of so many bytes, and its fingerprint."""
        with self.lent() as lent:
            return frames_of(*self.ask(lent, path, size, lambda _: ("frames", path, options)))

    def facts(self, path: Place, size: int) -> dict[str, Any] | None:
        """What ``video_facts`` reads."""
        with self.lent() as lent:
            facts: dict[str, Any] | None = self.ask(lent, path, size, lambda _: ("facts", path))[0]["facts"]
            return facts

    def grid(self, path: Place, size: int, wanted: Wanted, *, anew: bool = False) -> Grid:
        """``Grid.open``, or ``Grid.anew``, of a file of so many bytes; its frames are read by workers."""
        with self.lent() as lent:
            said, (*numbers, pixels, source) = self.ask(lent, path, size, lambda _: ("grid", path, wanted, anew))
            # An object is read by the one that has fetched some of it
            kept = lent.moved() if source.size and isinstance(path, Uri) else None
        pictures = Pictures(self, path, size, source.tobytes(), kept)
        grid = Grid(path, wanted, layout_of(said, numbers), pictures, apart=said["apart"], leave=pictures.close)
        grid.pixels = None if source.size else pixels
        return grid

    def ask(self, lent: Lent, path: Place, size: int, request: Callable[[Worker], tuple[Any, ...]]) -> Answer:
        """Asks the worker that was lent, and where that dies a new one.

        Raises:
            Untrue: a frame that was promised is not there.
        """
        deaths, seconds = list[Death](), time_for(self._isolation.seconds, size)
        while True:
            worker = lent.worker = lent.worker or self._one(new=bool(deaths))
            try:
                # A video whose worker was killed, for want of memory say, is tried again while no other is decoded.
                with self._alone() if deaths and deaths[-1].outside else self._beside():
                    said, arrays = worker.ask(seconds, request(worker))
                break
            except BaseException as error:  # whatever else it says is no answer to what is asked next
                self._forget(worker)
                lent.worker = None
                if not isinstance(error, Death):
                    raise
                deaths.append(error)
                if error.sure or len(deaths) == CRASHES:
                    raise VideoReadError(path, error.reason) from None
        if "reason" in said:
            raise VideoReadError(path, said["reason"])
        if "untrue" in said:
            raise Untrue
        return said, arrays

    @contextmanager
    def lent(self) -> Iterator[Lent]:
        """A worker for as long as it takes, from the first question on."""
        lent = Lent()
        try:
            yield lent
        finally:
            self.give_back(lent)

    def give_back(self, lent: Lent) -> None:
        with self._lock:
            if (worker := lent.moved().worker) in self._all:
                self._idle.append(worker)

    def _one(self, *, new: bool) -> Worker:
        while True:
            with self._lock:
                while self._idle and not new:
                    worker = self._idle.pop()
                    if worker.lives:
                        return worker
                    worker.end()
                    self._all.discard(worker)
            worker = self._starting.submit(self._start).result()
            try:
                worker.wait_until_ready()
            except Death as death:
                self._forget(worker)
                self._unready += 1
                if self._unready >= STARTS:
                    raise WorkerError(f"processes that decode cannot start: {death.reason}") from None
            else:
                self._unready = 0
                return worker

    def _start(self) -> Worker:
        with self._lock:
            if self._ended:
                raise WorkerError("the run was ended")
            self._all.add(worker := Worker(self._isolation.memory * 1e9))
            return worker

    def _forget(self, worker: Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)

    @contextmanager
    def _beside(self) -> Iterator[None]:
        with self._gate, self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._gate, self._changed:
            self._changed.wait_for(lambda: not self._busy)
            yield

    def _watch(self) -> None:
        while not self._over.wait(TICK):
            with self._lock:
                workers = list(self._all)
            for worker in workers:
                worker.look()


class Pictures:
    """The frames of a long video as workers read them: a ``Source`` of a ``Grid``.

    Any worker reads any of them, or, one question after another, the one that is ``kept``.
    """

    def __init__(self, workers: Workers, path: Place, size: int, source: bytes, kept: Lent | None) -> None:
        self._workers, self._path, self._size, self._source, self._kept = workers, path, size, source, kept
        self._one_by_one = threading.Lock() if kept else nullcontext()

    def __call__(self, wanted: list[int]) -> Iterator[tuple[int, Any]]:
        with self._one_by_one, nullcontext(self._kept) if self._kept else self._workers.lent() as lent:
            left, at = deque(wanted), None

            def request(worker: Worker) -> tuple[Any, ...]:
                if worker is at:  # which goes on where it was
                    return "more", self._path
                known, worker.source = worker.source is self._source, self._source
                return "pictures", self._path, None if known else self._source, list(left)

            while left:
                said, (pixels,) = self._workers.ask(lent, self._path, self._size, request)
                at = lent.worker
                for index, picture in zip(said["indices"], pixels, strict=True):
                    while left.popleft() != index:  # that one is not there
                        pass
                    yield index, picture
                if len(pixels) < PART:
                    return

    def close(self) -> None:
        if self._kept:
            self._workers.give_back(self._kept)
