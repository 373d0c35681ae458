"""What an evaluation says: metrics, intervals, and how they compare to published numbers."""

from __future__ import annotations

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
    groups = int(group.max()) + 1
    counts = np.bincount(group, minlength=groups).astype(float)  # [G]
    rng = np.random.default_rng(seed)
    out = {}
    weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float32)  # [draws, G]
    for k in (1, 5, 10):
        hits = np.bincount(group, weights=(ranks <= k).astype(float), minlength=groups)  # [G]
        shares = 100 * (weights @ hits) / np.maximum(weights @ counts, 1)
        low, high = np.percentile(shares, [2.5, 97.5])
        out[f"R@{k}"] = (float(low), float(high))
    return out


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
