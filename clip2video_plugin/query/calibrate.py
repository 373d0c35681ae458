"""Fits what scores mean (``query/confidence.py``): from held-out captions, else from the index's own videos.

Each query is asked twice: of a gallery with its video, and of the same without it, where there is no right answer; of
the whole gallery and of a half and a quarter of it, so that the size counts. Sentences about other things are asked
beside them. Where no captions say what videos show, videos stand for sentences (``query/asking.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.counted import counted
from clip2video_plugin.errors import Clip2VideoError, IndexBusyError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.index.calibration import has_calibration, read_fit, write_fit
from clip2video_plugin.index.schema import VIDEOS
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query.asking import Asked, Examples, captions_of, encoded, everyday
from clip2video_plugin.query.confidence import GROWN, SIGNS, Bin, Calibration, Gate
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.logistic import Logistic, fit_logistic
from clip2video_plugin.query.search import load_for

LEAST = 20  # videos, below which nothing can be said
ANSWERED, FOREIGN = 0.5, 1 / 6  # shares of queries that have an answer, and that are about something else altogether
EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
GATES = (0.5, 0.8, 0.9, 0.95)
FOLDS = 5


def calibrate(
    index: str | Path | VideoIndex | None = None,
    *,
    table: str = VIDEOS,
    model: str | Path | Model | None = None,
    device: str | None = None,
    foreign: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Calibration]:
    """Learns how probable it is that a hit of a score is right, and stores it in the index. Windows get their own.

    At most 1,000 videos with three captions each serve as queries, so it takes seconds to minutes for any index.
    ``embed_videos`` does it again when a calibrated index has grown by half.

    Args:
        index: as for ``search``; of an open index, the table that is open is calibrated.
        model: as for ``search``.
        device: as for ``search``.
        table: name of a FiftyOne run's table (``c2v index list --tables``); by default the table of the videos.
        foreign: sentences about what no video shows; by default everyday ones that ship with the package.
        seed: of the random choice of queries.

    Raises:
        Clip2VideoError: there are fewer than 20 videos.
        VideoIndexError: there is no index, it was made with another model, or it cannot be written.
    """
    videos = index if isinstance(index, VideoIndex) else open_index(index, table=table)
    if (count := videos.count()) < LEAST:
        raise Clip2VideoError(f"index {videos.uri} has {counted(count, 'video')}; a calibration needs at least {LEAST}")
    loaded, gallery = load_for(videos, model, device), Gallery(videos)
    strange = encoded(list(foreign or everyday()), loaded)
    captions = captions_of(videos, loaded, seed)
    out = list[Calibration]()
    for scored in [videos] if gallery.windows is None else [videos, gallery.windows]:
        rows = scored.count()
        fit = fitted(Asked(gallery, scored, captions, strange, seed), scored, rows, seed)
        write_fit(scored, fit.to_json(), rows)
        out.append(fit)
    return out


def recalibrate(index: VideoIndex, model: Model) -> bool:
    """``calibrate`` for an index that was calibrated and has grown by half since, got windows, or was made anew.

    What was known stays where another process writes to the index all the time.
    """
    if not has_calibration(index.uri):
        return False
    windows = index.windows()
    tables = [index] if windows is None else [index, windows]
    fits = [read_fit(table) for table in tables]
    stale = [fit is None or not fit.fresh or t.count() >= GROWN * fit.rows for fit, t in zip(fits, tables, strict=True)]
    if not any(fits) or not any(stale) or index.count() < LEAST:
        return False
    try:
        calibrate(index, model=model)
    except IndexBusyError:
        return False
    return True


def fitted(asked: Asked, table: VideoIndex, rows: int, seed: int) -> Calibration:
    """The calibration of what was asked."""
    examples = asked.examples()
    importance = _importance(examples)
    first, rest = _logistics(examples, importance)
    alone = fit_logistic(examples.features[:, 0, :1], examples.right == 0, importance, signs=SIGNS[:1])
    size = examples.size.max()
    full = examples.part(examples.size == size)
    p = _held_out(examples, importance, seed)[examples.size == size]
    return Calibration(
        table=table.name,
        windows=table.is_windows,
        source=asked.source,
        queries=len(asked.target),
        foreign=len(asked.foreign),
        rows=rows,
        answered=ANSWERED,
        credible=_even(alone, examples),
        without=asked.without(),
        first=first,
        rest=rest,
        bins=_bins(p, full, _importance(full)),
        gates=tuple(_gate(least, p, full, _importance(full)) for least in GATES),
        own=asked.own,
    )


def _importance(examples: Examples) -> NDArray[np.float64]:
    """Of each example, so that in a gallery of every size the kinds have their shares."""
    shares = np.array([ANSWERED, 1 - ANSWERED - FOREIGN, FOREIGN])
    out = np.zeros(len(examples.kind))
    sizes = np.unique(examples.size)
    for size in sizes:
        for kind, share in enumerate(shares):
            here = (examples.size == size) & (examples.kind == kind)
            out[here] = share / max(int(here.sum()), 1)
    return out * len(out) / len(sizes)


def _logistics(examples: Examples, importance: NDArray[np.float64]) -> tuple[Logistic, Logistic]:
    """Of the best hits, and of those after them."""
    _, k, f = examples.features.shape
    first = fit_logistic(examples.features[:, 0], examples.right == 0, importance, signs=SIGNS)
    later = (examples.right[:, None] == np.arange(1, k)).ravel()
    rest = fit_logistic(examples.features[:, 1:].reshape(-1, f), later, np.repeat(importance, k - 1), signs=SIGNS)
    return first, rest


def _held_out(examples: Examples, importance: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The probability that the best hit is right, by a fit that did not see its query."""
    folds = np.random.default_rng(seed).integers(0, FOLDS, examples.query.max() + 1)[examples.query]
    p = np.empty(len(folds))
    for fold in range(FOLDS):
        seen = folds != fold
        fit = fit_logistic(examples.features[seen, 0], examples.right[seen] == 0, importance[seen], signs=SIGNS)
        p[~seen] = fit(examples.features[~seen, 0])
    return p


def _even(alone: Logistic, examples: Examples) -> float:
    """The score from which a best hit is more probably right than not; within what was seen."""
    best = examples.features[:, 0, 0]
    even = -alone.bias / alone.weights[0] if alone.weights[0] > 0 else np.inf
    return float(np.clip(even, best.min(), best.max()))


def _bins(p: NDArray[np.float64], examples: Examples, importance: NDArray[np.float64]) -> tuple[Bin, ...]:
    places, right, out = np.clip(np.digitize(p, EDGES) - 1, 0, len(EDGES) - 2), examples.right == 0, list[Bin]()
    for n, (low, high) in enumerate(pairwise(EDGES)):
        if (here := places == n).any():
            promised, observed = (float(np.average(x[here], weights=importance[here])) for x in (p, right))
            out.append(Bin(low, high, promised, observed, int(here.sum())))
    return tuple(out)


def _gate(least: float, p: NDArray[np.float64], examples: Examples, importance: NDArray[np.float64]) -> Gate:
    right, answered, kept = examples.right == 0, examples.kind == 0, p >= least
    return Gate(
        least=least,
        kept=_share(kept, importance * (right & answered)),
        refused=_share(~kept, importance * ~answered),
        right=_share(right, importance * kept),
    )


def _share(of: NDArray[np.bool_], importance: NDArray[np.float64]) -> float:
    return float(np.average(of, weights=importance)) if importance.sum() > 0 else 0.0
