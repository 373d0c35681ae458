"""What an evaluation says: metrics, intervals, and how they compare to published numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS = ("R@1", "R@5", "R@10", "MdR", "MnR")
DRAWS = 1000
Row = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Published:
    """Numbers that the authors of a paper report, in the order of ``METRICS``."""

    source: str
    t2v: Row
    v2t: Row


@dataclass(frozen=True)
class Evaluation:
    """Retrieval metrics of one model on one gallery.

    ``t2v`` and ``v2t`` hold R@1, R@5, R@10 (percent), MdR, MnR and n; ``intervals`` the 95 % bootstrap
    intervals of the recalls, by direction and metric, drawn over videos.
    """

    name: str
    model: str
    videos: int
    captions: int
    ties: str
    t2v: dict[str, float]
    v2t: dict[str, float]
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    protocol: str | None = None
    not_comparable: str | None = None
    published: Published | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def bootstrap(
    ranks: NDArray[np.float64], group: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the recalls in percent; whole groups (the captions of a video) are drawn together.

    Args:
        ranks: [T] ranks of the queries.
        group: [T] the video of each query, 0 ... G-1.
    """
    share = _resampled(group, draws, seed)
    return {f"R@{k}": _interval(share((ranks <= k).astype(float))) for k in (1, 5, 10)}


def bootstrap_difference(
    old: NDArray[np.float64], new: NDArray[np.float64], group: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """New minus old R@1 in points and its 95 % interval, for ranks [T] of the same queries."""
    gained = (new <= 1).astype(float) - (old <= 1).astype(float)
    return (100 * float(gained.mean()), *_interval(_resampled(group, draws, seed)(gained)))


def _resampled(group: NDArray[np.int64], draws: int, seed: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A function from values [T] to their means, in percent, over ``draws`` resamplings of whole groups."""
    groups = int(group.max()) + 1
    counts = np.bincount(group, minlength=groups).astype(float)  # [G]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float32)  # [draws, G]

    def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(group, weights=values, minlength=groups)  # [G]
        return np.asarray(100 * (weights @ sums) / np.maximum(weights @ counts, 1))

    return means


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
            lines.append(f"| {label} | " + " | ".join([source, *(f"{value:g}" for value in row), ""]) + " |")
    return "\n".join(lines)


def format_metric(evaluation: Evaluation, direction: str, metric: str) -> str:
    """A metric with its interval, for tables."""
    value = f"{getattr(evaluation, direction)[metric]:.1f}"
    interval = evaluation.intervals.get(direction, {}).get(metric)
    return value if interval is None else f"{value} ({interval[0]:.1f} to {interval[1]:.1f})"
