"""A table asked for what is nearest to vectors. Methods of ``VideoIndex``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index.connection import read
from clip2video_plugin.index.hits import Hit, Keep
from clip2video_plugin.index.hits import existing as files_there

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex


def search(
    self: VideoIndex,
    vector: NDArray[np.float32],
    k: int,
    *,
    ids: Collection[str] | None = None,
    where: str | None = None,
    furthest: bool = False,
    existing: bool = False,
    keep: Keep | None = None,
    each: bool = False,
) -> list[Hit]:
    """The k videos with the largest dot product with a query vector [D], best first.

    Args:
        ids: search only among these; a set saves making one of them.
        where: a filter of the columns, as ``filters.py`` writes it.
        furthest: give the smallest products instead, worst first.
        existing: pass over videos whose files are gone, and give the k best of the others.
        keep: gives of hits, in order, those that may be shown; k of them are given, as far as there are such.
        each: of a table of windows the best one of each video, as a hit of that.

    Raises:
        QueryError: k is no whole number from 1 to 10,000.
        VideoIndexError: the vector is of another length.
    """
    if existing and keep is None:
        keep = files_there()
    return read(
        self.uri,
        lambda: self._nearest.search(vector, k, ids=ids, where=where, furthest=furthest, keep=keep, each=each),
    )


def search_all(
    self: VideoIndex,
    vectors: NDArray[np.float32],
    k: int,
    *,
    where: str | None = None,
    keep: Keep | None = None,
    each: bool = False,
) -> list[list[Hit]]:
    """``search`` of several query vectors [n, D] in one pass, in order."""
    return read(self.uri, lambda: self._nearest.search_all(vectors, k, where=where, keep=keep, each=each))
