"""The windows of videos: rows of a table that belong to a video's row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index.connection import chunks, in_list, read
from clip2video_plugin.index.reading import IN_LIST
from clip2video_plugin.index.schema import VIDEO
from clip2video_plugin.index.view import vectors_of


def by_video(uri: str, table: Any, ids: Sequence[str]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """``VideoIndex.windows_by_video``."""
    out = dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]()
    for part in chunks(list(ids), IN_LIST):
        found = table.search().where(in_list(VIDEO.name, part)).select([VIDEO.name, "start", "end", "vector"])
        rows = read(uri, found.limit(None).to_arrow).sort_by([(n, "ascending") for n in (VIDEO.name, "start", "end")])
        if not len(rows):
            continue
        owners, vectors = np.array(rows[VIDEO.name].to_pylist()), vectors_of(rows)
        spans = np.stack([rows["start"].to_numpy(), rows["end"].to_numpy()], axis=1)
        names, firsts = np.unique(owners, return_index=True)
        for name, first, last in zip(names.tolist(), firsts, [*firsts[1:], len(rows)], strict=True):
            out[name] = spans[first:last], vectors[first:last]
    return out
