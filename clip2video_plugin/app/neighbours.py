"""Distances between indexed videos, for FiftyOne's methods that compare each with all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 512  # whose distances are computed at once
SAME = 1e-6  # distance below which a vector is a row's own


@dataclass(frozen=True)
class Neighbours:
    """Vectors of videos: their mean [D], and what is beyond it, as ``unit`` [n, D + 1] vectors of ``norms`` [n].

    FiftyOne's own index, which its thresholds are made for, takes the cosine distance around the mean of all vectors.
    Rows that are the mean itself have no direction; the last column makes them one another's copies. ``lengths`` [n]
    are those of the whole vectors.
    """

    ids: NDArray[np.str_]
    mean: NDArray[np.float32]
    unit: NDArray[np.float32]
    norms: NDArray[np.float32]
    lengths: NDArray[np.float32]

    @classmethod
    def of(cls, ids: NDArray[np.str_], vectors: NDArray[np.float32]) -> Neighbours:
        """Of vectors [n, D] of the videos of these ids [n]."""
        mean = vectors.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1], np.float32)
        beyond = vectors - mean
        norms = np.linalg.norm(beyond, axis=1)
        lengths = np.linalg.norm(vectors, axis=1)
        still = norms <= 1e-6 * np.maximum(lengths, 1e-30)
        unit = np.where(still[:, None], 0, beyond / np.where(still, 1, norms)[:, None])
        return cls(ids, mean, np.hstack([unit, still[:, None]]).astype(np.float32), norms, lengths)

    def between(self, rows: NDArray[np.int64], among: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """For each of these rows its distances [m], 0 to 2, to those of ``among``; NaN to itself."""
        others = self.unit[among].T
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            distances = np.clip(1 - self.unit[some] @ others, 0, 2)
            distances[some[:, None] == among[None, :]] = np.nan
            yield from distances

    def of_vector(self, vector: NDArray[np.float32], among: NDArray[np.int64], least: int) -> NDArray[np.float32]:
        """Distances [m] of a vector [D]: where it is a row's own, those of the row, else cosine distances around zero.

        The row itself, then, is at NaN, or at zero where without it there are less than ``least``.
        """
        whole = self._around_zero(vector)
        length = float(np.linalg.norm(vector))
        row = int(np.argmin(whole)) if len(whole) else 0
        if not len(whole) or whole[row] > SAME or abs(float(self.lengths[row]) - length) > 1e-4 * length:
            return whole[among]
        distances = next(self.between(np.array([row]), among))
        return np.nan_to_num(distances) if len(among) - 1 < least else distances

    def _around_zero(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        products = self.norms * (self.unit[:, :-1] @ vector) + self.mean @ vector
        scale = np.maximum(self.lengths * np.linalg.norm(vector), 1e-30)
        return np.asarray(np.clip(1 - products / scale, 0, 2), np.float32)


class Comparison:
    """An index's videos compared with one another; their vectors are kept until rows or samples change."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._compared: tuple[Any, Neighbours] | None = None

    def answer(self, query: Any, choose: Callable[[Any], Any], return_dists: bool, least: int = 0) -> Any:
        """What ``choose`` takes of the distances to the view's videos: positions, or ids where a query was given."""
        state, known = self._index.rows.state(), self._compared
        if known is None or known[0] != state:
            vectors, ids, _ = self._index.get_embeddings()
            self._compared = known = state, Neighbours.of(ids, vectors)
        of, here = known[1], self._index.current_sample_ids
        among = (
            np.arange(len(of.ids)) if self._index._current_inds is None else np.asarray(self._index._current_inds, int)
        )
        if query is None:
            distances = list(of.between(among, among)) if len(among) else []
        elif is_numbers(query):
            distances = [of.of_vector(vector, among, least) for vector in self._index.query_vectors(query)]
        else:
            self._index.query_vectors(query)  # all are indexed
            rows = np.searchsorted(of.ids, self._index.samples_of(query))
            distances = list(of.between(rows, among))
        found = [choose(some) for some in distances]
        near: list[Any] = [some[at] for some, at in zip(distances, found, strict=True)]
        if query is None:
            return (found, near) if return_dists else found
        names: list[Any] = [[str(here[i]) for i in at] for at in found]
        near = [some.tolist() for some in near]
        if isinstance(query, str) or (is_numbers(query) and query.ndim == 1):
            names, near = names[0], near[0]
        return (names, None, near) if return_dists else (names, None)


def is_numbers(query: Any) -> bool:
    """Whether a query is a vector or several, and no ids."""
    return isinstance(query, np.ndarray) and query.dtype.kind in "fiu"


def nearest(distances: NDArray[np.float32], k: int | None, furthest: bool) -> NDArray[np.int64]:
    """Positions of the k smallest distances, or the largest; none of NaN."""
    known = np.flatnonzero(~np.isnan(distances))
    order = np.argsort(-distances[known] if furthest else distances[known], kind="stable")
    return known[order[:k]]
