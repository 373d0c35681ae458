"""``Grid``: the frames of a video at a steady rate, read in parts, so that a film of hours fits in memory.

They are those of ``read_frames(path, policy="fps", fps=rate)``, and beside them those that the vector of the whole
video is made of: one pass of decoding for both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Condition
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.pixels import Preprocessing
from clip2video_plugin.places import Place
from clip2video_plugin.video import image_folder, pyav_reader, streams
from clip2video_plugin.video.frames import LONGEST as LONGEST_VIDEO
from clip2video_plugin.video.frames import decode, picker
from clip2video_plugin.video.image_folder import BROKEN
from clip2video_plugin.video.presentation import Presentation
from clip2video_plugin.video.sampling import Policy, rate_times, snapped
from clip2video_plugin.video.structure import is_cut_off
from clip2video_plugin.video.transform import resize_and_crop

PART, LONGEST = 48, 192  # frames that are read at once, and how many they may be for a key frame to come next

Source = Callable[[list[int]], Iterator[tuple[int, Any]]]  # of indices of frames, ascending: index and picture


class Untrue(Exception):  # whoever reads the grid catches it, and lays the grid anew
    """A frame that the packets promise, or an image that is listed, is not there."""


class _Long(Exception):
    """The video has more frames than are read at once."""


@dataclass(frozen=True)
class Wanted:
    """Which frames of a video to read, and how.

    Attributes:
        rate: of a duration in seconds, how many frames a second lie on the grid; 0 for no grid.
        whole: policy and frames a second, as of ``read_frames``, of the frames of the whole video. count: of them.
            With the policy ``keyframes`` the frames of the grid are moved to key frames by the same rule.
    """

    rate: Callable[[float], float]
    whole: tuple[Policy, float | None]
    count: int
    how: Preprocessing

    def lay(self, path: Place, shown: Presentation) -> Layout:
        """The frames of a video.

        Raises:
            VideoReadError: it lasts longer than windows are made of.
        """
        if shown.duration > LONGEST_VIDEO:
            raise VideoReadError(
                path,
                f"it lasts {shown.duration:.0f} seconds by its times; windows are made of {LONGEST_VIDEO:.0f} at most",
            )
        rate = self.rate(shown.duration)
        every = picker(path, "fps", count=1, fps=rate, start=None, end=None)(shown) if rate else []
        due = rate_times(shown.times, every, rate) if rate else np.zeros(0)
        policy, fps = self.whole
        if policy == "keyframes":
            exact, times = every, np.array(shown.times)
            every = snapped(shown.times, exact, shown.keys, (0, len(times)), shown.duration)
            # A frame that was moved stands for its own time
            due = np.maximum.accumulate(np.where(np.equal(every, exact), due, times[every]))
        whole = picker(path, policy, count=self.count, fps=fps, start=None, end=None)(shown)
        picks = sorted({*every, *whole})
        return Layout(shown, picks, np.searchsorted(picks, every), due, np.searchsorted(picks, whole))

    def convert(self, image: Image.Image) -> NDArray[np.uint8]:
        return resize_and_crop(image, self.how)


@dataclass(frozen=True)
class Layout:
    """The frames that are read of a video.

    Attributes:
        shown: all frames of it. picks: indices of those to read, ascending; a *place* is a place in it.
        on_grid: places [n] of the frames of the grid, and ``due`` [n] the seconds that they stand for.
        whole: places of the frames of the whole video, in order; one may come more than once.
    """

    shown: Presentation
    picks: list[int]
    on_grid: NDArray[np.int64]
    due: NDArray[np.float64]
    whole: NDArray[np.int64]


class Grid:
    """The frames of a video that are ``Wanted``; ``pixels`` has them where they are no more than one part.

    Parts are given by ``parts`` and read by ``read``, by several threads where that is possible. They come of
    ``source``, which can begin at any frame where they lie ``apart``; ``leave`` is called when the last was read.
    """

    def __init__(
        self,
        path: Place,
        wanted: Wanted,
        layout: Layout,
        source: Source = lambda picks: iter(()),
        *,
        apart: bool = True,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.wanted, self.layout, self.source, self.apart = path, wanted, layout, source, apart
        self._fetched = stores.fetched(path)  # by all parts, once
        self.pixels: NDArray[np.uint8] | None = None
        self._leave = leave
        self._cuts = _cuts(layout) if apart else None
        self._parts: list[NDArray[np.int64]] = []
        # Of a video that can only be read from its start: whose turn it is, and what came before it was asked for
        self._turn, self._next = Condition(), 0
        self._reading: Iterator[tuple[int, Any]] | None = None
        self._early = dict[int, Any]()

    @classmethod
    def open(cls, path: Place, wanted: Wanted) -> Grid:
        """Lays the grid over a video, and reads the frames of a short one.

        Raises:
            VideoReadError: it cannot be read at all.
        """
        with stores.held(path):
            return cls._open(path, wanted)

    @classmethod
    def _open(cls, path: Place, wanted: Wanted) -> Grid:
        layout: Layout | None = None

        def pick(shown: Presentation) -> list[int]:
            nonlocal layout
            layout = wanted.lay(path, shown)
            if len(layout.picks) > PART:
                raise _Long
            return layout.picks

        try:
            decoded, _ = decode(path, pick, wanted.convert)
        except _Long:
            assert layout is not None
            return cls._long(path, wanted, layout)
        assert layout is not None
        there = [i in decoded.pictures for i in layout.picks]
        if not any(there):
            raise VideoReadError(path, "none of its frames can be decoded")
        grid = cls(path, wanted, layout if all(there) else _without(layout, there))
        grid.pixels = np.stack([decoded.pictures[i] for i in grid.layout.picks])
        return grid

    @classmethod
    def _long(cls, path: Place, wanted: Wanted, layout: Layout) -> Grid:
        if isinstance(path, Path) and path.is_dir():
            images, _ = image_folder.presented(path)
            return cls(path, wanted, layout, partial(streams.of_images, images, convert=wanted.convert))
        if not layout.shown.packets:
            return cls._decoded(path, wanted)
        if is_cut_off(path):
            _note_cut(layout.shown)
        return cls(path, wanted, layout, partial(streams.by_plan, path, layout.shown, convert=wanted.convert))

    @classmethod
    def _decoded(cls, path: Place, wanted: Wanted) -> Grid:
        """By decoding every frame, once for the times and once more for the pictures."""
        shown, order = pyav_reader.shown_in_full(path)
        if is_cut_off(path):
            _note_cut(shown)
        source = partial(streams.by_decoding, path, shown, order, convert=wanted.convert)
        return cls(path, wanted, wanted.lay(path, shown), source, apart=False)

    @classmethod
    def anew(cls, path: Place, wanted: Wanted) -> Grid:
        """The grid of a video that was ``Untrue``, by what can be decoded of it."""
        if not isinstance(path, Path) or not path.is_dir():
            return cls._decoded(path, wanted)
        kept = list[Path]()
        checked = image_folder.decode(path, lambda shown: wanted.lay(path, shown).picks, lambda image: None, kept)
        layout = wanted.lay(path, checked.presentation)
        return cls(path, wanted, layout, partial(streams.of_images, kept, convert=wanted.convert))

    @property
    def timestamps(self) -> NDArray[np.float64]:
        """Seconds from the first frame of each of the layout's picks."""
        times = self.layout.shown.times
        return np.array([times[i] for i in self.layout.picks])

    @property
    def duration(self) -> float:
        return self.layout.shown.duration

    @property
    def warning(self) -> str | None:
        """What of the video could not be read."""
        return "; ".join(self.layout.shown.problems) or None

    def parts(self, first: int = 0, *, whole: bool = True) -> list[NDArray[np.int64]]:
        """Places of the frames of each part, from the place ``first`` on: a few seconds of video each.

        A part begins with a key frame, so that none is decoded twice. ``whole``: before them those frames of the
        whole video that lie before ``first``.
        """
        size = len(self.layout.picks)
        cuts = range(0, size, PART) if self._cuts is None else self._cuts
        edges = [first, *(cut for cut in cuts if cut > first), size]
        before = np.unique(self.layout.whole[self.layout.whole < first]) if whole else np.zeros(0, np.int64)
        parts = [before, *(np.arange(low, high) for low, high in pairwise(edges))]
        self._parts = [part for part in parts if len(part)]
        return self._parts

    def read(self, part: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels uint8 [n, size, size, 3] of the frames of one of the ``parts``.

        Raises:
            Untrue: one of them is not there; lay the grid ``anew``.
            VideoReadError: the file cannot be read any more.
        """
        if self.pixels is not None:
            return self.pixels[part]
        try:
            found = self._in_turn(part) if self._cuts is None else dict(self.source(self._picks(part)))
        except BROKEN as error:
            raise Untrue from error
        if len(found) < len(part):
            raise Untrue
        return np.stack([found[i] for i in self._picks(part)])

    def _picks(self, places: NDArray[np.int64]) -> list[int]:
        return [self.layout.picks[place] for place in places.tolist()]

    def _in_turn(self, part: NDArray[np.int64]) -> dict[int, NDArray[np.uint8]]:
        """Of a video that is read from its start to its end: waits for the parts before, then goes on."""
        number = next(n for n, one in enumerate(self._parts) if one is part)
        with self._turn:
            self._turn.wait_for(lambda: self._next >= number)
            try:
                if self._reading is None:
                    self._reading = self.source(self._picks(np.concatenate(self._parts)))
                missing, found = set(self._picks(part)), dict[int, NDArray[np.uint8]]()
                for i in missing & self._early.keys():
                    found[i] = self._early.pop(i)
                missing -= found.keys()
                while missing and (read := next(self._reading, None)) is not None:
                    (found if read[0] in missing else self._early)[read[0]] = read[1]
                    missing.discard(read[0])
                return found
            finally:
                self._next = number + 1
                self._turn.notify_all()

    def close(self) -> None:
        """Ends reading."""
        with self._turn:
            if isinstance(self._reading, Generator):
                self._reading.close()
            self._reading = self._fetched = None
            self._leave()


def _cuts(layout: Layout) -> list[int] | None:
    """Places at which parts begin that can be read each for itself; None where key frames are too rare for it."""
    starts, picks = layout.shown.starts, layout.picks
    if not starts:  # images
        return list(range(0, len(picks), PART))
    cuts = [0]
    for place in range(1, len(picks)):
        if place - cuts[-1] >= PART and starts[picks[place]] != starts[picks[place - 1]]:
            cuts.append(place)
    return cuts if max(np.diff([*cuts, len(picks)])) <= LONGEST else None


def _note_cut(shown: Presentation) -> None:
    if not shown.problems:
        shown.problems.append("it was cut off: the file is shorter than it says")


def _without(layout: Layout, there: list[bool]) -> Layout:
    """A layout without the frames that could not be decoded."""
    new = np.cumsum(there) - 1  # of each place that stays
    kept = np.array(there)
    on_grid, whole = kept[layout.on_grid], kept[layout.whole]
    return Layout(
        layout.shown,
        [i for i, stays in zip(layout.picks, there, strict=True) if stays],
        new[layout.on_grid[on_grid]],
        layout.due[on_grid],
        new[layout.whole[whole]],
    )
