"""A process that decodes one video at a time for another process. If a video crashes it, the other process lives on.

Requests are pickles, for they come from the process that started this one. What goes back are JSON and the bytes of
arrays: that process reads nothing from here but data. It imports what ``video`` does, so that it starts at once.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin import stores
from clip2video_plugin.errors import as_unreadable
from clip2video_plugin.places import Place
from clip2video_plugin.video.facts import video_facts
from clip2video_plugin.video.fingerprint import fingerprint_read
from clip2video_plugin.video.frames import Frames, read_quietly
from clip2video_plugin.video.grid import PART, Grid, Layout, Untrue, Wanted
from clip2video_plugin.video.image_folder import BROKEN
from clip2video_plugin.video.presentation import Presentation

PR_SET_PDEATHSIG = 1  # of prctl(2)
VICTIM = "500"  # of 1000: when memory runs out, Linux kills processes of a high score first

Said = dict[str, Any]
Answer = tuple[Said, Sequence[NDArray[Any]]]


def main(channel: int, parent: int) -> None:
    """Answers what comes through a socket until that is closed, or until the process ``parent`` is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # The kernel does it, also while a decoder never ends
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(VICTIM)
    connection, worker = Connection(channel), Worker()
    connection.send_bytes(b"ready")
    with open(os.devnull, "wb") as nowhere:  # image libraries tell of damage there
        os.dup2(nowhere.fileno(), 2)
    while True:
        try:
            request = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        send(connection, *worker.answer(*request))


def send(connection: Connection, said: Said, arrays: Sequence[NDArray[Any]]) -> None:
    forms = [(array.dtype.str, array.shape) for array in arrays]
    connection.send_bytes(json.dumps([said, forms]).encode())
    for array in arrays:
        left = _bytes_of(np.ascontiguousarray(array))
        while left:
            left = left[os.write(connection.fileno(), left) :]


def receive(connection: Connection) -> tuple[Said, list[NDArray[Any]]]:
    """What ``send`` sent.

    Raises:
        EOFError, OSError: the other process is gone.
    """
    said, forms = json.loads(connection.recv_bytes())
    arrays = [np.empty(shape, np.dtype(kind)) for kind, shape in forms]
    for array in arrays:  # into their memory, without a copy on the way
        left = _bytes_of(array)
        while left:
            if not (came := os.readv(connection.fileno(), [left])):
                raise EOFError
            left = left[came:]
    return said, arrays


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


class Worker:
    """What is kept from one request to the next: of a long video the frames to come, and what was fetched of it."""

    def __init__(self) -> None:
        self._fetched: stores.Fetched | None = None
        self._source: Callable[[list[int]], Iterator[tuple[int, Any]]] | None = None
        self._pictures: Iterator[tuple[int, Any]] = iter(())

    def answer(self, what: str, path: Place, *arguments: Any) -> Answer:
        """Of one of the requests below: what it gives, or why the video cannot be read."""
        try:
            answer: Answer = getattr(self, what)(path, *arguments)
            return answer
        except Untrue:
            return {"untrue": True}, ()
        except Exception as error:  # one strange file must not end a run over a million
            return {"reason": as_unreadable(path, error).reason}, ()

    def frames(self, path: Place, options: dict[str, Any]) -> Answer:
        """What ``read_quietly`` reads, and the fingerprint of the file."""
        self._fetched = stores.fetched(path)
        frames, content = read_quietly(path, **options), fingerprint_read(path)
        said = {name: getattr(frames, name) for name in ("width", "height", "duration", "reader", "warning")}
        return said | {"content": content}, (frames.pixels, frames.timestamps)

    def facts(self, path: Place) -> Answer:
        """What ``video_facts`` reads."""
        return {"facts": video_facts(path)}, ()

    def grid(self, path: Place, wanted: Wanted, anew: bool) -> Answer:
        """``Grid.open``, or ``Grid.anew``; a pickle of what reads its frames is for whoever is to read them."""
        self._fetched = stores.fetched(path)
        grid = (Grid.anew if anew else Grid.open)(path, wanted)
        layout, shown = grid.layout, grid.layout.shown
        said = {"duration": shown.duration, "problems": shown.problems, "apart": grid.apart}
        numbers = (np.asarray(numbers, np.int64) for numbers in (layout.picks, layout.on_grid, layout.whole))
        there = np.zeros((0, 1, 1, 3), np.uint8) if grid.pixels is None else grid.pixels
        source = b"" if grid.pixels is not None else pickle.dumps(grid.source)
        times, starts = np.asarray(shown.times, np.float64), np.asarray(shown.starts, np.int64)
        return said, (*numbers, layout.due, times, starts, there, np.frombuffer(source, np.uint8))

    def pictures(self, path: Place, source: bytes | None, wanted: list[int]) -> Answer:
        """The first ``PART`` of the wanted frames; by the source that came last, where none comes with it."""
        self._fetched = stores.fetched(path)
        if source is not None:
            self._source = pickle.loads(source)
        assert self._source is not None
        self._pictures = self._source(wanted)
        return self.more(path)

    def more(self, path: Place) -> Answer:
        """The next ``PART`` of them; fewer, where there are no more."""
        try:
            some = list(islice(self._pictures, PART))
        except BROKEN as error:
            raise Untrue from error
        pixels = np.stack([picture for _, picture in some]) if some else np.zeros((0, 1, 1, 3), np.uint8)
        return {"indices": [index for index, _ in some]}, (pixels,)


def frames_of(said: Said, arrays: Sequence[NDArray[Any]]) -> tuple[Frames, str | None]:
    """What ``Worker.frames`` was asked for."""
    pixels, timestamps = arrays
    content: str | None = said.pop("content")
    return Frames(pixels, timestamps, **said), content


def layout_of(said: Said, arrays: Sequence[NDArray[Any]]) -> Layout:
    """That of what ``Worker.grid`` was asked for, with no more of the video's frames than their times."""
    picks, on_grid, whole, due, times, starts = arrays
    shown = Presentation([], times.tolist(), said["duration"], starts=starts.tolist(), problems=said["problems"])
    return Layout(shown, picks.tolist(), on_grid, due, whole)
