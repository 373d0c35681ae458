"""The pipeline from paths to rows: decode in threads, encode in batches, write in portions.

Used unchanged by the command line, from Python and by the FiftyOne brain method.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from clip2video_plugin.errors import Clip2VideoError, VideoReadError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.provenance import SAMPLINGS, provenance
from clip2video_plugin.video.files import file_stamp, find_videos
from clip2video_plugin.video.frames import Frames, read_quietly

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLUSH_ROWS, FLUSH_SECONDS = 1000, 30.0
LOOKUP = 1000  # videos asked for in the index at once
TURN, TURN_PER_WORKER = 64, 8  # most videos that are decoded on a CPU before they are encoded
TURN_SECONDS = 3.0  # and about how long that may take


@dataclass(frozen=True)
class Item:
    """A video to embed, and the id that its row gets."""

    path: Path
    id: str
    sample_id: str | None = None
    captions: Sequence[str] = ()


Stamp = tuple[int, float]  # size and time of change of the file


@dataclass(frozen=True)
class Embedded:
    """An item's vector, float32 [vector_dim], its duration in seconds, and what of it could not be read."""

    item: Item
    stamp: Stamp
    duration: float
    vector: NDArray[np.float32]
    warning: str | None


@dataclass(frozen=True)
class Unreadable:
    """An item that cannot be read, and why."""

    item: Item
    stamp: Stamp
    reason: str


@dataclass(frozen=True)
class Failure:
    path: str
    reason: str


@dataclass
class Report:
    """What an embedding run did: counts, the videos that could not be read, and seconds taken.

    ``damaged`` lists videos that were embedded from the part of them that can be read; ``total`` is the number
    of videos asked for, where it is known; ``indexing`` says that all are embedded and the vector index is being made.
    """

    embedded: int = 0
    skipped: int = 0
    failed: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    damaged: list[Failure] = field(default_factory=list)
    total: int | None = None
    indexing: bool = False

    @property
    def done(self) -> int:
        return self.embedded + self.skipped + len(self.failed)


T = TypeVar("T")
Progress = Callable[[Report], None]


def embed_videos(
    paths: str | Path | Iterable[str | Path],
    *,
    index: str | Path | None = None,
    model: str | Path | Model | None = None,
    sampling: str = "uniform",
    device: str | None = None,
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Embeds the videos in files and folders and writes them to an index.

    Videos that the index holds unchanged (same size and time of change) are skipped, so a run that
    was stopped goes on where it was. A video that cannot be read is reported, not raised.

    Args:
        index: URI of the index, made when absent; $C2V_INDEX or ./c2v-index by default.
        model: name or folder of a checkpoint, or a loaded one; the embedded one by default.
        sampling: which frames a vector is made of: "uniform", or those of the paper's pipeline, "reference" (thinned
            to 2.5 a second, as for MSR-VTT) or "reference-5fps" (MSVD, VATEX). An index has one sampling.
        precision: of the image tower, see ``load_model``; a loaded model keeps its own.
        batch_size: videos encoded at once; by default 8 on a CPU and 64 elsewhere.
        workers: decoding threads; by default one per CPU core.
        progress: called with the report so far after every batch.

    Raises:
        VideoReadError: a named path does not exist.
        VideoIndexError: the index was made with another model, or cannot be written.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    total = sum(1 for _ in find_videos(paths))  # counted, not kept: memory must not grow with a library
    loaded = model if isinstance(model, Model) else load_model(model, device=device, precision=precision)
    target = VideoIndex.create(index, loaded.config.vector_dim, provenance(loaded, sampling))
    items = (Item(path, video_id(path)) for path in find_videos(paths))
    return embed_items(items, loaded, target, total=total, batch_size=batch_size, workers=workers, progress=progress)


def video_id(path: Path) -> str:
    """The id of a file's row in an index of paths: the same for the same absolute path."""
    return hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:32]


