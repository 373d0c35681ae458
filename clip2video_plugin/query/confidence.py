"""The probability that a hit is right, as it was fitted for an index (``query/calibrate.py``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Hit, VideoIndex
from clip2video_plugin.index.calibration import has_calibration, read_fit
from clip2video_plugin.index.schema import VIDEOS
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.logistic import Logistic
from clip2video_plugin.query.query import Query

GROWN = 1.5  # a table of so many times the rows that were there is fitted anew
# What the logistic regressions see: the score; how far it is below the best one; how far it falls short of the
# video's own captions; the logarithm of the gallery's size. And the signs that their weights must have.
SIGNS = (1, 1, 1, -1)
MEASURED = ("queries", "foreign", "rows", "answered", "credible", "without")
ESTIMATE = "the confidence is an estimate, as too few captions say what is right here"


@dataclass(frozen=True)
class Bin:
    """Hits with a probability from ``low`` to ``high``: its mean, the share that is right, how many there are.

    Observed on queries that the fit did not see, weighted as in use (``Calibration.answered``).
    """

    low: float
    high: float
    promised: float
    observed: float
    count: int


@dataclass(frozen=True)
class Gate:
    """What ``min_confidence`` does: the share of right answers kept, of queries without an answer refused, and of the
    kept answers the share that is right.
    """

    least: float
    kept: float
    refused: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """What the scores of a table mean.

    Attributes:
        table: whose scores. ``windows``: a score is that of a video's best window.
        source: "captions", held out, or "videos": the index's own, in place of sentences, which makes it an estimate.
        queries: on how many it was fitted. ``foreign``: sentences about other things beside them. ``rows``: of the
            table then.
        answered: the share of queries that is taken to have an answer.
        credible: the score from which the best hit of a sentence is believed: more probably right than not.
        without: the score from which a sentence holds of a video: where as many of those that it describes lie below
            as of others above.
        first, rest: for the best hit and for those after it.
        own: id -> score of a video with its own captions, where it is known of nearly all.
        bins, gates: what was promised and what came, on held-out queries.
    """

    table: str
    windows: bool
    source: str
    queries: int
    foreign: int
    rows: int
    answered: float
    credible: float
    without: float
    first: Logistic
    rest: Logistic
    bins: tuple[Bin, ...] = ()
    gates: tuple[Gate, ...] = ()
    own: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def estimated(self) -> bool:
        """Whether videos stood in place of sentences, which other steps of a search do not go by."""
        return self.source != "captions"

    @property
    def most(self) -> float:
        """No hit is promised more: of an estimate, what those were that seemed surest when it was fitted."""
        surest = [each.promised for each in self.bins if each.count]
        return max(surest, default=1.0) if self.estimated else 1.0

    def confidences(self, scores: Sequence[float], ids: Sequence[str], size: int, best: float) -> NDArray[np.float64]:
        """The probabilities [k] that hits are right; none is more probable than one of a better score.

        Args:
            scores: of hits in a gallery of ``size`` videos, of which the best is ``best``. ids: of their rows.
        """
        at = np.array(scores, float)
        features = features_of(at, at - best, own_scores(self.own, ids), size)
        first = at >= best - 1e-6  # of sums in another order
        p = np.where(first, self.first(features), self.rest(features))
        order = np.argsort(-at, kind="stable")
        p[order] = np.minimum.accumulate(p[order])
        return np.minimum(p, self.most)

    def to_json(self) -> dict[str, Any]:
        """All of it, for storage."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """What ``to_json`` gave; raises ValueError for anything else."""
        try:
            parts = {
                "first": _logistic(**values["first"]),
                "rest": _logistic(**values["rest"]),
                "bins": tuple(Bin(**each) for each in values["bins"]),
                "gates": tuple(Gate(**each) for each in values["gates"]),
                "own": {i: _number(score) for i, score in values["own"].items()},
            }
            found = cls(**{**values, **parts})
            for row in (*found.bins, *found.gates):
                list(map(_number, vars(row).values()))
            for name in MEASURED:
                _number(getattr(found, name))
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it is no calibration: {error}") from None
        if not isinstance(found.table, str) or not isinstance(found.source, str) or type(found.windows) is not bool:
            raise ValueError("it is no calibration: it does not say of what it is one")
        if len(found.first.weights) != len(SIGNS) or len(found.rest.weights) != len(SIGNS):
            raise ValueError("it is no calibration: its weights are of other features")
        return found

    def report(self) -> dict[str, Any]:
        """What there is to read of it, for JSON."""
        hidden = ("own", "first", "rest")
        return {name: value for name, value in self.to_json().items() if name not in hidden}


def _logistic(weights: list[float], bias: float) -> Logistic:
    return Logistic(tuple(map(_number, weights)), _number(bias))


def _number(value: Any) -> float:
    """Raises TypeError or OverflowError for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.80} is no number")
    return float(value)


