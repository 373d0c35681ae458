"""The rows of a view in memory: exact answers in a view, as fast as the vector index gives them for the whole table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VIEW_BYTES = 256 * 1024**2  # of vectors that are kept in memory: 65,536 of 1,024 numbers


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """The column ``vector`` as an array [n, D], without a number of Python's in between."""
    column = table["vector"].combine_chunks()
    return np.asarray(column.flatten().to_numpy().reshape(len(table), column.type.list_size))


@dataclass(frozen=True)
class View:
    """Rows of some ids, or of a filter, of one state of a table; ``vectors`` [n, D] in their order."""

    state: tuple[str, int]
    which: frozenset[str] | str
    rows: pa.Table
    vectors: NDArray[np.float32]

    @classmethod
    def of(cls, state: tuple[str, int], which: frozenset[str] | str, table: pa.Table) -> View:
        return cls(state, which, table.drop_columns(["vector"]), vectors_of(table))

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[dict[str, Any]]:
        """The k rows with the largest products, with LanceDB's ``_distance``, in no order."""
        products = self.vectors @ np.asarray(vector, np.float32)
        if k < len(products):
            # Ties at the border go by id, as in every other search.
            border = np.partition(products, -k)[-k]
            best = np.flatnonzero(products > border).tolist()
            tied = np.flatnonzero(products == border).tolist()
            best += sorted(tied, key=lambda i: str(self.rows["id"][i]))[: k - len(best)]
        else:
            best = list(range(len(products)))
        rows = self.rows.take(pa.array(best, pa.int64())).to_pylist()
        return [{**row, "_distance": 1 - float(products[i])} for i, row in zip(best, rows, strict=True)]


class Views:
    """The views of one state of a table that were asked last, up to ``VIEW_BYTES`` of vectors; for several threads."""

    def __init__(self) -> None:
        self._kept: tuple[View, ...] = ()  # replaced as a whole; the last one asked is the first

    def find(self, state: tuple[str, int], which: frozenset[str] | str) -> View | None:
        """The view of these rows, where it was kept."""
        for view in self._kept:
            if view.state == state and (view.which is which or view.which == which):
                self.keep(view)
                return view
        return None

    def keep(self, view: View) -> None:
        """Keeps a view, and of the others those of the same state that there is room for."""
        kept, room = [view], VIEW_BYTES - view.vectors.nbytes
        for other in self._kept:
            if other.which != view.which and other.state == view.state and other.vectors.nbytes <= room:
                kept.append(other)
                room -= other.vectors.nbytes
        self._kept = tuple(kept)
