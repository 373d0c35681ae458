"""Videos to the vectors of their windows, and of themselves, in one pass of decoding and encoding.

A frame goes through the image tower once, whatever number of windows it is in. Only features are kept, and of these
no more than the windows to come need, so that the memory does not grow with a video's length.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from clip2video_plugin.bounds import checked_count
from clip2video_plugin.encode import (
    Embedded,
    Item,
    Stamp,
    Unreadable,
    ahead,
    encode_items,
    unless_unreadable,
    usual_batch,
)
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.isolated import Isolation, Workers
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.places import Place
from clip2video_plugin.video.fingerprint import fingerprint_read
from clip2video_plugin.video.grid import Grid, Untrue, Wanted
from clip2video_plugin.video.sampling import SAMPLINGS
from clip2video_plugin.video.thumbnails import NUMBERS, thumbnails
from clip2video_plugin.video.windows import WindowPlan, window_picks

MOST = 16  # videos that are opened, and parts that are read, on a CPU before they are encoded
WINDOWS = 64  # that are embedded at once


@dataclass(frozen=True)
class Wish:
    """A video whose windows are wanted, and whether its own vector is, too.

    ``unfinished`` makes, of the marks of what its windows depend on, the place that keeps those so far; without, none
    are kept.
    """

    item: Item
    stamp: Stamp
    whole: bool
    unfinished: Callable[[dict[str, object]], Unfinished] | None = None


@dataclass(frozen=True)
class Windowed:
    """A video's windows, spans [n, 2] and vectors [n, D]; its own vector [D], where it was wanted.

    ``thumbnails`` are those of the frames of the whole, uint8 [n, 64], ``small`` those of each window as bytes, None of
    one that another run embedded; ``warning`` says what could not be read. ``content`` is the fingerprint of the file,
    where its own vector was wanted.
    """

    item: Item
    stamp: Stamp
    duration: float
    warning: str | None
    spans: NDArray[np.float64]
    vectors: NDArray[np.float32]
    vector: NDArray[np.float32] | None
    thumbnails: NDArray[np.uint8]
    small: list[bytes | None]
    content: str | None


@dataclass(frozen=True)
class Underway:
    """How much of a video is done, from 0 to 1."""

    path: Place
    done: float


if TYPE_CHECKING:
    from clip2video_plugin.index.unfinished import Unfinished

Encoded = Embedded | Windowed | Unreadable | Underway
NO_FRAMES = np.zeros(0, np.int64)


def encode_wishes(
    todo: Iterator[Wish],
    model: Model,
    plan: WindowPlan | None,
    *,
    sampling: str = "uniform",
    batch_size: int | None = None,
    workers: int | None = None,
    isolation: Isolation | None = None,
) -> Generator[Sequence[Encoded], None, None]:
    """Videos with the windows of a plan, or without any; several at a time, decoded apart by ``isolation``."""
    how: dict[str, Any] = {"sampling": sampling, "batch_size": batch_size, "workers": workers}
    with Workers(isolation) if isolation else nullcontext() as isolated:
        if plan is None:
            items = ((wish.item, wish.stamp) for wish in todo)
            yield from encode_items(items, model, isolated=isolated, **how)
        else:
            yield from ([done] for done in encode_windows(todo, model, plan, isolated=isolated, **how))


def encode_windows(
    todo: Iterable[Wish],
    model: Model,
    plan: WindowPlan,
    *,
    sampling: str = "uniform",
    batch_size: int | None = None,
    workers: int | None = None,
    isolated: Workers | None = None,
) -> Iterator[Windowed | Unreadable | Underway]:
    """Decodes in threads, encodes between, as ``encode_items`` does; gives each video when its last window is there.

    A long video is decoded in parts, by several threads where its key frames allow it.
    """
    frames = model.config.max_frames * (checked_count("batch_size", batch_size) or usual_batch(model.device.type))
    workers = checked_count("workers", workers) or os.cpu_count() or 1
    turns, count = model.device.type == "cpu", model.config.max_frames
    most = max(MOST, 2 * workers) if turns else 2 * workers
    wanted = Wanted(partial(plan.rate, count=count), SAMPLINGS[sampling], count, model.config.preprocessing)
    opening = isolated.grid if isolated else _open
    alive = set[_Video]()

    def jobs() -> Iterator[tuple[_Video | Unreadable, Callable[[], Any]]]:
        for wish, grid in ahead(((wish, partial(opened, wish)) for wish in todo), workers, most, turns=turns):
            yield from parts_of(wish, grid)

    def opened(wish: Wish, *, anew: bool = False) -> Grid | VideoReadError:
        path = wish.item.path
        return unless_unreadable(path, partial(opening, path, wish.stamp[0], wanted, anew=anew))

    def parts_of(wish: Wish, grid: Grid | VideoReadError) -> Iterator[tuple[_Video | Unreadable, Callable[[], Any]]]:
        if isinstance(grid, VideoReadError):
            yield Unreadable(wish.item, wish.stamp, grid.reason), lambda: None
            return
        alive.add(video := _Video(wish, grid, model, plan))
        for part in video.parts or [NO_FRAMES]:
            yield video, partial(unless_unreadable, wish.item.path, partial(_read, grid, part))

    def encoded(read: Iterator[tuple[_Video | Unreadable, Any]]) -> Iterator[Windowed | Unreadable | Underway]:
        for video, pixels in read:
            if isinstance(video, Unreadable):
                yield video
            elif video not in alive:  # given up
                continue
            elif isinstance(pixels, np.ndarray):
                video.take(pixels, frames)
                yield Underway(video.wish.item.path, video.done)
                if video.done == 1:
                    alive.remove(video)
                    try:
                        yield video.finish()
                    except VideoReadError as error:
                        video.close()
                        yield Unreadable(video.wish.item, video.wish.stamp, error.reason)
            else:
                alive.remove(video)
                video.close()
                if isinstance(pixels, Untrue):
                    again = opened(video.wish, anew=True)
                    yield from encoded(ahead(parts_of(video.wish, again), workers, most, turns=turns))
                else:
                    yield Unreadable(video.wish.item, video.wish.stamp, pixels.reason)

    try:
        yield from encoded(ahead(jobs(), workers, most, turns=turns))
    finally:
        for video in alive:
            video.close()


def _open(path: Place, size: int, wanted: Wanted, *, anew: bool) -> Grid:
    return (Grid.anew if anew else Grid.open)(path, wanted)


def _read(grid: Grid, part: NDArray[np.int64]) -> NDArray[np.uint8] | Untrue:
    if not len(part):
        return np.zeros((0, 1, 1, 3), np.uint8)
    try:
        return grid.read(part)
    except Untrue as untrue:
        return untrue


class _Video:
    """A video underway: its windows in the order in which they can be embedded, and the features that they need."""

    def __init__(self, wish: Wish, grid: Grid, model: Model, plan: WindowPlan) -> None:
        self.wish, self.grid, self._model = wish, grid, model
        layout, count = grid.layout, model.config.max_frames
        self._spans = np.array(plan.spans(grid.duration))
        self._gridded = bool(len(layout.on_grid))
        self._whole = wish.whole or not self._gridded  # a video of one window is as a whole what its window is
        if self._gridded:
            picks = window_picks(layout.due, plan.spans(grid.duration), count)
            places = np.where(picks < 0, -1, layout.on_grid[picks])
        else:
            places = np.zeros((0, count), np.int64)
        self._order = np.argsort(places.max(axis=1), kind="stable") if len(places) else np.zeros(0, np.int64)
        self._places = places[self._order]
        self._last = self._places.max(axis=1, initial=-1)
        first = np.where(self._places < 0, len(layout.picks), self._places).min(axis=1, initial=len(layout.picks))
        # Of each window, the first frame that it or one after it needs; after the last, none
        self._needs = np.append(np.minimum.accumulate(first[::-1])[::-1], len(layout.picks))
        marks: dict[str, object] = {"windows": _digest(places, self._spans)}
        kept = self._unfinished = wish.unfinished(marks) if wish.unfinished else None
        none = np.zeros((0, model.config.vector_dim), np.float32)
        self._vectors = [kept.begin()[: len(places)] if kept and grid.pixels is None else none]
        self._ready = len(self._vectors[0])  # windows that have their vectors
        self._base = int(self._needs[self._ready])  # place of the first of the features
        self._features: torch.Tensor | None = None
        self._of_whole = dict[int, torch.Tensor]()
        self._small = np.zeros((len(layout.picks), NUMBERS), np.uint8)  # thumbnails
        self._seen = np.zeros(len(layout.picks), np.bool_)
        self.parts = grid.parts(self._base, whole=self._whole)
        self._taken = 0

    @property
    def done(self) -> float:
        """From 0 to 1."""
        return self._taken / max(len(self.parts), 1)

    def take(self, pixels: NDArray[np.uint8], most: int) -> None:
        """Encodes the frames of the next part, ``most`` at once, and the windows that are complete with them."""
        part = self.parts[self._taken] if self.parts else NO_FRAMES
        self._taken += 1
        if not len(part):
            return
        rows = [self._model.image_features(pixels[n : n + most]) for n in range(0, len(part), most)]
        features = torch.cat(rows)
        self._small[part], self._seen[part] = thumbnails(pixels), True
        if self._whole:
            for row in np.flatnonzero(np.isin(part, self.grid.layout.whole)).tolist():
                self._of_whole[int(part[row])] = features[row].clone()
        if part[-1] < self._base:
            return  # frames of the whole alone
        self._features = features if self._features is None else torch.cat([self._features, features])
        ready = int(np.searchsorted(self._last, part[-1], side="right"))
        for start in range(self._ready, ready, WINDOWS):
            places = self._places[start : min(start + WINDOWS, ready)]
            picks = np.where(places < 0, -1, places - self._base)
            vectors = self._model.embed_picks(self._features, picks).vector.numpy()
            if self._unfinished:
                self._unfinished.add(vectors)
            self._vectors.append(vectors)
        self._ready = ready
        base = min(int(self._needs[ready]), int(part[-1]) + 1)
        self._features = self._features[base - self._base :].clone()
        self._base = base

    def finish(self) -> Windowed:
        """The video with all its windows."""
        item = self.wish.item
        content = fingerprint_read(item.path) if self.wish.whole else None  # while the grid holds what it fetched
        self.close()
        layout, vector = self.grid.layout, None
        of_whole, small = np.zeros((0, NUMBERS), np.uint8), list[bytes | None]()
        if self._whole:
            whole = layout.whole.tolist()
            picks = np.full((1, self._model.config.max_frames), -1)
            picks[0, : len(whole)] = np.arange(len(whole))
            features = torch.stack([self._of_whole[place] for place in whole])
            vector = self._model.embed_picks(features, picks).vector.numpy()[0]
            of_whole = self._small[whole]
        if self._gridded:
            vectors = np.empty((len(self._spans), self._vectors[0].shape[1]), np.float32)
            vectors[self._order] = np.concatenate(self._vectors)
            places = np.empty_like(self._places)
            places[self._order] = self._places
            some = (window[window >= 0] for window in places)
            small = [self._small[window].tobytes() if self._seen[window].all() else None for window in some]
        else:
            assert vector is not None
            vectors, small = vector[None], [of_whole.tobytes()]
        order = np.lexsort((self._spans[:, 1], self._spans[:, 0]))
        return Windowed(
            self.wish.item,
            self.wish.stamp,
            self.grid.duration,
            self.grid.warning,
            self._spans[order],
            vectors[order],
            vector if self.wish.whole else None,
            of_whole,
            [small[window] for window in order],
            content,
        )

    def close(self) -> None:
        """Leaves the windows so far to another run."""
        if self._unfinished:
            self._unfinished.close()
        self.grid.close()


def _digest(*arrays: NDArray[Any]) -> str:
    """Equal for the same windows of the same frames."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