def features_of(
    scores: NDArray[np.float64], below: NDArray[np.float64], own: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """[..., 4] of hits, for scores, what they are below the best, and ``own_scores`` [...]."""
    return np.stack([scores, below, np.minimum(scores - own, 0), np.full_like(scores, np.log(max(size, 1)))], axis=-1)


def own_scores(own: Mapping[str, float], ids: Iterable[str]) -> NDArray[np.float64]:
    """What videos score with their own captions; the mean of a video of which it is not known, and less than anything
    where it is of none."""
    usual = float(np.mean(list(own.values()))) if own else -np.inf
    return np.array([own.get(i, usual) for i in ids])


def calibration_of(gallery: Gallery, *, windows: bool | None = None) -> Calibration | None:
    """What was fitted for a gallery; None where nothing was, or for another table or other weights than there are now.

    Args:
        windows: for the best windows of videos, or for videos as wholes; by default as ``gallery.nearest`` scores.
    """
    if not has_calibration(gallery.videos.uri):
        return None
    table: VideoIndex | None = gallery.videos
    if windows is not False:
        table = gallery.windows or (None if windows else gallery.videos)
    fit = None if table is None else read_fit(table)
    try:
        return Calibration.from_json(fit.values) if fit is not None and fit.fresh else None
    except ValueError:  # of no use; `calibrate` replaces it
        return None


def measured_of(gallery: Gallery, weight: float | None) -> Calibration | None:
    """The calibration by which other steps go (``credible``, ``without``): of captions, at the model's weight."""
    found = calibration_of(gallery) if weight is None else None
    return None if found is None or found.estimated else found


def applies(query: Query) -> bool:
    """Whether a calibration is about such a query: sentences, with the weight of the model."""
    alternatives = len(query.prompts) > 1 and query.how == "max"
    return bool(query.prompts) and not (query.like or query.then or alternatives) and query.weight is None


def judged(
    hits: list[Hit], query: Query, gallery: Gallery, wanted: NDArray[np.float32]
) -> tuple[list[Hit], float | None, tuple[str, ...]]:
    """The hits with the probability that each is right, where something says it; those of at least what is asked for.

    Of hits that the text side alone found nothing says it, and they stay.

    Args:
        hits: as the query's other steps left them. wanted: its vectors [n, D].

    Returns:
        The hits, ranked anew; the largest probability of one that was left out, None where none was; and what to know
        of the probabilities.

    Raises:
        QueryError: the query asks for a least confidence, and nothing says what any hit's is.
    """
    found = calibration_of(gallery) if applies(query) else None
    if found is None:
        if query.min_confidence is not None:
            raise QueryError(_unknown(query, gallery))
        return hits, None, ()
    notes = (ESTIMATE,) if found.estimated and hits else ()
    seen = [hit for hit in hits if hit.matched != "captions"]
    moved = query.bank is not None or query.diversity or any(hit.matched != "vector" for hit in hits)
    # The best may not be among the hits, or not first
    top = gallery.nearest(wanted, 1) if moved else seen
    best = max((hit.score for hit in top), default=0.0)
    p = found.confidences([hit.score for hit in seen], [hit.id for hit in seen], gallery.size(), best)
    known = dict(zip([hit.id for hit in seen], p.tolist(), strict=True))
    hits = [replace(hit, confidence=known.get(hit.id)) for hit in hits]
    if (least := query.min_confidence) is None:
        return hits, None, notes
    refused = [hit.confidence for hit in hits if hit.confidence is not None and hit.confidence < least]
    kept = [hit for hit in hits if hit.confidence is None or hit.confidence >= least]
    return [replace(hit, rank=rank) for rank, hit in enumerate(kept, start=1)], max(refused, default=None), notes


def _unknown(query: Query, gallery: Gallery) -> str:
    if not applies(query):
        return (
            "min_confidence is known of sentences alone, asked with the model's own weight; leave out weight, like, "
            "then and alternatives, or min_confidence"
        )
    uri = gallery.videos.uri
    was = "was calibrated for another table or by another version" if has_calibration(uri) else "is not calibrated"
    table = "" if gallery.videos.name == VIDEOS else f" --table {gallery.videos.name}"
    run = f"run: c2v index calibrate --index {uri}{table}"
    return f"min_confidence is {query.min_confidence:g}, but index {uri} {was}; {run}"
