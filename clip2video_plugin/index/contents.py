"""What an index holds, how large it is, which of its files are gone (``pruning.py``), and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clip2video_plugin import listing
from clip2video_plugin.counted import counted
from clip2video_plugin.errors import Clip2VideoError, VideoIndexError
from clip2video_plugin.index import segments, upkeep
from clip2video_plugin.index.connection import connect, local_folder, plain_errors, quoted, read, tables_of, uri_of
from clip2video_plugin.index.hits import gone
from clip2video_plugin.index.schema import (
    BANKS,
    CALIBRATION,
    FAILED,
    FRAMES,
    TUNING,
    VIDEO,
    VIDEOS,
    WINDOWS,
    Provenance,
    frames_named,
)
from clip2video_plugin.index.tuning import read_tuning
from clip2video_plugin.index.view import vectors_of
from clip2video_plugin.paths import as_path, stored
from clip2video_plugin.places import Uri, absolute, place_of

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex

T = TypeVar("T")
PAGE = 1_000  # videos of a large index that are read at once


@dataclass(frozen=True)
class Entry:
    """What an index knows of a video's file; ``fingerprint`` is None in rows of earlier versions."""

    id: str
    path: str
    size: int
    mtime: float
    duration: float | None
    fingerprint: str | None

    @property
    def missing(self) -> bool:
        """Whether the file is gone, looked up when asked; of an object False, see ``missing``."""
        return gone(self.path)


@dataclass(frozen=True)
class TableInfo:
    """A table of an index; ``bytes`` on disk with its old versions, ``model`` None where it holds no vectors.

    ``asked`` says how its vector index is asked, and ``recall`` what of the 10 best it found by kind of query when that
    was chosen; None where nothing was.
    """

    name: str
    rows: int
    bytes: int
    versions: int
    indexes: list[str]
    model: str | None
    asked: str | None = None
    recall: dict[str, float] | None = None


@dataclass(frozen=True)
class IndexInfo:
    """What an index holds and who made it; the model's part is None where ``c2v embed`` has made no table in it.

    ``videos``, ``windows`` and ``failures`` count rows; ``frames`` is how many of a video its vector of ``dim`` numbers
    is made of; ``bytes`` are those of the whole folder, None elsewhere than on this machine.
    """

    index: str
    videos: int
    failures: int
    bytes: int | None
    model: str | None
    sha256: str | None
    sampling: str | None
    frames: int | None
    dim: int | None
    tables: list[TableInfo]
    windows: int = 0

    @property
    def seen(self) -> str:
        """In words, how many frames of a video, and which."""
        return frames_named(self.frames, self.sampling)


def no_index(uri: str) -> VideoIndexError:
    """The error that there is no index, which says how to make one."""
    return VideoIndexError(f"no index at {uri}; make one with: c2v embed PATH --index {uri}")


def describe(index: str | Path | VideoIndex | None = None) -> IndexInfo:
    """What the index at a URI holds, its tables of FiftyOne's runs (``brain_``, ``frames_``) included.

    Raises:
        VideoIndexError: there is none there.
    """
    uri = uri_of(index)
    folder = local_folder(uri)
    if folder is not None and not folder.is_dir():
        raise no_index(uri)
    connection = connect(uri)
    with plain_errors(uri):
        opened = tables_of(connection)
    if not opened:
        raise no_index(uri)
    tables = [read(uri, partial(_table_info, uri, folder, table)) for table in opened.values()]
    rows = {table.name: table.rows for table in tables}
    schema = read(uri, lambda: opened[VIDEOS].schema) if VIDEOS in opened else None
    made = Provenance.from_metadata(schema.metadata) if schema else None
    return IndexInfo(
        index=uri,
        videos=rows.get(VIDEOS, 0),
        failures=rows.get(FAILED, 0),
        bytes=None if folder is None else upkeep.folder_bytes(folder),
        model=made.model if made else None,
        sha256=made.sha256 if made else None,
        sampling=made.policy if made else None,
        frames=made.count if made else None,
        dim=int(schema.field("vector").type.list_size) if schema else None,
        tables=tables,
        windows=rows.get(WINDOWS, 0),
    )


def _table_info(uri: str, folder: Path | None, table: Any) -> TableInfo:
    try:
        model = Provenance.from_metadata(table.schema.metadata).model
    except VideoIndexError:
        model = None
    size = table.stats()["total_bytes"] if folder is None else upkeep.folder_bytes(folder / f"{table.name}.lance")
    indexes = sorted(index.name for index in table.list_indices())
    chosen = read_tuning(uri, table) if model and segments.NAME in indexes else None
    asked = (chosen.words, chosen.recall) if chosen else (None, None)
    return TableInfo(table.name, table.count_rows(), size, len(table.list_versions()), indexes, model, *asked)


def at_or_below(paths: Iterable[str | Path]) -> Iterator[tuple[str, str]]:
    """The absolute path or URI of each, and a filter for the rows of this file, or of what lies in this folder."""
    for path in paths:
        place = str(absolute(path))
        text = stored(place)
        yield (
            place,
            f"(path = {quoted(text.rstrip('/') or text)} OR starts_with(path, {quoted(text.rstrip('/') + '/')}))",
        )