def embed_items(
    items: Iterable[Item],
    model: Model,
    index: VideoIndex,
    *,
    known: VideoIndex | None = None,
    total: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Embeds items and writes their rows; see ``embed_videos``.

    Args:
        total: the number of items, where they have no length.
        known: an index of paths by the same model, whose unchanged rows are copied instead of embedded.
    """
    began, report = time.monotonic(), Report(total=len(items) if isinstance(items, Sized) else total)
    writer = _Writer(index)
    try:
        todo = _unknown(items, index, known, writer, report, progress)
        sampling = index.provenance.policy
        for batch in encode_items(todo, model, sampling=sampling, batch_size=batch_size, workers=workers):
            for done in batch:
                if isinstance(done, Embedded):
                    writer.add(_row(done.item, done.stamp, done.duration, done.vector))
                    report.embedded += 1
                    if done.warning:
                        report.damaged.append(Failure(str(done.item.path), done.warning))
                else:
                    writer.add_failure(done)
                    report.failed.append(Failure(str(done.item.path), done.reason))
            writer.flush_when_due()
            if progress:
                progress(report)
    finally:
        writer.flush()
        report.seconds = time.monotonic() - began
    if index.needs_indexing():
        report.indexing = True
        if progress:
            progress(report)
        index.finish()
    report.seconds = time.monotonic() - began
    return report


def encode_items(
    todo: Iterable[tuple[Item, Stamp]],
    model: Model,
    *,
    sampling: str = "uniform",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Iterator[list[Embedded | Unreadable]]:
    """Decodes in threads and encodes in batches; gives each batch's items in order.

    Beside a GPU the threads decode ahead. On a CPU decoding and encoding take turns, each with all cores: an encoder
    beside decoders waits at each of its barriers for the thread that shares a core (benchmarks/pipeline.py).
    """
    if batch_size is not None and batch_size < 1:
        raise Clip2VideoError(f"batch_size is {batch_size}; it must be at least 1")
    if workers is not None and workers < 1:
        raise Clip2VideoError(f"workers is {workers}; it must be at least 1")
    batch_size = batch_size or usual_batch(model)
    workers = workers or os.cpu_count() or 1
    turns = model.device.type == "cpu"
    window = max(TURN, TURN_PER_WORKER * workers) if turns else 2 * batch_size + workers
    decoded = _decoded(iter(todo), model, sampling, workers, window, turns=turns)
    for batch in _batched(decoded, batch_size):
        readable = [frames.pixels for _, _, frames in batch if isinstance(frames, Frames)]
        vectors = iter(model.encode_frames(readable).vector.numpy() if readable else ())
        yield [
            Embedded(item, stamp, frames.duration, next(vectors), frames.warning)
            if isinstance(frames, Frames)
            else Unreadable(item, stamp, frames.reason)
            for item, stamp, frames in batch
        ]


def usual_batch(model: Model) -> int:
    """Videos encoded at once when nobody says otherwise."""
    return 8 if model.device.type == "cpu" else 64


Decoded = tuple[Item, Stamp, Frames | VideoReadError]


def _unknown(
    items: Iterable[Item],
    index: VideoIndex,
    known: VideoIndex | None,
    writer: _Writer,
    report: Report,
    progress: Progress | None,
) -> Iterator[tuple[Item, Stamp]]:
    """Items to decode; those that are indexed unchanged are counted, or copied from ``known``."""
    for chunk in _batched(items, LOOKUP):
        stamps = {item.id: file_stamp(item.path) for item in chunk}
        have = index.stamps([item.id for item in chunk])
        todo = [item for item in chunk if have.get(item.id) != stamps[item.id]]
        elsewhere = known.rows([video_id(item.path) for item in todo]) if known else {}
        for item in todo:
            row = elsewhere.get(video_id(item.path))
            if row and (row["size"], row["mtime"]) == stamps[item.id]:
                writer.add(_row(item, stamps[item.id], row["duration"], row["vector"]))
                have[item.id] = stamps[item.id]
        writer.flush_when_due()
        report.skipped += sum(have.get(item.id) == stamps[item.id] for item in chunk)
        if progress:
            progress(report)
        for item in todo:
            if have.get(item.id) != stamps[item.id]:
                yield item, stamps[item.id]


def _decoded(
    todo: Iterator[tuple[Item, Stamp]], model: Model, sampling: str, workers: int, window: int, *, turns: bool
) -> Iterator[Decoded]:
    """Decodes ahead in threads, at most ``window`` videos, and gives them in order.

    In ``turns`` nothing is decoded while those of a window are given.
    """
    policy, fps = SAMPLINGS[sampling]
    count, size = model.config.max_frames, model.config.image_size

    def read(item: Item) -> Frames | VideoReadError:
        try:
            return read_quietly(item.path, policy=policy, fps=fps, count=count, size=size)
        except VideoReadError as error:
            return error
        except Exception as error:  # one strange file must not end a run over a million
            return VideoReadError(item.path, f"{type(error).__name__}: {error}")

    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    ahead: deque[tuple[Item, Stamp, Future[Frames | VideoReadError]]] = deque()
    most, window = window, min(window, 8) if turns else window
    try:
        more = True
        while more or ahead:
            for item, stamp in islice(todo, window - len(ahead)):
                ahead.append((item, stamp, pool.submit(read, item)))
            more = len(ahead) == window
            if turns:
                began = time.monotonic()
                wait([future for _, _, future in ahead])
                # Of long videos fewer at a time, so that progress shows and a run can be stopped.
                seconds = max(time.monotonic() - began, 0.001)
                window = max(workers, min(most, int(len(ahead) * TURN_SECONDS / seconds)))
            for _ in range(len(ahead) if turns else min(len(ahead), 1)):
                item, stamp, future = ahead.popleft()
                yield item, stamp, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch


def _row(item: Item, stamp: Stamp, duration: float | None, vector: NDArray[np.float32] | list[float]) -> dict[str, Any]:
    return {
        "id": item.id,
        "sample_id": item.sample_id,
        "path": str(item.path),
        "start": 0.0,
        "end": duration,
        "duration": duration,
        "vector": vector,
        "captions": list(item.captions),
        "size": stamp[0],
        "mtime": stamp[1],
    }


class _Writer:
    """Collects rows and failures; writes them every 1000 rows or 30 seconds.

    The first batch is written at once: what cannot be written shows before hours of work.
    """

    def __init__(self, index: VideoIndex) -> None:
        self.index = index
        self.rows: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.last = time.monotonic() - 2 * FLUSH_SECONDS

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def add_failure(self, failure: Unreadable) -> None:
        item, (size, mtime) = failure.item, failure.stamp
        self.failures.append(
            {"id": item.id, "path": str(item.path), "size": size, "mtime": mtime, "reason": failure.reason}
        )

    def flush_when_due(self) -> None:
        waiting = len(self.rows) + len(self.failures)
        if waiting >= FLUSH_ROWS or (waiting and time.monotonic() - self.last > FLUSH_SECONDS):
            self.flush()

    def flush(self) -> None:
        rows, self.rows = self.rows, []
        failures, self.failures = self.failures, []
        self.index.write(rows)
        self.index.clear_failures([row["id"] for row in rows])
        self.index.write_failures(failures)
        self.last = time.monotonic()
