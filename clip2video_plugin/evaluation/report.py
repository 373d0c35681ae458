"""What an evaluation says: metrics, intervals, and how they compare to published numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clip2video_plugin.counted import counted
from clip2video_plugin.errors import NotComparableError
from clip2video_plugin.evaluation.retrieval import Ranking, Ties

METRICS = ("R@1", "R@5", "R@10", "MdR", "MnR")
RECALLS = (1, 5, 10)
DRAWS = 1000
DRAWN = 50  # resamplings kept at once
Row = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Published:
    """Numbers that the authors of a paper report, in the order of ``METRICS``."""

    source: str
    t2v: Row
    v2t: Row


@dataclass(frozen=True)
class Evaluation:
    """Retrieval metrics of one model (None where it is not known) on one gallery.

    ``t2v`` and ``v2t`` hold R@1, R@5, R@10 (percent), MdR, MnR and n; ``intervals`` the 95 % bootstrap
    intervals of the recalls, by direction and metric, drawn over videos.
    """

    name: str
    model: str | None
    videos: int
    captions: int
    ties: Ties
    t2v: dict[str, float]
    v2t: dict[str, float]
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    protocol: str | None = None
    not_comparable: str | None = None
    published: Published | None = None

    def __repr__(self) -> str:
        ways = {"text to video": self.t2v, "video to text": self.v2t}
        shown = (
            f"{way} {', '.join(f'{m} {found[m]:.1f}' for m in METRICS if m in found)}" for way, found in ways.items()
        )
        of = f"{counted(self.captions, 'caption')}, {counted(self.videos, 'video')}"
        return f"Evaluation({self.name!r}, {of}: {'; '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(
    ranking: Ranking,
    caption_video: ArrayLike,
    *,
    name: str,
    model: str | None,
    videos: int,
    ties: Ties,
    protocol: str | None = None,
    not_comparable: str | None = None,
    published: Published | None = None,
) -> Evaluation:
    """What a ranking of the captions of ``caption_video`` [T] says, with its intervals.

    Raises:
        Clip2VideoError: there is no such rule for ties.
    """
    metrics = ranking.metrics(ties)
    return Evaluation(
        name=name,
        model=model,
        videos=videos,
        captions=len(ranking.better),
        ties=ties,
        t2v=metrics["t2v"],
        v2t=metrics["v2t"],
        intervals={
            "t2v": bootstrap(ranking.t2v, np.unique(caption_video, return_inverse=True)[1]),
            "v2t": bootstrap(ranking.v2t, np.arange(len(ranking.v2t))),
        },
        protocol=protocol,
        not_comparable=not_comparable,
        published=published,
    )


def check_comparable(videos: int, captions: int, expected: tuple[int, int], *, allow: bool) -> str | None:
    """Why numbers of so many videos and captions are not the protocol's, which ``expected`` (both), or None.

    Raises:
        NotComparableError: they are not, and ``allow`` is not set.
    """
    for what, found, published in (("videos", videos, expected[0]), ("captions", captions, expected[1])):
        if found != published:
            problem = f"{found} of {published} {what}: not comparable"
            if allow:
                return problem
            raise NotComparableError(f"{problem}; allow it to evaluate all the same (--allow-incomplete)")
    return None


def published_row(protocol: str | None) -> Published | None:
    """What CLIP2Video's authors report for a protocol's test split; None for an unknown protocol."""
    from clip2video_plugin.datasets.protocols import PROTOCOLS

    known = PROTOCOLS.get(protocol or "")
    return Published("CLIP2Video, published", known.t2v, known.v2t) if known else None


def bootstrap(
    ranks: NDArray[np.float64], group: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the recalls in percent; whole groups (the captions of a video) are drawn together.

    Args:
        ranks: [T] ranks of the queries.
        group: [T] the video of each query, 0 ... G-1.
    """
    found = np.stack([ranks <= k for k in RECALLS]).astype(float)
    shares = _resampled(found, group, draws, seed)
    return {f"R@{k}": _interval(share) for k, share in zip(RECALLS, shares, strict=True)}


def bootstrap_difference(
    old: NDArray[np.float64], new: NDArray[np.float64], group: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """New minus old R@1 in points and its 95 % interval, for ranks [T] of the same queries."""
    gained = (new <= 1).astype(float) - (old <= 1).astype(float)
    return (100 * float(gained.mean()), *_interval(_resampled(gained[None], group, draws, seed)[0]))


def _resampled(values: NDArray[np.float64], group: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.float64]:
    """Means of each row of values [K, T], in percent, [K, draws], over resamplings of whole groups."""
    groups = int(group.max()) + 1
    counts = np.bincount(group, minlength=groups).astype(float)  # [G]
    sums = np.stack([np.bincount(group, weights=row, minlength=groups) for row in values])  # [K, G]
    rng, means = np.random.default_rng(seed), list[NDArray[np.float64]]()
    for start in range(0, draws, DRAWN):
        size = min(DRAWN, draws - start)
        weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=size).astype(float)  # [draws, G]
        means.append(sums @ weights.T / np.maximum(weights @ counts, 1))
    return np.asarray(100 * np.concatenate(means, axis=1))


def _interval(shares: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def markdown(evaluations: list[Evaluation]) -> str:
    """A Markdown table: a row per direction and evaluation, published rows below."""
    lines = ["| direction | " + " | ".join(["name", *METRICS, "n"]) + " |", "|---" * (len(METRICS) + 3) + "|"]
    for direction, label in (("t2v", "text to video"), ("v2t", "video to text")):
        published = {}
        for evaluation in evaluations:
            values = getattr(evaluation, direction)
            cells = [format_metric(evaluation, direction, metric) for metric in METRICS]
            name = evaluation.name + (" (not comparable)" if evaluation.not_comparable else "")
            lines.append(f"| {label} | " + " | ".join([name, *cells, f"{values['n']:.0f}"]) + " |")
            if evaluation.published is not None:
                published[evaluation.published.source] = getattr(evaluation.published, direction)
        for source, row in published.items():
            lines.append(f"| {label} | " + " | ".join([source, *(f"{value:.1f}" for value in row), ""]) + " |")
    return "\n".join(lines)


def format_metric(evaluation: Evaluation, direction: str, metric: str) -> str:
    """A metric with its interval, for tables."""
    value = f"{getattr(evaluation, direction)[metric]:.1f}"
    interval = evaluation.intervals.get(direction, {}).get(metric)
    return value if interval is None else f"{value} ({interval[0]:.1f} to {interval[1]:.1f})"
