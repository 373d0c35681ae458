"""Decoding in threads and encoding in batches: from videos to their vectors."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from clip2video_plugin import stores
from clip2video_plugin.bounds import checked_count
from clip2video_plugin.errors import VideoReadError, WorkerError, as_unreadable
from clip2video_plugin.isolated import Workers
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.places import Place
from clip2video_plugin.subtitles import Line
from clip2video_plugin.video.fingerprint import fingerprint_read
from clip2video_plugin.video.frames import Frames, read_quietly
from clip2video_plugin.video.sampling import SAMPLINGS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clip2video_plugin.model.network import VideoEmbedding

TURN, TURN_PER_WORKER = 64, 8  # most videos that are decoded on a CPU before they are encoded
TURN_SECONDS = 3.0  # and about how long that may take


Stamp = tuple[int, float]  # size and time of change of the file


@dataclass(frozen=True)
class Item:
    """A video to embed, and the id that its row gets.

    ``stamp`` is what listing it said of its size and time of change, None where nothing was listed.
    ``captions`` are what is known of it now, None where nobody says, so that those of its row stay. ``beside`` gives
    what text files beside a path say, None where that cannot be read (``subtitles.Sidecars``); ``told`` is when these
    changed last, None where nobody knows.
    """

    path: Place
    id: str
    sample_id: str | None = None
    captions: Sequence[str] | None = None
    tags: Sequence[str] = ()
    beside: Callable[[Place], Sequence[Line] | None] | None = None
    stamp: Stamp | None = None
    told: float | None = None


@dataclass(frozen=True)
class Embedded:
    """An item's vector, float32 [vector_dim], its duration in seconds, and what of it could not be read.

    ``thumbnails`` are those of its frames, uint8 [n, 64]; ``content`` is the fingerprint of its file.
    """

    item: Item
    stamp: Stamp
    duration: float
    vector: NDArray[np.float32]
    warning: str | None
    thumbnails: NDArray[np.uint8]
    content: str | None


@dataclass(frozen=True)
class Unreadable:
    """An item that cannot be read, and why."""

    item: Item
    stamp: Stamp
    reason: str


Read = tuple[Frames, str | None]  # and the fingerprint of the file
Decoded = tuple[Item, Stamp, Read | VideoReadError]
K = TypeVar("K")
T = TypeVar("T")


def encode_items(
    todo: Iterable[tuple[Item, Stamp]],
    model: Model,
    *,
    sampling: str = "uniform",
    batch_size: int | None = None,
    workers: int | None = None,
    isolated: Workers | None = None,
) -> Iterator[list[Embedded | Unreadable]]:
    """Decodes in threads, or by their ``isolated`` workers, and encodes in batches; gives each batch's items in order.

    Beside a GPU the threads decode ahead, and a batch is put together while the one before is encoded. On a CPU
    decoding and encoding take turns, each with all cores: an encoder beside decoders waits at each of its barriers
    for the thread that shares a core (benchmarks/pipeline.py).
    """
    batch_size = checked_count("batch_size", batch_size) or usual_batch(model.device.type)
    workers = checked_count("workers", workers) or os.cpu_count() or 1
    turns = model.device.type == "cpu"
    window = max(TURN, TURN_PER_WORKER * workers) if turns else 2 * batch_size + workers
    reading = isolated.frames if isolated else _read
    decoded = _decoded(iter(todo), model, reading, sampling, workers, window, turns=turns)
    running = ((batch, _start(batch, model)) for batch in batched(decoded, batch_size))
    for batch, embedding in _delayed(running, 0 if turns else 1):
        vectors = iter(embedding.cpu().vector.numpy() if embedding else ())
        yield [
            Unreadable(item, stamp, read.reason)
            if isinstance(read, VideoReadError)
            else _embedded(item, stamp, next(vectors), *read)
            for item, stamp, read in batch
        ]


def _embedded(item: Item, stamp: Stamp, vector: NDArray[np.float32], frames: Frames, content: str | None) -> Embedded:
    return Embedded(item, stamp, frames.duration, vector, frames.warning, frames.thumbnails, content)


def _start(batch: Sequence[Decoded], model: Model) -> VideoEmbedding | None:
    """Gives the device the batch's videos to encode, and does not wait for it."""
    readable = [read[0].pixels for _, _, read in batch if not isinstance(read, VideoReadError)]
    return model.start_encoding(readable) if readable else None


def _delayed(values: Iterator[T], by: int) -> Iterator[T]:
    """The same values, each given when ``by`` more have been made."""
    made = deque[T]()
    for value in values:
        made.append(value)
        if len(made) > by:
            yield made.popleft()
    yield from made


def usual_batch(device: str) -> int:
    """Videos encoded at once on a kind of device when nobody says otherwise."""
    return 8 if device == "cpu" else 64


def _read(path: Place, size: int, /, **options: Any) -> Read:
    with stores.held(path):
        return read_quietly(path, **options), fingerprint_read(path)


def _decoded(
    todo: Iterator[tuple[Item, Stamp]],
    model: Model,
    reading: Callable[..., Read],
    sampling: str,
    workers: int,
    window: int,
    *,
    turns: bool,
) -> Iterator[Decoded]:
    """Decodes ahead in threads, at most ``window`` videos, and gives them in order."""
    policy, fps = SAMPLINGS[sampling]
    count, how = model.config.max_frames, model.config.preprocessing

    def read(item: Item, stamp: Stamp) -> Read:
        frames, content = reading(item.path, stamp[0], policy=policy, fps=fps, count=count, **how.options)
        frames.thumbnails  # noqa: B018  # made in this thread
        return frames, content

    jobs = (((item, stamp), partial(unless_unreadable, item.path, partial(read, item, stamp))) for item, stamp in todo)
    for (item, stamp), read_of in ahead(jobs, workers, window, turns=turns):
        yield item, stamp, read_of


def unless_unreadable(path: Place, reading: Callable[[], T]) -> T | VideoReadError:
    """What reading a video gives, or why it cannot be read."""
    try:
        return reading()
    except WorkerError:
        raise
    except Exception as error:  # one strange file must not end a run over a million
        return as_unreadable(path, error)


def ahead(
    jobs: Iterator[tuple[K, Callable[[], T]]], workers: int, window: int, *, turns: bool
) -> Iterator[tuple[K, T]]:
    """Works ahead in threads, on at most ``window`` jobs, and gives their results in order.

    In ``turns`` nothing is worked on while those of a window are given.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    running: deque[tuple[K, Future[T]]] = deque()
    most, window = window, min(window, 8) if turns else window
    try:
        more = True
        while more or running:
            for key, work in islice(jobs, window - len(running)):
                running.append((key, pool.submit(work)))
            more = len(running) == window
            if turns:
                began = time.monotonic()
                wait([future for _, future in running])
                # Of long videos fewer at a time, so that progress shows and a run can be stopped.
                seconds = max(time.monotonic() - began, 0.001)
                window = max(workers, min(most, int(len(running) * TURN_SECONDS / seconds)))
            for _ in range(len(running) if turns else min(len(running), 1)):
                key, future = running.popleft()
                yield key, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
