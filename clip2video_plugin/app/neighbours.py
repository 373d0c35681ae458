"""Distances between indexed videos, for FiftyOne's methods that compare each with all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