def videos(index: VideoIndex, paths: Iterable[str | Path] | None) -> Iterator[Entry]:
    """``VideoIndex.videos``."""
    if paths is not None:
        found = {entry.id: entry for _, where in at_or_below(paths) for entry in index.entries_where(where)}
        yield from sorted(found.values(), key=lambda entry: entry.path)
    elif index.count() <= upkeep.EXACT_ROWS:
        yield from sorted(index.entries(list(index.ids())).values(), key=lambda entry: entry.path)
    else:
        ids = index.ids()
        while part := list(islice(ids, PAGE)):
            yield from index.entries(part).values()


def missing(
    index: VideoIndex, paths: Iterable[str | Path] | None = None, unasked: Counter[str] | None = None
) -> Iterator[Entry]:
    """``VideoIndex.videos`` whose files and objects are gone; stores are asked for all of theirs together, at the end.

    ``unasked`` counts the objects of which a store says nothing, by the reason: they are not gone.
    """
    found = index.videos(paths)
    yield from lost(((entry, entry.path) for entry in found), Counter[str]() if unasked is None else unasked)


def lost(things: Iterable[tuple[T, str]], unasked: Counter[str]) -> Iterator[T]:
    """Those whose path or URI is not there any more."""
    objects = dict[Uri, list[T]]()
    for thing, path in things:
        try:
            place = place_of(path)
        except Clip2VideoError:  # a failure's, of a kind that nobody can be asked for
            continue
        if isinstance(place, Uri):
            objects.setdefault(place, []).append(thing)
        elif gone(path):
            yield thing
    absent = listing.absent(objects)
    unasked.update(absent.unasked)
    for uri in sorted(absent.gone, key=str):
        yield from objects[uri]


def check(index: str | Path | VideoIndex | None = None) -> list[str]:
    """What is wrong with each table of vectors of an index, in words; nothing when all is right.

    Vectors are finite and of unit norm, no id is there twice, indexes cover the rows, files exist.
    """
    from clip2video_plugin.index.store import VideoIndex

    uri = uri_of(index)
    found = list[str]()
    for table in describe(index).tables:
        if has_vectors(table.name):
            try:
                problems = VideoIndex.open(uri, table=table.name).check()
            except VideoIndexError as error:
                problems = [str(error)]
            found += [f"table {table.name}: {problem}" for problem in problems]
    return found


def has_vectors(table: str) -> bool:
    """Whether a table of this name should have vectors of videos or of windows."""
    return table not in (FAILED, CALIBRATION, BANKS, TUNING) and not table.startswith(FRAMES)


def problems_of(table: Any) -> Iterator[str]:
    """What is wrong with a table of videos."""
    ids, examples, counts = list[pa.Array](), dict[str, str](), Counter[str]()
    unasked, objects = Counter[str](), list[str]()

    def note(what: str, batch: pa.Table, wrong: Any) -> None:
        if at := np.flatnonzero(wrong).tolist():
            counts[what] += len(at)
            examples.setdefault(what, as_path(batch["path"][at[0]].as_py()))

    for part in table.search().select(["id", "path", "vector"]).limit(None).to_batches():
        batch = pa.Table.from_batches([part])
        ids += batch["id"].chunks
        vectors = vectors_of(batch)
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        note("vectors with numbers that are not finite", batch, ~finite)
        norms = np.linalg.norm(np.where(finite[:, None], vectors, 0), axis=1)
        note("vectors that are not of unit norm", batch, finite & (np.abs(norms - 1) > 1e-3))
        if VIDEO.name not in table.schema.names:  # whose own row says it
            paths = [as_path(path) for path in batch["path"].to_pylist()]
            note("files that are gone", batch, [gone(path) for path in paths])
            objects += [path for path in paths if isinstance(place_of(path), Uri)]
    if away := list(lost(((path, path) for path in objects), unasked)):
        counts["objects that are gone"], examples["objects that are gone"] = len(away), away[0]
    for what, count in counts.items():
        yield f"{count} {what}, the first {examples[what]}"
    yield from (f"{counted(count, 'object')} could not be looked up: {reason}" for reason, count in unasked.items())
    rows = sum(map(len, ids))
    if rows and (twice := rows - pc.count_distinct(pa.chunked_array(ids)).as_py()):
        yield f"{twice} rows more than ids: embed into another index, or remove the videos and embed them again"
    if upkeep.needs_indexing(table):
        yield f"the indexes do not cover its {rows} rows; the next c2v embed brings them up to date"


def strays_of(videos: Any, windows: Any) -> Iterator[str]:
    """What is wrong with the table of windows: those whose video has no row, or another file by now."""
    rows = videos.search().select(["id", "size", "mtime"]).limit(None).to_list()
    stamps = {row["id"]: (row["size"], row["mtime"]) for row in rows}
    first = windows.search().where("start = 0").select([VIDEO.name, "path", "size", "mtime"]).limit(None).to_list()
    of_another = {
        row[VIDEO.name]: as_path(row["path"])
        for row in first
        if stamps.get(row[VIDEO.name]) != (row["size"], row["mtime"])
    }
    if of_another:
        yield (
            f"{len(of_another)} videos have windows of a file that is not in the index, the first "
            f"{next(iter(of_another.values()))}; embed them again with --windows"
        )
