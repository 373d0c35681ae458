"""Products of rows with vectors, of many rows in little memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index.connection import IN_LIST, chunks, in_list
from clip2video_plugin.index.schema import VIDEO, is_windows
from clip2video_plugin.index.view import vectors_of


def by_video(
    table: Any, ids: Sequence[str], vectors: NDArray[np.float32]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """See ``VideoIndex.products``. A row without start begins at 0, and one without end does not end."""
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


def some(table: Any, count: int) -> list[str]:
    """See ``VideoIndex.some``."""
    rows = int(table.count_rows())
    places = np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64)).tolist()
    return list(table.take_offsets(places).select(["id"]).to_arrow()["id"].to_pylist()) if rows else []
