"""How well moments are found: R1 and mAP at overlaps, of files in the format of QVHighlights and moment_detr.

A line is a JSON object. Of predictions: ``qid``, ``query``, ``vid``, ``pred_relevant_windows`` [[start, end, score]],
the best first; of the truth ``relevant_windows`` [[start, end]] instead; times in seconds. Other keys are passed over.
The metrics are those of moment_detr (Lei et al. 2021, standalone_eval).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.paths import expanded

THRESHOLDS = tuple(n / 100 for n in range(50, 100, 5))  # overlaps that mAP is the mean over
LARGEST = 1e12  # seconds or score; more than any video has
MOST = 10  # windows of a prediction that count
LENGTHS = {"full": (-math.inf, math.inf), "short": (0, 10), "middle": (10, 30), "long": (30, math.inf)}
PREDICTED, TRUE = "pred_relevant_windows", "relevant_windows"


@dataclass(frozen=True)
class Moments:
    """The moments of one query in one video: rows (start, end), predicted ones with a score, the best first."""

    qid: int | str
    query: str
    vid: str
    windows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class MomentScores:
    """Percentages over ``n`` queries.

    ``r1_50``, ``r1_70`` and ``miou`` are of the first window against the true one that it overlaps most; ``map`` is the
    mean over overlaps of .5 to .95, of ten windows at most, ``map_50`` and ``map_75`` are at one.
    """

    n: int
    r1_50: float
    r1_70: float
    miou: float
    map: float
    map_50: float
    map_75: float


@dataclass(frozen=True)
class MomentEvaluation:
    """Scores for all moments, and apart for ``short`` (up to 10 s), ``middle`` (to 30 s) and ``long`` ones.

    Apart, a query counts with those of its true windows that are so long; where no query has any there is None.
    """

    full: MomentScores
    short: MomentScores | None
    middle: MomentScores | None
    long: MomentScores | None

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def evaluate_moments(
    predictions: str | Path | Sequence[Moments], truth: str | Path | Sequence[Moments]
) -> MomentEvaluation:
    """Compares moments with the true ones, query by query, by their ``qid``.

    Args:
        predictions: a file of them, or what ``read_moments`` gives.
        truth: likewise.

    Raises:
        Clip2VideoError: a file is missing or is not of the format, or the two are not about the same queries.
    """
    found = _by_query(read_moments(predictions) if isinstance(predictions, str | Path) else predictions)
    true = _by_query(read_moments(truth) if isinstance(truth, str | Path) else truth)
    if other := [qid for qid in true if qid not in found] or [qid for qid in found if qid not in true]:
        side = "no prediction" if other[0] in true else "no truth"
        raise Clip2VideoError(f"there is {side} of {len(other)} queries, the first is qid {other[0]!r}; give all")
    if without := [one for one in found.values() if any(len(window) != 3 for window in one.windows)]:
        raise Clip2VideoError(
            f"the predictions of qid {without[0].qid!r} have no scores; give {PREDICTED} first, and then the truth"
        )
    if not true:
        raise Clip2VideoError("there are no queries to evaluate; give a file with a JSON object a line")
    scores = {name: _scores(found, true, *lengths) for name, lengths in LENGTHS.items()}
    full = scores.pop("full")
    if full is None:
        raise Clip2VideoError("no query has a true window; relevant_windows must name one")
    return MomentEvaluation(full, **scores)


def evaluate_moment_files(predictions: Path | None, truth: Path | None, others: Sequence[str] = ()) -> MomentEvaluation:
    """``evaluate_moments`` of two files.

    Args:
        others: what else was asked for, which is of other evaluations.

    Raises:
        Clip2VideoError: one of the files is missing, or other things were asked for; or as ``evaluate_moments``.
    """
    if predictions is None or truth is None:
        raise Clip2VideoError("moments are compared with the true ones; give both --moments and --truth")
    if others:
        raise Clip2VideoError(f"--moments are evaluated alone; leave out {' and '.join(others)}")
    return evaluate_moments(predictions, truth)


def read_moments(path: str | Path) -> list[Moments]:
    """The moments of a file, predicted or true; raises Clip2VideoError when it is missing or not of the format."""
    path = expanded(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise Clip2VideoError(f"cannot read {path}: {reason}") from None
    return [_moments(line, f"line {n} of {path}") for n, line in enumerate(lines, start=1) if line.strip()]


def write_moments(path: str | Path, moments: Iterable[Moments], *, predicted: bool) -> None:
    """Writes moments as a file that moment_detr's evaluation reads, as predictions or as the truth."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for one in moments:
            row = {"qid": one.qid, "query": one.query, "vid": one.vid}
            file.write(json.dumps(row | {PREDICTED if predicted else TRUE: one.windows}) + "\n")
    partial.replace(path)


def overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union [n, m] of spans [n, 2] and [m, 2]."""
    (a, b), (c, d) = first.T[:, :, None], second.T[:, None, :]
    shared = np.clip(np.minimum(b, d) - np.maximum(a, c), 0, None)
    either = (b - a) + (d - c) - shared
    out: NDArray[np.float64] = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    return out


def average_precision(scores: NDArray[np.float64], ious: NDArray[np.float64], least: float) -> float:
    """Area under the interpolated precision of n windows against m true ones, by their overlaps [n, m].

    From the best score down, a window takes the true one that it overlaps most among those that are left, if by
    ``least`` or more; else it is wrong. Of equal overlaps the last counts, as there.
    """
    left, right = np.ones(ious.shape[1], bool), list[bool]()
    for row in ious[np.argsort(-scores, kind="stable")]:
        free = np.where(left & (row >= least), row, -1.0)
        right.append(bool(free.max(initial=-1.0) >= 0))
        if right[-1]:
            left[len(free) - 1 - free[::-1].argmax()] = False
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[np.array(right, bool)].sum()) / len(left)


def _scores(
    found: Mapping[int | str, Moments], true: Mapping[int | str, Moments], least: float, most: float
) -> MomentScores | None:
    first, precise = list[float](), list[list[float]]()
    for qid, one in true.items():
        spans = [window[:2] for window in one.windows if least < window[1] - window[0] <= most]
        if not spans:
            continue
        windows = np.array(found[qid].windows[:MOST], np.float64).reshape(-1, 3)
        ious = overlaps(windows[:, :2], np.array(spans, np.float64))
        first.append(ious[0].max() if len(ious) else 0.0)
        precise.append([average_precision(windows[:, 2], ious, threshold) for threshold in THRESHOLDS])
    if not first:
        return None
    best = np.array(first)
    ap = dict(zip(THRESHOLDS, 100 * np.mean(precise, axis=0), strict=True))
    r1 = {iou: 100 * float((best >= iou).mean()) for iou in (0.5, 0.7)}
    mean = float(np.mean(list(ap.values())))
    return MomentScores(len(first), r1[0.5], r1[0.7], 100 * float(best.mean()), mean, float(ap[0.5]), float(ap[0.75]))


def _by_query(moments: Sequence[Moments]) -> dict[int | str, Moments]:
    out = {one.qid: one for one in moments}
    if len(out) < len(moments):
        twice = next(one.qid for n, one in enumerate(moments) if any(one.qid == m.qid for m in moments[:n]))
        raise Clip2VideoError(f"qid {twice!r} is there twice; each query has one line")
    return out


def _moments(line: str, where: str) -> Moments:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise Clip2VideoError(f"{where} is no JSON object; each line is one")
    name = PREDICTED if PREDICTED in row else TRUE
    qid, windows = row.get("qid"), row.get(name)
    if not isinstance(qid, int | str) or isinstance(qid, bool):
        raise Clip2VideoError(f"{where} has the qid {qid!r}; it must be a number or a text that names the query")
    if not isinstance(windows, list):
        raise Clip2VideoError(f"{where} has neither {PREDICTED} nor {TRUE}; one of them lists the windows")
    size = 3 if name == PREDICTED else 2
    checked = tuple(_windows(windows, size, f"{name} of {where}"))
    return Moments(qid, str(row.get("query", "")), str(row.get("vid", "")), checked)


def _windows(windows: list[Any], size: int, where: str) -> Iterator[tuple[float, ...]]:
    form = "[start, end, score]" if size == 3 else "[start, end]"
    for window in windows:
        numbers = window if isinstance(window, list) else []
        fits = all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= LARGEST for x in numbers)
        if len(numbers) != size or not fits or numbers[0] > numbers[1]:
            raise Clip2VideoError(f"{where} has the window {window!r}; it must be {form}, in seconds")
        yield tuple(float(x) for x in numbers)
