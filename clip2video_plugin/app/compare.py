"""Compares two runs on the same captions, query by query."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import fiftyone.core.collections as foc
import numpy as np

from clip2video_plugin.app.evaluate import evaluate
from clip2video_plugin.app.videos import captions_in, field_of_captions, videos_of
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.evaluation.report import Evaluation, bootstrap_difference


@dataclass(frozen=True)
class Change:
    """A query and the ranks of its video before and after."""

    caption: str
    sample_id: str
    path: str
    old: float
    new: float


@dataclass(frozen=True)
class Comparison:
    """``improved`` and ``broken`` queries, largest change first; ``unchanged`` is the number of the others.

    ``difference`` is new minus old R@1 in points, with its 95 % interval (bootstrap, the same videos for both).
    """

    old: Evaluation
    new: Evaluation
    improved: list[Change]
    broken: list[Change]
    unchanged: int
    difference: tuple[float, float, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(samples: foc.SampleCollection, old: str, new: str, **options: Any) -> Comparison:
    """Evaluates two brain keys and says which queries improved and which broke.

    Queries whose video only one of the runs could embed are left out of the comparison.

    Args:
        samples: the dataset or view, as for ``evaluate``.
        old: the brain key to compare with.
        new: the other brain key.
        options: those of ``evaluate``.

    Raises:
        Clip2VideoError: as ``evaluate``, or the keys are the same.
    """
    if old == new:
        raise Clip2VideoError(f"both runs are {old!r}; name two brain keys to compare")
    samples = videos_of(samples)
    before, after = (evaluate(samples, brain_key=key, **options) for key in (old, new))
    field = options.get("captions_field") or field_of_captions(samples)
    changes, ranks, group = list[Change](), list[tuple[float, float]](), list[int]()
    fields = ["id", "filepath", field, f"{old}_ranks", f"{new}_ranks"]
    for number, (sample, path, texts, was, now) in enumerate(zip(*samples.values(fields), strict=True)):
        if was is None or now is None:
            continue
        for caption, a, b in zip(captions_in(texts), was, now, strict=True):
            ranks.append((a, b))
            group.append(number)
            if a != b:
                changes.append(Change(caption, sample, path, a, b))
    if not ranks:
        raise Clip2VideoError(f"no video is in both runs, {old!r} and {new!r}")
    table = np.asarray(ranks)
    return Comparison(
        old=before,
        new=after,
        improved=sorted((c for c in changes if c.new < c.old), key=lambda c: c.new - c.old),
        broken=sorted((c for c in changes if c.new > c.old), key=lambda c: c.old - c.new),
        unchanged=len(ranks) - len(changes),
        difference=bootstrap_difference(table[:, 0], table[:, 1], np.unique(group, return_inverse=True)[1]),
    )
