"""An index of videos: a LanceDB database with the tables ``videos`` and ``failures``."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree, IvfRq
from lancedb.query import LanceVectorQueryBuilder
from numpy.typing import NDArray

from clip2video_plugin.bounds import checked_k
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index.connection import chunks, connect, exists, in_list, plain_errors, writer_lock
from clip2video_plugin.index.schema import FAILURES, Provenance, identity_of, videos_schema
from clip2video_plugin.index.view import VIEW_BYTES, View
from clip2video_plugin.paths import as_path

VIDEOS = "videos"
# An exact scan takes about 40 ms at 10,000 rows; above, a vector index answers in about 10 ms.
EXACT_ROWS = 10_000
# Measured with benchmarks/index.py: recall@10 of .99 or more at 100,000 and 1,000,000 clustered vectors, at every w,
# in distribution and across the modality gap.
BITS = 4  # of each number in the vector index; with one, ten times as many whole vectors must be read to be right
NPROBES = 175
MOST_FETCHED = 20_000  # rows of the whole table that are fetched for those of a view among them
UNINDEXED_ROWS, COMMITS = 5_000, 50  # after so many, fold new rows into the indexes
IN_LIST = 1_000  # ids in one filter


SHOWN = ["id", "sample_id", "path", "start", "end", "duration"]


@dataclass(frozen=True)
class Hit:
    """A video found. ``score`` is the fused cosine, about -1 to 1; times in seconds; ``path`` is what open() takes."""

    rank: int
    id: str
    path: str
    score: float
    start: float | None
    end: float | None
    duration: float | None
    sample_id: str | None = None


def candidates(k: int) -> int:
    """How many to take by their compressed vectors, of which the k best by their whole ones are right."""
    return max(3 * k, 30)


def default_uri() -> str:
    """$C2V_INDEX, else ./c2v-index."""
    return os.environ.get("C2V_INDEX") or "./c2v-index"


def open_index(uri: str | Path | None = None, *, table: str = VIDEOS) -> VideoIndex:
    """Opens an index that exists; by default $C2V_INDEX or ./c2v-index.

    Raises:
        VideoIndexError: there is none there.
    """
    return VideoIndex.open(uri, table=table)


class VideoIndex:
    """Rows of one table of an index. Sees what other processes write; safe to use from several threads."""

    def __init__(self, uri: str, connection: lancedb.DBConnection, table: Any) -> None:
        self.uri = uri
        self._connection = connection
        self._table = table
        self._commits = self._added = 0  # since rows were last folded together
        self._last_view: View | None = None
        self.provenance  # noqa: B018  # raises for a table that is none of this package's

    @property
    def provenance(self) -> Provenance:
        """What made the vectors that are in the table now: another process may have made the table anew."""
        with plain_errors(self.uri):
            return Provenance.from_metadata(self._table.schema.metadata)

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        with plain_errors(self.uri):
            return int(self._table.schema.field("vector").type.list_size)

    @property
    def state(self) -> tuple[str, int]:
        """Identity of the table, which is drawn when it is made, and its version: another state may have other rows."""
        with plain_errors(self.uri):
            return identity_of(self._table.schema.metadata), int(self._table.version)

    @property
    def identity(self) -> str:
        """Tells the table from another that was made in its place."""
        return self.state[0]

    @classmethod
    def open(cls, uri: str | Path | None = None, *, table: str = VIDEOS) -> VideoIndex:
        where = str(uri) if uri is not None else default_uri()
        if "://" not in where and not Path(where).expanduser().is_dir():
            raise VideoIndexError(f"no index at {where}; make one with: c2v embed PATH --index {where}")
        connection = connect(where)
        with plain_errors(where):
            if not exists(connection, table):
                raise VideoIndexError(f"no index at {where}; make one with: c2v embed PATH --index {where}")
            return cls(where, connection, connection.open_table(table))

    @classmethod
    def create(
        cls, uri: str | Path | None, dim: int, provenance: Provenance, *, table: str = VIDEOS, database: str = ""
    ) -> VideoIndex:
        """Opens the index, or makes an empty one for vectors of ``dim`` numbers.

        Args:
            database: identity of the FiftyOne database whose run the table serves; none for an index of paths.

        Raises:
            VideoIndexError: it exists with another provenance, or cannot be written.
        """
        where = str(uri) if uri is not None else default_uri()
        connection = connect(where)
        with plain_errors(where), writer_lock(where):
            if exists(connection, table):
                opened = connection.open_table(table)
            else:
                opened = connection.create_table(table, schema=videos_schema(dim, provenance, database), exist_ok=True)
            index = cls(where, connection, opened)
        index.provenance.check(provenance, f"index {where}")
        return index

    # Rows

    def count(self) -> int:
        """Number of rows; raises VideoIndexError when the table is gone."""
        with plain_errors(self.uri):
            return int(self._table.count_rows())

    def stamps(self, ids: Sequence[str]) -> dict[str, tuple[int, float]]:
        """Size and time of change with which videos are indexed, for those of ``ids`` that are."""
        rows = self._select(ids, ["id", "size", "mtime"])
        return {row["id"]: (row["size"], row["mtime"]) for row in rows}

    def ids(self) -> Iterator[str]:
        """All ids, in batches underneath."""
        with plain_errors(self.uri):
            batches = self._table.search().select(["id"]).to_batches()
        for batch in batches:
            yield from batch.column("id").to_pylist()

    def rows(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """id -> whole row for those of ``ids`` that are indexed."""
        names = self._table.schema.names
        return {row["id"]: row for row in self._select(ids, names)}

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """id -> vector [D] for those of ``ids`` that are indexed."""
        return {row["id"]: np.asarray(row["vector"], np.float32) for row in self._select(ids, ["id", "vector"])}

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Adds rows, or replaces those of equal id, all at once."""
        if not rows:
            return
        unique = {row["id"]: row for row in rows}
        data = pa.Table.from_pylist(list(unique.values()), schema=self._table.schema)
        with plain_errors(self.uri), writer_lock(self.uri):
            if self._known(list(unique)):
                merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(data)
            else:  # as a merge would, in half the time and without its memory, which grows with the table
                self._table.add(data)
            self._commits, self._added = self._commits + 1, self._added + len(unique)
            # Rewrites the table: at a quarter more rows, so that a million cost a few rewrites and not twenty.
            grown = 4 * self._added >= self.count() or self._commits >= 10 * COMMITS
            if self._commits >= COMMITS and grown:
                self._table.optimize()
                self._commits = self._added = 0
            self._index_ids()

    def delete(self, ids: Sequence[str]) -> None:
        """Removes rows; unknown ids are passed over."""
        with plain_errors(self.uri):
            for chunk in chunks(list(ids), IN_LIST):
                self._table.delete(in_list("id", chunk))

    def drop(self) -> None:
        """Removes the whole table."""
        with plain_errors(self.uri):
            self._connection.drop_table(self._table.name)

    def needs_indexing(self) -> bool:
        """Whether so many rows came that ``finish`` has something to do."""
        with plain_errors(self.uri):
            if not self._has_index("vector"):
                return self.count() > EXACT_ROWS
            return bool(self._table.index_stats("vector_idx").num_unindexed_rows > UNINDEXED_ROWS)

    def finish(self) -> None:
        """After an ingest: builds the indexes that pay, and folds new rows into those that exist.

        Takes about 1.6 minutes and 1 GB for a million rows of 1,024 numbers (benchmarks/index.py).
        """
        with plain_errors(self.uri), writer_lock(self.uri):
            if not self.needs_indexing():
                return
            self._table.optimize()  # few large parts are read faster than many small; indexes take new rows in
            if not self._has_index("vector"):
                self._table.create_index("vector", config=IvfRq(distance_type="dot", num_bits=BITS))
            self._index_ids()

    # Failures

    def write_failures(self, rows: Sequence[dict[str, Any]]) -> None:
        """Notes videos that could not be read: id, path, size, mtime, reason."""
        if rows:
            with plain_errors(self.uri), writer_lock(self.uri):
                merge = self._failures().merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(pa.Table.from_pylist(list(rows), schema=FAILURES))

    def clear_failures(self, ids: Sequence[str]) -> None:
        """Forgets failures of videos that were read since."""
        if ids and exists(self._connection, "failures"):
            with plain_errors(self.uri):
                for chunk in chunks(list(ids), IN_LIST):
                    self._failures().delete(in_list("id", chunk))

    def failures(self) -> list[dict[str, Any]]:
        """The videos that could not be read, by path."""
        if not exists(self._connection, "failures"):
            return []
        rows = self._failures().search().limit(None).to_list()
        return sorted(({**row, "path": as_path(row["path"])} for row in rows), key=lambda row: str(row["path"]))

    def _failures(self) -> Any:
        return self._connection.create_table("failures", schema=FAILURES, exist_ok=True)

    # Search

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        ids: Collection[str] | None = None,
        furthest: bool = False,
    ) -> list[Hit]:
        """The k videos with the largest dot product with a query vector [D], best first.

        Args:
            ids: search only among these; a set saves making one of them.
            furthest: give the smallest products instead, worst first.

        Raises:
            QueryError: k is no whole number from 1 to 10,000.
            VideoIndexError: the vector is of another length.
        """
        k, dim = checked_k(k), self.dim
        if vector.shape != (dim,):
            raise VideoIndexError(f"the query vector has shape {vector.shape}; this index holds vectors of {dim} each")
        if ids is not None and len(ids) == 0:
            return []
        query = np.asarray(-vector if furthest else vector, np.float32)
        with plain_errors(self.uri):
            if ids is None:
                rows = self._nearest(query, k, exact=furthest)
            elif len(ids) * dim * 4 <= VIEW_BYTES:
                rows = self._view(frozenset(ids)).nearest(query, k)
            elif furthest or not self._has_index("vector"):
                rows = self._nearest(query, k, ids, exact=True)
            else:
                rows = self._nearest_in_view(query, k, ids)
        # LanceDB's dot distance is 1 - q.v; ties go by id, so that equal searches give equal answers
        rows.sort(key=lambda row: (row["_distance"], row["id"]))
        return [
            Hit(
                rank=rank,
                id=row["id"],
                path=as_path(row["path"]),
                score=(row["_distance"] - 1) if furthest else (1 - row["_distance"]),
                start=row["start"],
                end=row["end"],
                duration=row["duration"],
                sample_id=row["sample_id"],
            )
            for rank, row in enumerate(rows, start=1)
        ]

    def _nearest(
        self, vector: NDArray[np.float32], k: int, ids: Collection[str] | None = None, *, exact: bool
    ) -> list[dict[str, Any]]:
        found = self._query(vector).select([*SHOWN, "_distance"]).limit(k)
        if ids is not None:
            found = found.where(in_list("id", ids), prefilter=True)
        if exact:
            found = found.bypass_vector_index()
        else:
            found = found.nprobes(NPROBES).refine_factor(math.ceil(candidates(k) / k))
        return list(_arrow(found).to_pylist())

    def _view(self, ids: frozenset[str]) -> View:
        """The rows of these ids, read once as long as nothing is written and no other view is searched."""
        state, view = self.state, self._last_view
        if view is None or view.state != state or view.ids != ids:
            found = self._table.search().where(in_list("id", ids)).select([*SHOWN, "vector"]).limit(len(ids))
            self._last_view = view = View.of(state, ids, found.to_arrow())
        return view

    def _nearest_in_view(self, vector: NDArray[np.float32], k: int, ids: Collection[str]) -> list[dict[str, Any]]:
        """Of a view too large to keep: takes so many of the whole table that enough of them lie in the view.

        By its compressed vectors, the rest of the view lies beyond the last that was taken. Where their error could
        hide one of the best there, as in a view that is about other things than the query, the view is scanned.
        """
        inside = ids if isinstance(ids, Set) else frozenset(ids)
        for wanted in (candidates(k), 2 * candidates(k)):
            if found := self._certain(vector, k, inside, wanted):
                return found
        return self._nearest(vector, k, inside, exact=True)

    def _certain(self, vector: NDArray[np.float32], k: int, inside: Set[str], wanted: int) -> list[dict[str, Any]]:
        """The k best in a view, out of about ``wanted`` of its rows; empty when a better one could lie beyond them."""
        fetched = wanted * self.count() // len(inside)
        if fetched > MOST_FETCHED:
            return []
        found = _arrow(self._query(vector).select(["id", "_distance"]).limit(fetched).nprobes(NPROBES))
        near = found.filter(pa.array([i in inside for i in found["id"].to_pylist()], pa.bool_()))
        if len(near) < max(wanted // 2, k):
            return []
        rows = self._table.take_row_ids(near["_rowid"].to_pylist()).select([*SHOWN, "vector"]).to_arrow()
        exact = View.of(("", 0), frozenset(), rows).nearest(vector, len(rows))
        close = dict(zip(near["id"].to_pylist(), near["_distance"].to_pylist(), strict=True))
        if {row["id"] for row in exact} != close.keys():  # another process moved or replaced rows in between
            return []
        exact.sort(key=lambda row: row["_distance"])
        errors = np.array([close[row["id"]] - row["_distance"] for row in exact])
        beyond = found["_distance"][-1].as_py() - errors.mean() - 4 * errors.std()
        return exact[:k] if beyond >= exact[k - 1]["_distance"] else []

    def _query(self, vector: NDArray[np.float32]) -> Any:
        # What ``Table.search`` makes, without asking the table for its schema each time.
        return LanceVectorQueryBuilder(self._table, np.asarray(vector, np.float32), "vector").distance_type("dot")

    def _known(self, ids: list[str]) -> bool:
        """Whether any of these ids has a row."""
        return any(self._table.count_rows(in_list("id", chunk)) for chunk in chunks(ids, IN_LIST))

    def _index_ids(self) -> None:
        """Without it, each question for ids reads those of the whole table."""
        if not self._has_index("id") and self.count() > EXACT_ROWS:
            self._table.create_index("id", config=BTree())

    def _has_index(self, column: str) -> bool:
        return any(index.columns == [column] for index in self._table.list_indices())

    def _select(self, ids: Sequence[str], columns: list[str]) -> list[dict[str, Any]]:
        out = list[dict[str, Any]]()
        with plain_errors(self.uri):
            for chunk in chunks(list(ids), IN_LIST):
                out += self._table.search().where(in_list("id", chunk)).select(columns).limit(len(chunk)).to_list()
        return out


def _arrow(query: Any) -> pa.Table:
    """The rows that a query finds, with ``_rowid``; its own ``to_arrow`` asks for the schema twice more, 2 ms of 10."""
    return query.with_row_id(True).to_batches().read_all()
