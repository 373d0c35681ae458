"""Text-to-video and video-to-text retrieval metrics (reference section 9).

Shapes: T captions, V videos, G = V groups of captions, one per video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clip2video_plugin.errors import Clip2VideoError

TIES = ("strict", "reference")
BLOCK = 2048  # captions ranked at once


def retrieval_metrics(
    scores: ArrayLike, caption_video: ArrayLike, *, ties: str = "strict"
) -> dict[str, dict[str, float]]:
    """R@1, R@5, R@10 (percent), MdR, MnR and n, in both directions.

    Text to video ranks the video of every caption among the V videos. Video to text ranks a video's
    captions, each group by its best, among the V groups.

    Args:
        scores: [T, V], larger is better.
        caption_video: [T], the column of each caption's video. When it is 0 ... V-1 in order, the set
            is one of single captions.
        ties: ``strict`` counts every query once, with rank 1 + better + tied / 2. ``reference`` is the
            arithmetic of published numbers: single captions count every tied position as one more
            query; sets of several captions take the lower median.

    Returns:
        ``{"t2v": {...}, "v2t": {...}}``.

    Raises:
        Clip2VideoError: shapes or values do not fit, or a score is not finite.
    """
    check_ties(ties)
    matrix = np.asarray(scores)
    if matrix.ndim != 2:
        raise Clip2VideoError(f"scores have shape {matrix.shape}; expected [captions, videos]")
    blocks = (matrix[start : start + BLOCK] for start in range(0, len(matrix), BLOCK))
    return rank_blocks(blocks, caption_video, matrix.shape[1]).metrics(ties)


@dataclass(frozen=True)
class Ranking:
    """Where every query's answer stands: rivals that score better, and others that score the same.

    ``better`` and ``tied`` [T] are of the captions, ``v_better`` and ``v_tied`` of the videos that have captions.
    """

    better: NDArray[np.int64]
    tied: NDArray[np.int64]
    v_better: NDArray[np.int64]
    v_tied: NDArray[np.int64]
    single: bool

    @property
    def t2v(self) -> NDArray[np.float64]:
        """Strict rank of each caption's video: 1 is best, ties count one half each."""
        return np.asarray(1 + self.better + self.tied / 2)

    @property
    def v2t(self) -> NDArray[np.float64]:
        """Strict rank of each video's captions."""
        return np.asarray(1 + self.v_better + self.v_tied / 2)

    def metrics(self, ties: str = "strict") -> dict[str, dict[str, float]]:
        """As ``retrieval_metrics`` returns them."""
        check_ties(ties)
        if ties == "strict":
            return {"t2v": _summary(self.t2v), "v2t": _summary(self.v2t)}
        if self.single:
            t2v = _summary(_every_position(self.better, self.tied))
        else:
            t2v = _summary(1.0 + self.better, lower_median=True)
        return {"t2v": t2v, "v2t": _summary(_every_position(self.v_better, self.v_tied))}


def rank_blocks(blocks: Iterable[NDArray[Any]], caption_video: ArrayLike, videos: int) -> Ranking:
    """Ranks consecutive blocks of rows of scores, so that [T, V] never exists as a whole.

    Raises:
        Clip2VideoError: as ``retrieval_metrics``.
    """
    columns = _columns(caption_video, videos)
    better, tied, groups = _stream(blocks, columns, videos)
    asked = np.unique(columns)  # videos with a caption; the others are rivals, but no queries
    v_better, v_tied = _count(groups[asked][:, asked].T, np.arange(len(asked)))
    single = len(columns) == videos and bool((columns == np.arange(videos)).all())
    return Ranking(better, tied, v_better, v_tied, single)


def check_ties(ties: str) -> None:
    """Raises Clip2VideoError for a rule that there is not."""
    if ties not in TIES:
        raise Clip2VideoError(f"ties is {ties!r}; allowed are {' and '.join(TIES)}")


def _columns(caption_video: ArrayLike, videos: int) -> NDArray[np.int64]:
    columns = np.asarray(caption_video)
    if columns.ndim != 1 or columns.size == 0 or columns.dtype.kind not in "iu":
        raise Clip2VideoError(f"caption_video has shape {columns.shape}; expected a column number per caption")
    if columns.min() < 0 or columns.max() >= videos:
        raise Clip2VideoError(f"caption_video goes from {columns.min()} to {columns.max()}; there are {videos} videos")
    return columns.astype(np.int64)


def _stream(
    blocks: Iterable[NDArray[Any]], columns: NDArray[np.int64], videos: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Rivals better than and tied with each caption's video, [T] each, and the best score per group, [G, V]."""
    better, tied, done = list[NDArray[np.int64]](), list[NDArray[np.int64]](), 0
    groups: NDArray[Any] | None = None
    for block in _checked(blocks, videos):
        own = columns[done : done + len(block)]
        if len(own) < len(block):
            raise Clip2VideoError(f"there are more rows of scores than the {len(columns)} captions")
        if groups is None:
            groups = np.full((videos, videos), -np.inf, block.dtype)
        np.maximum.at(groups, own, block)
        block_better, block_tied = _count(block, own)
        better.append(block_better)
        tied.append(block_tied)
        done += len(block)
    if groups is None or done != len(columns):
        raise Clip2VideoError(f"scores have {done} rows; there are {len(columns)} captions")
    return np.concatenate(better), np.concatenate(tied), groups


def _checked(blocks: Iterable[NDArray[Any]], videos: int) -> Iterator[NDArray[Any]]:
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != videos:
            raise Clip2VideoError(f"scores have shape {block.shape}; expected {videos} columns")
        if not np.isfinite(block).all():
            raise Clip2VideoError("scores hold NaN or infinity; the vectors they come from are broken")
        yield block


def _count(scores: NDArray[Any], own: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per row: scores above the one in column ``own``, and others equal to it."""
    mine = scores[np.arange(len(scores)), own][:, None]
    return (scores > mine).sum(axis=1), (scores == mine).sum(axis=1) - 1


def _every_position(better: NDArray[np.int64], tied: NDArray[np.int64]) -> NDArray[np.float64]:
    """Every position that a tie could take, as an entry of its own: more entries than queries."""
    first = np.repeat(better, tied + 1)
    starts = np.repeat(np.cumsum(tied + 1) - (tied + 1), tied + 1)
    return np.asarray(1 + first + np.arange(len(first)) - starts, np.float64)


def _summary(rank: NDArray[Any], *, lower_median: bool = False) -> dict[str, float]:
    middle = np.sort(rank)[(len(rank) - 1) // 2] if lower_median else np.median(rank)
    recall = {f"R@{k}": 100.0 * float((rank <= k).mean()) for k in (1, 5, 10)}
    return {**recall, "MdR": float(middle), "MnR": float(rank.mean()), "n": len(rank)}
