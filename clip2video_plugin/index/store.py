"""An index of videos: a LanceDB database with the tables ``videos`` and ``failures``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clip2video_plugin.errors import IndexBusyError, VideoIndexError
from clip2video_plugin.index import choosing, contents, failures, memory, products, reading, unfinished, upkeep, windows
from clip2video_plugin.index.commits import drop, open_or_make
from clip2video_plugin.index.connection import (
    IN_LIST,
    chunks,
    connect,
    held,
    in_list,
    local_folder,
    lock_of,
    opened,
    plain_errors,
    read,
    uri_of,
    writer_lock,
)
from clip2video_plugin.index.contents import Entry, IndexInfo, Pruned, Removed
from clip2video_plugin.index.merge import add_missing, merge
from clip2video_plugin.index.nearest import Hit, Keep, Nearest
from clip2video_plugin.index.nearest import existing as files_there
from clip2video_plugin.index.reading import delete
from clip2video_plugin.index.recall import OTHERS, Recall, Sentences, measured
from clip2video_plugin.index.schema import (
    DATABASE,
    FAILED,
    LATER,
    SIZES,
    VIDEO,
    VIDEOS,
    Provenance,
    check_form,
    is_windows,
    state_of,
    videos_schema,
    windows_of,
)
from clip2video_plugin.index.segments import Each
from clip2video_plugin.index.text import Text
from clip2video_plugin.index.tuning import read_asked, settings_of
from clip2video_plugin.index.unfinished import Unfinished
from clip2video_plugin.index.windows import Made, VideoWindows
from clip2video_plugin.paths import stored

CACHE = 16 * 1024**2  # bytes of LanceDB's caches while videos are embedded; of themselves gigabytes


def open_index(index: str | Path | VideoIndex | None = None, *, table: str = VIDEOS) -> VideoIndex:
    """Opens an index that exists, by its URI; by default $C2V_INDEX or ./c2v-index. An open one is given back.

    Raises:
        VideoIndexError: there is none there.
    """
    return VideoIndex.open(index, table=table)


class VideoIndex:
    """Rows of one table of an index. Sees what other processes write; safe to use from several threads."""

    def __init__(self, uri: str, connection: lancedb.DBConnection, table: Any) -> None:
        self.uri = uri
        self._connection = connection
        self._table = table
        self._lock = lock_of(uri)  # one object, so that a thread that holds it may ask for it again
        self._nearest = Nearest(uri, table)
        self.text = Text(uri, table)
        self._windows: VideoIndex | None = None
        with plain_errors(uri):
            check_form(table.schema.metadata, f"index {uri}")
        self.provenance  # noqa: B018  # raises for a table that is none of this package's

    @property
    def provenance(self) -> Provenance:
        """What made the vectors that are in the table now: another process may have made the table anew."""
        with plain_errors(self.uri):
            return Provenance.from_metadata(self._table.schema.metadata)

    @property
    def name(self) -> str:
        """Of the table."""
        return str(self._table.name)

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        with plain_errors(self.uri):
            return int(self._table.schema.field("vector").type.list_size)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns; an index of an earlier version lacks those that came later."""
        with plain_errors(self.uri):
            return list(self._table.schema.names)

    @property
    def state(self) -> tuple[str, int]:
        """Identity of the table, which is drawn when it is made, and its version: another state may have other rows."""
        with plain_errors(self.uri):
            return state_of(self._table)

    @property
    def identity(self) -> str:
        """Tells the table from another that was made in its place."""
        return self.state[0]

    def for_writing(self) -> VideoIndex:
        """The same, opened with small caches: what a long ingest looks up is of little use later, and would pile up."""
        session = lancedb.Session(index_cache_size_bytes=CACHE, metadata_cache_size_bytes=CACHE // 2)
        connection = connect(self.uri, session)
        with plain_errors(self.uri):
            again = VideoIndex(self.uri, connection, connection.open_table(self.name))
        again._lock = self._lock
        return again

    @classmethod
    def open(cls, index: str | Path | VideoIndex | None = None, *, table: str = VIDEOS) -> VideoIndex:
        if found := cls.find(index, table=table):
            return found
        uri = uri_of(index)
        raise VideoIndexError(f"no index at {uri}; make one with: c2v embed PATH --index {uri}")

    @classmethod
    def find(cls, index: str | Path | VideoIndex | None = None, *, table: str = VIDEOS) -> VideoIndex | None:
        """``open`` that gives None where there is none."""
        if isinstance(index, VideoIndex) and index._table.name == table:
            return index
        uri = uri_of(index)
        folder = local_folder(uri)
        if folder is not None and not os.path.isdir(folder):
            return None
        connection = connect(uri)
        with plain_errors(uri):
            found = opened(connection, table)
            return None if found is None else cls(uri, connection, found)

    @classmethod
    def create(
        cls,
        index: str | Path | VideoIndex | None,
        dim: int,
        provenance: Provenance,
        *,
        table: str = VIDEOS,
        database: str = "",
    ) -> VideoIndex:
        """Opens the index, or makes an empty one for vectors of ``dim`` numbers.

        Args:
            database: identity of the FiftyOne database whose run the table serves; none for an index of paths.

        Raises:
            VideoIndexError: it exists with another provenance, or cannot be written.
        """
        uri = uri_of(index)
        connection = connect(uri)
        with plain_errors(uri):
            if (found := opened(connection, table)) is None:
                with writer_lock(uri):  # another process may have made it while this one waited
                    schema = videos_schema(dim, provenance, database, windows=is_windows(table))
                    found = open_or_make(connection, table, schema)
            created = cls(uri, connection, found)
        created.provenance.check(provenance, f"index {uri}")
        return created

    # Rows

    @property
    def is_windows(self) -> bool:
        """Whether its rows are windows of videos, several for each, and not whole videos."""
        return is_windows(self._table.name)  # its schema would be read anew, a fifth of a query

    def windows(self) -> VideoIndex | None:
        """The table of windows that goes with this table of videos; None where none were embedded."""
        name = windows_of(self._table.name)
        if self._windows is None and not self.is_windows:
            with plain_errors(self.uri):
                if (found := opened(self._connection, name)) is not None:
                    self._windows = VideoIndex(self.uri, self._connection, found)
                    self._windows._lock = self._lock  # one for both, as they are written together
        return self._windows

    def create_windows(self) -> VideoIndex:
        """``windows``, made where there is none yet."""
        marks = {"database": (self._table.schema.metadata or {}).get(DATABASE.encode(), b"").decode()}
        name = windows_of(self._table.name)
        self._windows = made = VideoIndex.create(self.uri, self.dim, self.provenance, table=name, **marks)
        made._lock = self._lock
        return made

    def count(self, where: str | None = None) -> int:
        """Number of rows, of a filter of those that it keeps; raises VideoIndexError when the table is gone."""
        return read(self.uri, lambda: int(self._table.count_rows(where)))

    def stamps(self, ids: Sequence[str]) -> dict[str, tuple[int, float]]:
        """Size and time of change with which videos are indexed, for those of ``ids`` that are."""
        return {entry.id: (entry.size, entry.mtime) for entry in self.entries(ids).values()}

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """id -> what is known of its file, for those of ``ids`` that are indexed."""
        parts = (self.entries_where(in_list("id", part)) for part in chunks(list(ids), IN_LIST))
        return {entry.id: entry for part in parts for entry in part}

    def named(self, names: Sequence[str]) -> list[str]:
        """Ids of the rows that have one of these as their id, their sample's id or their path, by id."""
        texts = [stored(name) for name in names]
        where = " OR ".join(in_list(column, texts) for column in ("id", "sample_id", "path"))
        rows = read(self.uri, lambda: self._table.search().where(where).select(["id"]).limit(None).to_list())
        return sorted(row["id"] for row in rows)

    def entries_where(self, where: str) -> list[Entry]:
        """What is known of the files of the rows that a filter keeps."""
        return reading.entries(self.uri, self._table, where)

    def entries_like(self, stamps: Collection[tuple[int, float]]) -> list[Entry]:
        """What is known of the files of these sizes and times of change."""
        if not stamps:
            return []
        sizes = ", ".join(str(size) for size in {size for size, _ in stamps})
        times = ", ".join(repr(time) for time in {time for _, time in stamps})
        alike = self.entries_where(f"size IN ({sizes}) AND mtime IN ({times})")
        return [entry for entry in alike if (entry.size, entry.mtime) in stamps]

    def entries_of(self, sizes: Collection[int]) -> list[Entry]:
        """What is known of the files of these sizes in bytes."""
        return self.entries_where(f"size IN ({', '.join(map(str, sizes))})") if sizes else []

    def ids(self, where: str | None = None) -> Iterator[str]:
        """All ids, or those that a filter keeps, of the table as it is when the first is asked for."""
        found = read(
            self.uri, lambda: self._table.search().where(where or "true").select(["id"]).limit(None).to_arrow()
        )
        for chunk in found.column("id").chunks:
            yield from chunk.to_pylist()

    def rows(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """id -> whole row for those of ``ids`` that are indexed; its vector is an array [D]."""
        return reading.rows(self.uri, self._table, ids)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """id -> vector [D] for those of ``ids`` that are indexed."""
        return reading.vectors(self.uri, self._table, ids)

    def captions(self, ids: Sequence[str]) -> dict[str, tuple[list[str], list[list[float] | None]]]:
        """id -> its captions and when each is said, for those of ``ids`` that are indexed (``reading.captions``)."""
        return reading.captions(self.uri, self._table, ids)

    def vector_batches(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Ids and vectors [n, D] of all rows, some at a time."""
        return reading.vector_batches(self.uri, self._table)

    def columns(self, names: Sequence[str], ids: Collection[str] | None = None) -> pa.Table:
        """These columns of all rows, or of those of ``ids``; one that a table of an earlier version lacks is null."""
        return reading.columns(self.uri, self._table, names, ids)

    def windows_by_video(self, ids: Sequence[str]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
        """Video -> spans [n, 2] and vectors [n, D] of its windows by start and end, for those of ``ids`` with any."""
        return windows.by_video(self.uri, self._table, ids)

    def products(
        self, ids: Sequence[str], vectors: NDArray[np.float32]
    ) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
        """Video -> spans [n, 2] of its rows here, by start and end, and their products [n, m] with vectors [m, D].

        For those of ``ids`` that are indexed; memory holds a batch of their vectors at a time.
        """
        return read(self.uri, lambda: products.by_video(self._table, ids, vectors))

    def some(self, count: int) -> list[str]:
        """Ids of about ``count`` rows, evenly from all of them; the same as long as nothing is written."""
        return read(self.uri, lambda: products.some(self._table, count))

    def windows_made(self, ids: Sequence[str]) -> dict[str, Made]:
        """Video -> of what file its windows are, and which were asked for, for those of ``ids`` with any."""
        return windows.made(self.uri, self._table, ids)

    def window_sizes(self) -> str | None:
        """Which windows were asked for last, "5/2.5,10/5" or "auto"; None where there are none."""
        return windows.sizes_of(self.uri, self._table)

    def all_windows(self, video: str) -> VideoWindows | None:
        """The windows of a video, to be written as those of another row."""
        return windows.read_back(self.uri, self._table, video)

    def write_windows(self, videos: Sequence[VideoWindows]) -> None:
        """Replaces the windows of videos, of each all at once."""
        if videos:
            with plain_errors(self.uri), self.writing():
                windows.write(self.uri, self._table, videos)
                unfinished.forget(self.uri, self._table.name, [video.row["id"] for video in videos])

    def unfinished(self, video: str, marks: Mapping[str, object]) -> Unfinished:
        """What keeps a video's windows until all are there; ``marks`` say what they depend on beside the model."""
        made = self.provenance.to_metadata() | {"clip2video.version": ""}
        return Unfinished(self.uri, self._table.name, video, self.dim, {**made, **marks})

    def writing(self, seconds: float | None = None) -> AbstractContextManager[None]:
        """Keeps other writers of a local index out while the block runs, having waited ``seconds`` for them at most.

        Raises:
            IndexBusyError: another process was writing all the time.
        """
        return held(self._lock, self.uri, seconds)

    def write(self, rows: Sequence[dict[str, Any]], *, instead_of: Iterable[str] = ()) -> None:
        """Adds rows, or replaces those of equal id, all at once.

        Args:
            instead_of: ids of rows that go, as these are theirs under new ids.
        """
        if not rows:
            return
        unique = {row["id"]: row for row in rows}
        with plain_errors(self.uri), self.writing():
            before = self._table.version
            add_missing(self._table, LATER)
            data = pa.Table.from_pylist(list(unique.values()), schema=self._table.schema)
            merge(self._table, data, alone=local_folder(self.uri) is not None)
            self.delete([gone for gone in instead_of if gone not in unique])
            upkeep.index_column(self._table, "id")
            if not self.is_windows and any(row.get(upkeep.WORDS) for row in rows):
                self.text.make()
            upkeep.tidy(self.uri, self._table, before)
            if (parts := self.windows()) is not None:
                windows.drop_stale(
                    self.uri, parts._table, {i: (row["size"], row["mtime"]) for i, row in unique.items()}
                )

    def write_table(self, rows: pa.Table) -> None:
        """``write`` of rows in columns: those of a table of videos, or whole windows of videos for one of windows."""
        if not len(rows):
            return
        with plain_errors(self.uri), self.writing():
            before = self._table.version
            add_missing(self._table, [*LATER, SIZES] if self.is_windows else LATER)
            if self.is_windows:
                names = [VIDEO.name, "size", "mtime", SIZES.name]
                of = {row[VIDEO.name]: row for row in rows.select(names).to_pylist()}
                stamps = {video: (row["size"], row["mtime"]) for video, row in of.items()}
                sizes = {video: row[SIZES.name] for video, row in of.items()}
                windows.drop_stale(self.uri, self._table, stamps, sizes)
            lacking = [field for field in self._table.schema if field.name not in rows.column_names]
            for field in lacking:  # of a newer version
                rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
            rows = rows.select(self._table.schema.names).cast(self._table.schema)
            merge(self._table, rows, alone=local_folder(self.uri) is not None)
            upkeep.index_column(self._table, VIDEO.name if self.is_windows else "id")
            if not self.is_windows and pc.any(pc.greater(pc.list_value_length(rows[upkeep.WORDS]), 0)).as_py():
                self.text.make()
            upkeep.tidy(self.uri, self._table, before)

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows, of videos with all their windows; unknown ids are passed over."""
        if ids:
            with plain_errors(self.uri), self.writing():
                if (parts := self.windows()) is not None:
                    delete(self.uri, parts._table, VIDEO.name, ids)
                    unfinished.forget(self.uri, parts._table.name, ids)
                delete(self.uri, self._table, "id", ids)

    def drop(self) -> None:
        """Removes the whole table, and that of its windows."""
        with plain_errors(self.uri), self.writing():
            if (parts := self.windows()) is not None:
                parts.drop()
            unfinished.forget(self.uri, self._table.name)
            drop(self._connection, self._table.name)

    def needs_indexing(self) -> bool:
        """Whether so many rows came that ``finish`` has something to do."""
        return any(read(self.uri, partial(self._is_due, table)) for table in self._both())

    def _is_due(self, table: Any) -> bool:
        return upkeep.needs_indexing(table) or choosing.due(self.uri, table)

    def finish(self, sentences: Sentences | None = None, *, each: Each | None = None, anew: bool = False) -> None:
        """After an ingest: builds the indexes that pay, and folds new rows into those that exist.

        How the vector index is asked is chosen so that .99 of the 10 best are found on the table's own vectors, and
        chosen again when a quarter of the rows are new (``choosing.py``). Takes about 1.6 minutes and 1 GB for a
        million rows of 1,024 numbers (benchmarks/index.py). Others may write meanwhile; where another process is
        building them, waits for it, and leaves them to it after a while.

        Args:
            sentences: gives vectors [n, D] of sentences as they are asked, whose halves count alike; those that were
                given before for the same weights are known.
            each: runs the parts of the vector index, each for some of the rows: ``segments.build``.
            anew: measure where few rows are new, too, and choose where .99 are not found.
        """
        with plain_errors(self.uri):
            try:
                with held(lock_of(self.uri, upkeep.BUILD_LOCK), self.uri):
                    for table in self._both():
                        if upkeep.needs_indexing(table):
                            upkeep.build(self.uri, table, each)
                        if anew or choosing.due(self.uri, table):
                            with memory.given_back():
                                choosing.hold(self.uri, table, sentences)
            except IndexBusyError:
                return

    def _both(self) -> list[Any]:
        """The table, and that of its windows."""
        return [self._table] + ([parts._table] if (parts := self.windows()) is not None else [])

    # Failures

    def write_failures(self, rows: Sequence[dict[str, Any]]) -> None:
        """Notes videos that could not be read: id, path, size, mtime, reason."""
        if rows:
            with plain_errors(self.uri), self.writing():
                failures.write(self.uri, self._connection, rows)

    def clear_failures(self, ids: Sequence[str]) -> None:
        """Forgets failures of videos that were read since."""
        if ids and (noted := opened(self._connection, FAILED)) is not None:
            with plain_errors(self.uri), self.writing():
                delete(self.uri, noted, "id", ids)

    def failures(self, where: str | None = None) -> list[dict[str, Any]]:
        """The videos that could not be read, by path; of a filter those that it keeps."""
        return failures.read_all(self.uri, self._connection, where)

    # Contents

    def info(self) -> IndexInfo:
        """What the whole index holds, by which model, and how large it is."""
        return contents.describe(self)

    def videos(self, paths: str | Path | Iterable[str | Path] | None = None) -> Iterator[Entry]:
        """Every video's file, in order of paths; of more than 10,000, read in pages in the table's order.

        Args:
            paths: only these files, and all below these folders, whether they still exist or not.
        """
        return contents.videos(self, [paths] if isinstance(paths, str | Path) else paths)

    def remove(self, paths: str | Path | Iterable[str | Path]) -> Removed:
        """Removes the rows of files, and of all below folders, whether they still exist or not."""
        return contents.remove(self, [paths] if isinstance(paths, str | Path) else paths)

    def prune(self, *, folders: bool = False, dry_run: bool = False) -> Pruned:
        """Removes the rows of files that are gone, and the failures noted of such.

        Args:
            folders: those of folders, too, that are gone or empty as a whole with two or more videos in them; else
                they are kept and named, as after a disk that is not there all of its files seem gone.
            dry_run: remove nothing, and say what would go.
        """
        return contents.prune(self, folders=folders, dry_run=dry_run)

    def check(self) -> list[str]:
        """What is wrong with the rows, in words; nothing when all is right (``contents.check``)."""
        parts = self.windows()
        strays = [] if parts is None else read(self.uri, lambda: list(contents.strays_of(self._table, parts._table)))
        return read(self.uri, lambda: list(contents.problems_of(self._table))) + strays

    def recall(self, asked: NDArray[np.float32] | None = None, *, seed: int = OTHERS) -> Recall:
        """Recall@10 of the vector index on rows and sentences drawn by seed, against exact products with every row.

        Args:
            asked: vectors [n, D] of sentences; by default those that were given to ``finish`` last.
        """
        asked = read_asked(self.uri, self._table) if asked is None else asked
        return read(self.uri, lambda: measured(self._table, settings_of(self.uri, self._table), asked, seed))

    # Search

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        ids: Collection[str] | None = None,
        where: str | None = None,
        furthest: bool = False,
        existing: bool = False,
        keep: Keep | None = None,
        each: bool = False,
    ) -> list[Hit]:
        """The k videos with the largest dot product with a query vector [D], best first.

        Args:
            ids: search only among these; a set saves making one of them.
            where: a filter of the columns, as ``filters.py`` writes it.
            furthest: give the smallest products instead, worst first.
            existing: pass over videos whose files are gone, and give the k best of the others.
            keep: gives of hits, in order, those that may be shown; k of them are given, as far as there are such.
            each: of a table of windows the best one of each video, as a hit of that.

        Raises:
            QueryError: k is no whole number from 1 to 10,000.
            VideoIndexError: the vector is of another length.
        """
        if existing and keep is None:
            keep = files_there()
        return read(
            self.uri,
            lambda: self._nearest.search(vector, k, ids=ids, where=where, furthest=furthest, keep=keep, each=each),
        )

    def search_all(
        self,
        vectors: NDArray[np.float32],
        k: int,
        *,
        where: str | None = None,
        keep: Keep | None = None,
        each: bool = False,
    ) -> list[list[Hit]]:
        """``search`` of several query vectors [n, D] in one pass, in order."""
        return read(self.uri, lambda: self._nearest.search_all(vectors, k, where=where, keep=keep, each=each))
