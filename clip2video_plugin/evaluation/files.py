"""Evaluation without a model: of a matrix of scores, or of the vectors of captions and videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import Clip2VideoError, NotComparableError
from clip2video_plugin.evaluation.arrays import read_array, read_scores
from clip2video_plugin.evaluation.report import Evaluation, check_comparable, published_row, summarise
from clip2video_plugin.evaluation.retrieval import BLOCK, Ties, check_ties, rank_blocks, rank_vectors

Source = str | Path | NDArray[Any]  # a .npy or .npz file, or the array itself


def evaluate_scores(
    scores: Source,
    caption_video: Source | None = None,
    *,
    transposed: bool = False,
    ties: Ties = "strict",
    protocol: str | None = None,
    allow_incomplete: bool = False,
) -> Evaluation:
    """Retrieval in both directions by a matrix of scores: the metrics of ``retrieval_metrics``, with intervals.

    Args:
        scores: [T captions, V videos], larger is better; in a .npz file of several arrays the one called ``scores``.
        caption_video: [T], the column of each caption's video; by default the array of that name in the .npz file.
            Without it the matrix must be square, and caption i is of video i.
        transposed: whether the rows of ``scores`` are videos, and its columns captions.
        ties: "strict", or "reference" for the published arithmetic.
        protocol: what the numbers are compared with: 1k-a, 7k, full, msvd, vatex-1k5 or vatex-hgr.
        allow_incomplete: evaluate although the numbers of videos and captions are not the protocol's.

    Raises:
        Clip2VideoError: a file is missing, damaged or a pickle; arrays do not fit each other; a score is not finite.
        NotComparableError: the numbers of videos and captions are not the protocol's.
    """
    check_ties(ties)
    matrix, beside = read_scores(scores) if isinstance(scores, str | Path) else (np.asarray(scores), None)
    if beside is not None and caption_video is not None:
        raise Clip2VideoError(f"{scores} holds a caption_video, and another is given; leave one out")
    matrix = _checked("scores", matrix)
    matrix = matrix.T if transposed else matrix
    captions, videos = matrix.shape
    turn = "if its rows are videos, say so: --transposed" if not transposed else "leave out --transposed"
    problem = _compared(captions, videos, protocol, allow_incomplete, turn)
    columns = _columns(beside if caption_video is None else caption_video, captions, videos, turn)
    blocks = (matrix[start : start + BLOCK] for start in range(0, captions, BLOCK))
    return summarise(
        rank_blocks(blocks, columns, videos),
        columns,
        name=_name("scores", scores),
        model=None,
        videos=videos,
        ties=ties,
        protocol=protocol,
        not_comparable=problem,
        published=published_row(protocol),
    )


def evaluate_vectors(
    text_vectors: Source,
    video_vectors: Source,
    caption_video: Source | None = None,
    *,
    ties: Ties = "strict",
    protocol: str | None = None,
    allow_incomplete: bool = False,
) -> Evaluation:
    """As ``evaluate_scores``, by the cosines of vectors. Memory does not grow with T x V.

    Args:
        text_vectors: [T captions, D], real numbers of any kind; each row is brought to unit length first.
        video_vectors: [V videos, D], likewise.
        caption_video: [T], the row in ``video_vectors`` of each caption's video. Without it there must be as many
            captions as videos, and caption i is of video i.
        ties: as in ``evaluate_scores``; so are ``protocol``, ``allow_incomplete`` and what is raised.
    """
    check_ties(ties)
    texts = _checked("text vectors", _array(text_vectors))
    gallery = _checked("video vectors", _array(video_vectors))
    if texts.shape[1] != gallery.shape[1]:
        raise Clip2VideoError(
            f"text vectors have {texts.shape[1]} numbers and video vectors {gallery.shape[1]}; "
            "both must come from one model"
        )
    swap = "if the two are swapped, swap them"
    problem = _compared(len(texts), len(gallery), protocol, allow_incomplete, swap)
    columns = _columns(caption_video, len(texts), len(gallery), swap)
    return summarise(
        rank_vectors(texts, gallery, columns),
        columns,
        name=_name("vectors", video_vectors),
        model=None,
        videos=len(gallery),
        ties=ties,
        protocol=protocol,
        not_comparable=problem,
        published=published_row(protocol),
    )


def evaluate_files(
    *,
    scores: Path | None,
    text_vectors: Path | None,
    video_vectors: Path | None,
    caption_video: Path | None,
    transposed: bool = False,
    others: Sequence[str] = (),
    **options: Any,
) -> Evaluation:
    """Evaluates the one kind of files that is given.

    Args:
        others: what else was asked for, which needs a dataset.
        options: of ``evaluate_scores`` and ``evaluate_vectors``.

    Raises:
        Clip2VideoError: there are files of two kinds, or of none, or other things were asked for; or as those.
    """
    vectors = text_vectors is not None or video_vectors is not None
    if scores is None and not vectors:
        raise Clip2VideoError("--caption-video and --transposed go with --scores or vectors; give these too")
    if others:
        raise Clip2VideoError(f"files are evaluated without a dataset; leave out {' and '.join(others)}")
    if scores is not None and vectors:
        raise Clip2VideoError("--scores and vectors are two evaluations; give one of them")
    if scores is not None:
        return evaluate_scores(scores, caption_video, transposed=transposed, **options)
    if text_vectors is None or video_vectors is None:
        raise Clip2VideoError("vectors come in pairs; give both --text-vectors and --video-vectors")
    if transposed:
        raise Clip2VideoError("--transposed is for --scores; rows of vectors are captions and videos")
    return evaluate_vectors(text_vectors, video_vectors, caption_video, **options)


def _array(source: Source) -> NDArray[Any]:
    return read_array(source) if isinstance(source, str | Path) else np.asarray(source)


def _checked(what: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
        expected = "[captions, videos]" if what == "scores" else "a row per vector"
        raise Clip2VideoError(f"{what} are {array.dtype} of shape {array.shape}; expected real numbers, {expected}")
    return array


def _compared(captions: int, videos: int, protocol: str | None, allow: bool, turn: str) -> str | None:
    """Why the numbers are not the protocol's, or None; ``turn`` says what to do where rows and columns are swapped."""
    from clip2video_plugin.datasets.protocols import PROTOCOLS

    if protocol is None:
        return None
    if protocol not in PROTOCOLS:
        raise Clip2VideoError(f"protocol is {protocol!r}; there are {', '.join(PROTOCOLS)}")
    size = PROTOCOLS[protocol].splits["test"]
    if (captions, videos) == (size.videos, size.captions) != (videos, captions):
        raise NotComparableError(
            f"{captions} captions and {videos} videos are those of {protocol} the wrong way round; {turn}"
        )
    return check_comparable(videos, captions, (size.videos, size.captions), allow=allow)


def _columns(caption_video: Source | None, captions: int, videos: int, turn: str) -> NDArray[Any]:
    if caption_video is None and captions == videos:
        return np.arange(videos)
    if caption_video is None:
        raise Clip2VideoError(
            f"there are {captions} captions and {videos} videos; say which video each caption is of: --caption-video"
            + (f"; {turn}" if captions < videos else "")
        )
    columns = _array(caption_video)
    if columns.ndim == 1 and len(columns) != captions:
        raise Clip2VideoError(
            f"caption_video has {len(columns)} numbers for {captions} captions"
            + (f"; {turn}" if len(columns) == videos else "; it takes one per caption, the number of its video from 0")
        )
    return columns


def _name(what: str, source: Source) -> str:
    return Path(source).name if isinstance(source, str | Path) else what
