"""Products of rows with vectors, of many rows in little memory: a method of ``VideoIndex``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, read
from clip2video_plugin.index.schema import VIDEO, is_windows
from clip2video_plugin.index.view import vectors_of

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex

ByVideo = dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]


def products(self: VideoIndex, ids: Sequence[str], vectors: NDArray[np.float32]) -> ByVideo:
    """Video -> spans [n, 2] of its rows here, by start and end, and their products [n, m] with vectors [m, D].

    For those of ``ids`` that are indexed; memory holds a batch of their vectors at a time. A row without start begins
    at 0, and one without end does not end.
    """
    return read(self.uri, lambda: _products(self._table, ids, vectors))


def _products(table: Any, ids: Sequence[str], vectors: NDArray[np.float32]) -> ByVideo:
    owner = VIDEO.name if is_windows(table.name) else "id"
    owners, spans, products = list[str](), list[NDArray[np.float64]](), list[NDArray[np.float32]]()
    for part in chunks(list(dict.fromkeys(ids)), IN_LIST):
        found = table.search().where(in_list(owner, part)).select([owner, "start", "end", "vector"]).limit(None)
        for batch in found.to_batches():
            rows = pa.Table.from_batches([batch])
            owners += rows[owner].to_pylist()
            starts, ends = rows["start"].fill_null(0.0), rows["end"].fill_null(np.inf)
            spans.append(np.stack([starts.to_numpy(), ends.to_numpy()], axis=1))
            products.append(vectors_of(rows) @ vectors.T)
    if not owners:
        return {}
    span, product, names = np.concatenate(spans), np.concatenate(products), np.array(owners)
    order = np.lexsort((span[:, 1], span[:, 0], names))
    first = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]])
    return {str(names[mine[0]]): (span[mine], product[mine]) for mine in np.split(order, first[1:])}
