"""The videos of a table that are nearest to a query vector: exact, through the vector index, or in a view."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.query import LanceVectorQueryBuilder
from numpy.typing import NDArray

from clip2video_plugin.bounds import checked_k
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index.connection import in_list
from clip2video_plugin.index.hits import Hit, Keep
from clip2video_plugin.index.recall import with_settings
from clip2video_plugin.index.schema import state_of
from clip2video_plugin.index.tuning import ALL_LISTS, Settings
from clip2video_plugin.index.upkeep import has_index
from clip2video_plugin.index.view import VIEW_BYTES, View, Views
from clip2video_plugin.paths import as_path

# What a filter keeps may lie far from the query: all lists of the vector index are read, and more whole vectors, as far
# ones differ by less. Recall@10 1.000 where the half that is farther from the query is kept (with 3 times k .96).
FILTERED = 30
TOGETHER = 100  # queries in one pass over a table
MOST_FETCHED = 20_000  # rows of the whole table that are fetched for those of a view among them
WINDOWS_EACH = 4  # that are taken for a video: those about one moment are several
NEAR = 1_000  # windows that are taken before those of videos already found are left out
SHOWN = ["id", "sample_id", "path", "start", "end", "duration"]


class Nearest:
    """Searches in one table; remembers the views that were searched last."""

    def __init__(self, uri: str, table: Any) -> None:
        self._table = table
        self._settings = Settings(uri, table)
        self._views = Views()
        self._dim: int | None = None
        windows = "video" in table.schema.names
        self._shown = [*SHOWN, "video"] if windows else SHOWN
        self._owner = "video" if windows else "id"  # the column that a view's ids are in

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        ids: Collection[str] | None = None,
        where: str | None = None,
        furthest: bool = False,
        keep: Keep | None = None,
        each: bool = False,
    ) -> list[Hit]:
        """See ``VideoIndex.search``."""
        k = checked_k(k)
        if vector.ndim != 1 or not self.fits(len(vector)):
            dim = self._table.schema.field("vector").type.list_size
            raise VideoIndexError(f"the query vector has shape {vector.shape}; this index holds vectors of {dim} each")
        if ids is not None and len(ids) == 0:
            return []
        query = np.asarray(-vector if furthest else vector, np.float32)
        if each:
            return self._each(query, k, ids, where, keep)
        hits = self._hits(query, k, ids, where, furthest)
        return hits if keep is None else self._kept(hits, keep, query, k, ids, where, furthest)

    def fits(self, dim: int) -> bool:
        """Whether vectors have so many numbers; the table is asked anew only where they seem to have others."""
        if dim != self._dim:
            self._dim = int(self._table.schema.field("vector").type.list_size)
        return dim == self._dim

    def search_all(
        self,
        vectors: NDArray[np.float32],
        k: int,
        *,
        where: str | None = None,
        keep: Keep | None = None,
        each: bool = False,
    ) -> list[list[Hit]]:
        """``search`` of several vectors [n, D], in order: one question to the table for 100 of them."""
        k, out = checked_k(k), list[list[Hit]]()
        together = max(1, min(TOGETHER, VIEW_BYTES // (self._settings.now().candidates(k) * vectors[0].nbytes)))
        for start in range(0, len(vectors), together):
            part = np.asarray(vectors[start : start + together], np.float32)
            view, most = where and self._view_of(where, part[0].nbytes), WINDOWS_EACH * k if each else k
            if view:
                out += [self._as_hits(view.nearest(one, most)) for one in part]
                continue
            found: list[list[dict[str, Any]]] = [[] for _ in part]
            for row in self._nearest(part, most, where=where, exact=False):
                found[row.pop("query_index", 0)].append(row)
            out += [self._as_hits(rows) for rows in found]
        both = zip(out, vectors, strict=True)
        if each:
            return [self._each(vector, k, None, where, keep, hits) for hits, vector in both]
        return out if keep is None else [self._kept(hits, keep, one, k, None, where, False) for hits, one in both]

    def _each(
        self,
        query: NDArray[np.float32],
        k: int,
        ids: Collection[str] | None,
        where: str | None,
        keep: Keep | None,
        first: list[Hit] | None = None,
    ) -> list[Hit]:
        """The best window of each of the k best videos, as a hit of the video.

        A long video may own the first thousands of windows: what was found is left out when it is asked again.
        ``first`` are the best windows of all, where they are known.
        """
        best, wanted = dict[str, Hit](), WINDOWS_EACH * k
        in_memory = ids is not None and where is None and self._fits_view(frozenset(ids), query.nbytes)
        hits = self._hits(query, wanted, ids, where, False) if first is None else first
        while True:
            for hit in hits:
                assert hit.video is not None
                best.setdefault(hit.video, replace(hit, id=hit.video))
            kept = list(best.values()) if keep is None else keep(list(best.values()))
            if len(kept) >= k or len(hits) < wanted:
                return [replace(hit, rank=rank) for rank, hit in enumerate(kept[:k], start=1)]
            if in_memory or 4 * wanted <= NEAR:  # a few more are had sooner than those of others
                wanted *= 4
                hits = self._hits(query, wanted, ids, where, False)
            else:
                wanted = min(2 * wanted, MOST_FETCHED)
                hits = self._of_others(query, wanted, ids, where, best)

    def _of_others(
        self, query: NDArray[np.float32], k: int, ids: Collection[str] | None, where: str | None, found: Collection[str]
    ) -> list[Hit]:
        """The nearest windows of other videos than those found."""
        if ids is not None:
            return self._hits(query, k, frozenset(ids).difference(found), where, False) if set(ids) - set(found) else []
        others = f"NOT ({in_list(self._owner, found)})"
        tuning = self._settings.now()
        if where is not None or not has_index(self._table, "vector") or tuning.reads_all(k):
            return self._hits(query, k, None, others if where is None else f"({where}) AND {others}", False)
        rows = self._query(query).select([*self._shown, "_distance"]).where(others, prefilter=True).limit(k)
        rows = rows.nprobes(tuning.probes).refine_factor(max(10, tuning.refine))
        return self._as_hits(list(_arrow(rows).to_pylist()))

    def _kept(
        self,
        hits: list[Hit],
        keep: Keep,
        query: NDArray[np.float32],
        k: int,
        ids: Collection[str] | None,
        where: str | None,
        furthest: bool,
    ) -> list[Hit]:
        """The best k of those kept: as many more are taken as fall out, in the end by reading every vector."""
        wanted, most = k, 0
        while True:
            kept = keep(hits)
            if len(kept) < k and not most:
                most = int(self._table.count_rows())
            if len(kept) >= k or wanted >= most:
                return [replace(hit, rank=rank) for rank, hit in enumerate(kept[:k], start=1)]
            wanted = min(4 * wanted, most)
            hits = self._hits(query, wanted, ids, where, furthest, exact=wanted > MOST_FETCHED or wanted == most)

    def _hits(
        self,
        query: NDArray[np.float32],
        k: int,
        ids: Collection[str] | None,
        where: str | None,
        furthest: bool,
        *,
        exact: bool = False,
    ) -> list[Hit]:
        exact = exact or furthest
        if where is not None:
            rows = self._filtered(query, k, ids, where, exact)
        elif ids is None:
            rows = self._nearest(query, k, exact=exact)
        elif self._fits_view(ids, query.nbytes):
            rows = self._view(frozenset(ids)).nearest(query, k)
        elif exact or not has_index(self._table, "vector"):
            rows = self._nearest(query, k, ids, exact=True)
        else:
            rows = self._nearest_in_view(query, k, ids)
        return self._as_hits(rows, furthest)

    def _fits_view(self, ids: Collection[str], size: int) -> bool:
        """Whether the rows of these ids, with vectors of ``size`` bytes, are few enough to be kept in memory."""
        if self._owner == "id" or len(ids) * size > VIEW_BYTES:
            return len(ids) * size <= VIEW_BYTES
        if self._views.find(state_of(self._table), frozenset(ids)):  # of windows, who knows how many
            return True
        return int(self._table.count_rows(in_list(self._owner, ids))) * size <= VIEW_BYTES

    def _as_hits(self, rows: list[dict[str, Any]], furthest: bool = False) -> list[Hit]:
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
                video=row.get("video"),
            )
            for rank, row in enumerate(rows, start=1)
        ]

    def _filtered(
        self, vector: NDArray[np.float32], k: int, ids: Collection[str] | None, where: str, exact: bool
    ) -> list[dict[str, Any]]:
        """By a prefilter."""
        both = where if ids is None else f"({where}) AND {in_list(self._owner, ids)}"
        if (view := self._view_of(both, vector.nbytes)) is not None:
            return view.nearest(vector, k)
        return self._nearest(vector, k, ids, where, exact=exact or ids is not None)

    def _view_of(self, where: str, size: int) -> View | None:
        """The rows that a filter keeps, of vectors of ``size`` bytes; None where they are many, or all are read anyway.

        To compare them in the table would read all vectors that there are.
        """
        state = state_of(self._table)
        if view := self._views.find(state, where):
            return view
        if not has_index(self._table, "vector") or int(self._table.count_rows(where)) * size > VIEW_BYTES:
            return None
        return self._read_view(state, where, where)

    def _nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        ids: Collection[str] | None = None,
        where: str | None = None,
        *,
        exact: bool,
    ) -> list[dict[str, Any]]:
        found = self._query(vector).select([*self._shown, "_distance"]).limit(k)
        if filters := [*([in_list(self._owner, ids)] if ids is not None else []), *([f"({where})"] if where else [])]:
            found = found.where(" AND ".join(filters), prefilter=True)
        if exact:
            found = found.bypass_vector_index()
        else:
            tuning = self._settings.now()
            if where is not None:
                tuning = replace(tuning, probes=ALL_LISTS, refine=max(FILTERED, tuning.refine))
            found = with_settings(found, tuning, k)
        return list(_arrow(found).to_pylist())

    def _view(self, ids: frozenset[str]) -> View:
        """The rows of these ids, read once as long as nothing is written."""
        state = state_of(self._table)
        return self._views.find(state, ids) or self._read_view(state, ids, in_list(self._owner, ids))

    def _read_view(self, state: tuple[str, int], which: frozenset[str] | str, where: str) -> View:
        found = self._table.search().where(where).select([*self._shown, "vector"]).limit(None).to_arrow()
        view = View.of(state, which, found)
        self._views.keep(view)
        return view

    def _nearest_in_view(self, vector: NDArray[np.float32], k: int, ids: Collection[str]) -> list[dict[str, Any]]:
        """Of a view too large to keep: takes so many of the whole table that enough of them lie in the view.

        By its compressed vectors, the rest of the view lies beyond the last that was taken. Where their error could
        hide one of the best there, as in a view that is about other things than the query, the view is scanned.
        """
        inside = ids if isinstance(ids, Set) else frozenset(ids)
        tuning = self._settings.now()
        wanted = tuning.candidates(k)
        for more in () if tuning.reads_all(k) else (wanted, 2 * wanted):
            if found := self._certain(vector, k, inside, more, tuning.probes):
                return found
        return self._nearest(vector, k, inside, exact=True)

    def _certain(
        self, vector: NDArray[np.float32], k: int, inside: Set[str], wanted: int, probes: int
    ) -> list[dict[str, Any]]:
        """The k best in a view, out of about ``wanted`` of its rows; empty when a better one could lie beyond them."""
        fetched = wanted * int(self._table.count_rows()) // len(inside)
        if fetched > MOST_FETCHED:
            return []
        names = list(dict.fromkeys(["id", self._owner, "_distance"]))
        found = _arrow(self._query(vector).select(names).limit(fetched).nprobes(probes))
        near = found.filter(pa.array([i in inside for i in found[self._owner].to_pylist()], pa.bool_()))
        if len(near) < max(wanted // 2, k):
            return []
        rows = self._table.take_row_ids(near["_rowid"].to_pylist()).select([*self._shown, "vector"]).to_arrow()
        exact = View.of(("", 0), frozenset(), rows).nearest(vector, len(rows))
        close = dict(zip(near["id"].to_pylist(), near["_distance"].to_pylist(), strict=True))
        if {row["id"] for row in exact} != close.keys():  # another process moved or replaced rows in between
            return []
        exact.sort(key=lambda row: row["_distance"])
        errors = np.array([close[row["id"]] - row["_distance"] for row in exact])
        beyond = found["_distance"][-1].as_py() - errors.mean() - 4 * errors.std()
        return exact[:k] if beyond >= exact[k - 1]["_distance"] else []

    def _query(self, vector: NDArray[np.float32]) -> Any:
        # What ``Table.search`` makes, without asking the table for its schema each time. Of several vectors [n, D] the
        # rows of each have its number as ``query_index``.
        asked = np.asarray(vector, np.float32) if vector.ndim == 1 else list(vector)
        return LanceVectorQueryBuilder(self._table, asked, "vector").distance_type("dot")


def _arrow(query: Any) -> pa.Table:
    """The rows that a query finds, with ``_rowid``; its own ``to_arrow`` asks for the schema twice more, 2 ms of 10."""
    return query.with_row_id(True).to_batches().read_all()
