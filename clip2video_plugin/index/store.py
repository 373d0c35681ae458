"""An index of videos: a LanceDB database with the tables ``videos`` and ``failures``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.counted import counted
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import building, changes, contents, failures, pruning, reading, searching, upkeep
from clip2video_plugin.index import products as of_products
from clip2video_plugin.index import windows as of_windows
from clip2video_plugin.index.changes import delete_rows
from clip2video_plugin.index.connection import (
    connect,
    held,
    local_folder,
    lock_of,
    open_or_make,
    opened,
    plain_errors,
    read,
    uri_of,
    writer_lock,
)
from clip2video_plugin.index.contents import Entry, IndexInfo
from clip2video_plugin.index.nearest import Nearest
from clip2video_plugin.index.pruning import Pruned, Removed
from clip2video_plugin.index.recall import OTHERS, Recall, Sentences, measured
from clip2video_plugin.index.schema import (
    DATABASE,
    FAILED,
    VIDEOS,
    Provenance,
    check_form,
    is_windows,
    state_of,
    texts_of,
    videos_schema,
    windows_of,
)
from clip2video_plugin.index.segments import Each
from clip2video_plugin.index.text import Text
from clip2video_plugin.index.tuning import read_asked, settings_of
from clip2video_plugin.index.unfinished import Unfinished

CACHE = 16 * 1024**2  # bytes of LanceDB's caches while videos are embedded; of themselves gigabytes


def open_index(index: str | Path | VideoIndex | None = None, *, table: str = VIDEOS) -> VideoIndex:
    """Opens an index that exists. An open one is given back.

    Args:
        index: its folder or LanceDB URI; $C2V_INDEX or ./c2v-index by default.
        table: that of the videos, or one of a FiftyOne run (``c2v index list --tables``).

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

    def __repr__(self) -> str:
        try:
            holds = f"{counted(self.count(), 'row')} of {self.dim} numbers by {self.provenance}"
        except VideoIndexError as error:
            holds = str(error)
        return f"VideoIndex({self.uri!r}, table {self.name}: {holds})"

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

    def fits(self, dim: int) -> bool:
        """Whether vectors have so many numbers."""
        return read(self.uri, lambda: self._nearest.fits(dim))

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
        """The same, opened with small caches: what a long ingest looks up is of little use later, and would pile up.

        What an earlier one left that did not end well is removed.
        """
        upkeep.sweep(self.uri)
        session = lancedb.Session(index_cache_size_bytes=CACHE, metadata_cache_size_bytes=CACHE // 2)
        connection = connect(self.uri, session)
        with plain_errors(self.uri):
            again = VideoIndex(self.uri, connection, connection.open_table(self.name))
        again._lock = self._lock
        return again

    @classmethod
    def open(cls, index: str | Path | VideoIndex | None = None, *, table: str = VIDEOS) -> VideoIndex:
        """``open_index``."""
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
        connection = connect(uri, make=True)
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
        name, folder = windows_of(self._table.name), local_folder(self.uri)
        if self._windows is not None and folder is not None and not os.path.isdir(folder / f"{name}.lance"):
            self._windows = None  # another process has made the index anew
        if self._windows is None and not self.is_windows:
            with plain_errors(self.uri):
                if (found := opened(self._connection, name)) is not None:
                    self._windows = VideoIndex(self.uri, self._connection, found)
                    self._windows._lock = self._lock  # one for both, as they are written together
        return self._windows

    def create_windows(self) -> VideoIndex:
        """``windows``, made where there is none yet."""
        with plain_errors(self.uri):
            marks = {"database": texts_of(self._table.schema.metadata).get(DATABASE, "")}
        name = windows_of(self._table.name)
        self._windows = made = VideoIndex.create(self.uri, self.dim, self.provenance, table=name, **marks)
        made._lock = self._lock
        return made

    def unfinished(self, video: str, marks: Mapping[str, object]) -> Unfinished:
        """What keeps a video's windows until all are there; ``marks`` say what they depend on beside the model."""
        made = self.provenance.to_metadata() | {"clip2video.version": ""}
        return Unfinished(self.uri, self._table.name, video, self.dim, {**made, **marks})

    # What is read of them, and how they change: functions of the modules that are named

    count = reading.count
    stamps = reading.stamps
    entries = reading.entries
    entries_where = reading.entries_where
    entries_like = reading.entries_like
    entries_of = reading.entries_of
    named = reading.named
    ids = reading.ids
    some = reading.some
    rows = reading.rows
    vectors = reading.vectors
    vector_batches = reading.vector_batches
    captions = reading.captions
    columns = reading.columns
    products = of_products.products
    windows_by_video = of_windows.windows_by_video
    windows_made = of_windows.windows_made
    window_sizes = of_windows.window_sizes
    all_windows = of_windows.all_windows
    write_windows = of_windows.write_windows
    write = changes.write
    write_table = changes.write_table
    delete = changes.delete
    drop = changes.drop

    def writing(self, seconds: float | None = None) -> AbstractContextManager[None]:
        """Keeps other writers of a local index out while the block runs, having waited ``seconds`` for them at most.

        Raises:
            IndexBusyError: another process was writing all the time.
        """
        return held(self._lock, self.uri, seconds)

    def needs_indexing(self) -> bool:
        """Whether so many rows came that ``finish`` has something to do."""
        return building.due(self.uri, self._both())

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
        building.finish(self.uri, self._both(), sentences, each, anew=anew)

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
                delete_rows(self.uri, noted, "id", ids)

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
        return pruning.remove(self, [paths] if isinstance(paths, str | Path) else paths)

    def prune(self, *, folders: bool = False, dry_run: bool = False) -> Pruned:
        """Removes the rows of files that are gone, and the failures noted of such.

        Args:
            folders: those of folders, too, that are gone or empty as a whole with two or more videos in them; else
                they are kept and named, as after a disk that is not there all of its files seem gone.
            dry_run: remove nothing, and say what would go.
        """
        return pruning.prune(self, folders=folders, dry_run=dry_run)

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

    search = searching.search
    search_all = searching.search_all
