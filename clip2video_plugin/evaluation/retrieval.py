"""Text-to-video and video-to-text retrieval metrics.

The reference's: docs/explanation/network.md#metrics-of-the-reference

Shapes: T captions, V videos, G = V groups of captions, one per video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import Clip2VideoError

Ties = Literal["strict", "reference"]
"""How videos of one score are ranked: each counts one half, or by the arithmetic of published numbers."""
BLOCK = 2048  # captions ranked at once
TILE = 1 << 24  # scores of vectors kept at once


def retrieval_metrics(
    scores: ArrayLike, caption_video: ArrayLike, *, ties: Ties = "strict"
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

    def metrics(self, ties: Ties = "strict") -> dict[str, dict[str, float]]:
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
    return Ranking(better, tied, v_better, v_tied, _single(columns, videos))


def products(queries: NDArray[Any], videos: NDArray[Any]) -> NDArray[np.float32]:
    """Scores [T, V] of vectors [T, D] and [V, D], made in double precision and rounded to single.

    So equal vectors have equal scores and tie. In single precision the last bits of such scores may differ.
    """
    return (queries.astype(np.float64, copy=False) @ videos.astype(np.float64, copy=False).T).astype(np.float32)


def rank_vectors(texts: NDArray[Any], videos: NDArray[Any], caption_video: ArrayLike) -> Ranking:
    """Ranks by cosine, in tiles: neither the scores nor a copy of the vectors exist as a whole.

    Args:
        texts: [T, D], of any length and kind of number.
        videos: [V, D], likewise.
        caption_video: [T], the row in ``videos`` of each caption's video.

    Raises:
        Clip2VideoError: shapes do not fit, or a vector is not finite or has no length.
    """
    columns = _columns(caption_video, len(videos))
    if texts.shape != (len(columns), videos.shape[1]):
        raise Clip2VideoError(
            f"text vectors have shape {texts.shape}; expected {(len(columns), videos.shape[1])}, "
            f"for {len(columns)} captions and videos of {videos.shape[1]} numbers"
        )
    asked, group = np.unique(columns, return_inverse=True)  # videos with a caption, and which of them is each caption's
    rows = [slice(start, start + BLOCK) for start in range(0, len(columns), BLOCK)]
    own = np.empty(len(columns), np.float32)
    for row in rows:
        own[row] = (_unit(texts, row, "text") * _unit(videos, columns[row], "video")).sum(axis=1)
    better, tied = np.zeros(len(columns), np.int64), np.full(len(columns), -1)
    v_better, v_tied = np.zeros(len(asked), np.int64), np.zeros(len(asked), np.int64)
    width = max(1, min(BLOCK, TILE // len(asked)))
    for start in range(0, len(videos), width):
        block = _unit(videos, slice(start, start + width), "video")  # [B, D]
        groups = np.full((len(asked), len(block)), -np.inf, np.float32)
        for row in rows:
            scores = products(_unit(texts, row, "text"), block)
            (here,) = np.nonzero((start <= columns[row]) & (columns[row] < start + len(block)))
            scores[here, columns[row][here] - start] = own[row][here]
            better[row] += (scores > own[row, None]).sum(axis=1)
            tied[row] += (scores == own[row, None]).sum(axis=1)
            np.maximum.at(groups, group[row], scores)
        (here,) = np.nonzero((start <= asked) & (asked < start + len(block)))
        v_better[here], v_tied[here] = _count(groups[:, asked[here] - start].T, here)
    return Ranking(better, tied, v_better, v_tied, _single(columns, len(videos)))


def check_ties(ties: Ties) -> None:
    """Raises Clip2VideoError for a rule that there is not."""
    check_choice("ties", ties, Ties)


def _columns(caption_video: ArrayLike, videos: int) -> NDArray[np.int64]:
    columns = np.asarray(caption_video)
    if columns.ndim != 1 or columns.size == 0 or columns.dtype.kind not in "iu":
        raise Clip2VideoError(
            f"caption_video holds {columns.dtype} of shape {columns.shape}; expected a column number per caption"
        )
    if columns.min() < 0 or columns.max() >= videos:
        raise Clip2VideoError(f"caption_video goes from {columns.min()} to {columns.max()}; there are {videos} videos")
    return columns.astype(np.int64)


def _single(columns: NDArray[np.int64], videos: int) -> bool:
    return len(columns) == videos and bool((columns == np.arange(videos)).all())


def _unit(vectors: NDArray[Any], rows: slice | NDArray[np.int64], what: str) -> NDArray[np.float64]:
    """Rows of vectors at unit length, in double precision."""
    part = vectors[rows].astype(np.float64)
    length = np.linalg.norm(part, axis=1)
    if not (sound := np.isfinite(length) & (length > 0)).all():
        row = np.arange(len(vectors))[rows][sound.argmin()]
        raise Clip2VideoError(f"{what} vectors have no direction in row {row}: it holds NaN, infinity or zeros alone")
    return np.asarray(part / length[:, None])


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
    done = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != videos:
            raise Clip2VideoError(f"scores have shape {block.shape}; expected {videos} columns")
        if not (finite := np.isfinite(block).all(axis=1)).all():
            row = done + int(finite.argmin())
            raise Clip2VideoError(f"scores hold NaN or infinity in row {row}; the vectors they come from are broken")
        done += len(block)
        yield block.astype(np.float64) if block.dtype.kind in "iu" else block  # integers have no infinity


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
