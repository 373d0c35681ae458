"""``Gallery``: the videos that are searched, as wholes and in windows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index import Hit, Keep, VideoIndex
from clip2video_plugin.index.filters import where_of
from clip2video_plugin.query.filters import parse_filter


@dataclass(frozen=True)
class Windows:
    """The windows of a video: ``spans`` [n, 2] in seconds, ``vectors`` [n, D] of unit norm, by start and end."""

    spans: NDArray[np.float64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Products:
    """The windows of a video: ``spans`` [n, 2] in seconds, by start and end, and ``scores`` [n, m] for m vectors."""

    spans: NDArray[np.float64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Gallery:
    """A table of videos, with the windows beside it, and which of them may be shown.

    Attributes:
        ids: of rows; all by default.
        where: a filter of the columns, as ``index/filters.py`` writes it.
        keep: gives of hits, in order, those that may be shown.
    """

    videos: VideoIndex
    ids: Collection[str] | None = None
    where: str | None = None
    keep: Keep | None = None

    @cached_property
    def windows(self) -> VideoIndex | None:
        """The windows of these videos, where there are any."""
        return self.videos.windows()

    @property
    def _tables(self) -> list[VideoIndex]:
        return [self.videos] if self.windows is None else [self.videos, self.windows]

    def size(self) -> int:
        """How many videos it has; at most, where both ids and a filter choose them."""
        if self.where is None:
            return self.videos.count() if self.ids is None else len(self.ids)
        return min(self.videos.count(self.where), self.videos.count() if self.ids is None else len(self.ids))

    def filtered(self, where: str | None) -> Gallery:
        """Those of its videos that a filter keeps (``query/filters.py``); itself where there is none.

        Raises:
            QueryError: the filter is not written as one.
            VideoIndexError: the index was made before a column was kept that the filter asks for.
        """
        if where is None:
            return self
        sql = where_of(self.videos, parse_filter(where))
        return replace(self, where=sql if self.where is None else f"({self.where}) AND {sql}")

    def nearest(self, vectors: NDArray[np.float32], k: int) -> list[Hit]:
        """The k videos with the largest product with any of the query vectors [n, D], best first, each once.

        A video with windows is as good as the best of them, and ``start`` and ``end`` are that one's.
        """
        return _best((hit for table in self._tables for vector in vectors for hit in self._search(table, vector, k)), k)

    def nearest_all(self, queries: Sequence[NDArray[np.float32]], k: int) -> list[list[Hit]]:
        """``nearest`` of several queries [n, D] each, in order and in one pass over the tables."""
        if self.ids is not None or (self.where is not None and self.windows is not None):  # a view is in memory
            return [self.nearest(vectors, k) for vectors in queries]
        together = np.concatenate(queries)
        found: list[list[Hit]] = [[] for _ in together]
        for table in self._tables:
            more = table.search_all(together, k, where=self.where, keep=self.keep, each=table.is_windows)
            for hits, some in zip(found, more, strict=True):
                hits += some
        parts = iter(found)
        return [_best((hit for _ in vectors for hit in next(parts)), k) for vectors in queries]

    def _search(self, table: VideoIndex, vector: NDArray[np.float32], k: int) -> list[Hit]:
        if not table.is_windows:
            return table.search(vector, k, ids=self.ids, where=self.where, keep=self.keep)
        return table.search(vector, k, ids=self._video_ids, keep=self.keep, each=True)

    @cached_property
    def _video_ids(self) -> Collection[str] | None:
        """The ids of the videos whose windows may be shown: a filter is of videos, and windows are not tagged anew."""
        if self.where is None:
            return self.ids
        kept = frozenset(self.videos.ids(self.where))
        return kept if self.ids is None else kept.intersection(self.ids)

    def products(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> dict[str, Products]:
        """id -> its windows and their scores for ``vectors`` [m, D], as ``windows_of`` gives them, in little memory."""
        found = {} if self.windows is None else self.windows.products(ids, vectors)
        found |= self.videos.products([i for i in ids if i not in found], vectors)
        return {i: Products(*found[i]) for i in ids if i in found}

    def windows_of(self, ids: Sequence[str]) -> dict[str, Windows]:
        """id -> its windows, for those of ``ids`` that are indexed; of a video without, the whole of it is one."""
        found = {} if self.windows is None else self.windows.windows_by_video(ids)
        out = {i: Windows(spans, vectors) for i, (spans, vectors) in found.items()}
        for i, row in self.videos.rows([i for i in ids if i not in out]).items():
            span = np.array([[row["start"] or 0.0, row["end"] if row["end"] is not None else np.inf]])
            out[i] = Windows(span, row["vector"][None])
        return {i: out[i] for i in ids if i in out}


def _best(hits: Iterable[Hit], k: int) -> list[Hit]:
    """The k best, each video once."""
    best = dict[str, Hit]()
    for hit in sorted(hits, key=lambda hit: (-hit.score, hit.id)):
        best.setdefault(hit.id, hit)
    return [replace(hit, rank=rank) for rank, hit in enumerate(list(best.values())[:k], start=1)]
