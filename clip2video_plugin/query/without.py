"""``--not``: videos that fit a negative sentence are left out, from a threshold on that the result names.

Scores are never subtracted, as that would lose wanted videos as well (benchmarks/negatives.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index import Hit
from clip2video_plugin.query.confidence import measured_of
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.query import Query
from clip2video_plugin.query.vectors import Vectors

# Videos whose scores say what is usual; the rows of windows that are read for that; videos in any case
SAMPLE, SAMPLE_ROWS, FEWEST = 500, 4_000, 16
# A negative holds at so many spreads above its usual score, but between these shares of the way from there to what a
# match scores; in the middle of them where fewer videos than ENOUGH say how wide a spread is. Measured with
# benchmarks/negatives.py.
SPREADS, ENOUGH, LEAST, MOST = 3.25, 50, 0.5, 0.85


@dataclass(frozen=True)
class Negative:
    """A sentence that videos must not fit, and how many were left out for it.

    ``dropped`` of the ``seen`` videos scored ``threshold`` or more. Of a video with windows, the best window counts.
    """

    text: str
    threshold: float
    dropped: int
    seen: int


class Without:
    """A ``Keep``: of hits, in order, those that fit none of the negatives [m, D]. Looks each video up once."""

    def __init__(
        self, texts: Sequence[str], vectors: NDArray[np.float32], thresholds: NDArray[np.float64], gallery: Gallery
    ) -> None:
        self._texts, self._vectors, self._thresholds, self._all = texts, vectors, thresholds, gallery
        self._fits = dict[str, NDArray[np.bool_]]()  # of each video, which of the negatives

    def __call__(self, hits: list[Hit]) -> list[Hit]:
        if self._all.keep is not None:
            hits = self._all.keep(hits)
        if new := [hit.id for hit in hits if hit.id not in self._fits]:
            for i, products in self._all.products(new, self._vectors).items():
                self._fits[i] = products.scores.max(axis=0) >= self._thresholds
        return [hit for hit in hits if hit.id in self._fits and not self._fits[hit.id].any()]

    @property
    def gallery(self) -> Gallery:
        """The gallery, of which only what is kept may be shown."""
        return replace(self._all, keep=self)

    @property
    def dropped(self) -> tuple[Negative, ...]:
        """For each of the negatives, what came of it so far."""
        fits = np.array(list(self._fits.values())).reshape(len(self._fits), len(self._texts))
        return tuple(
            Negative(text, float(threshold), int(count), len(fits))
            for text, threshold, count in zip(self._texts, self._thresholds, fits.sum(axis=0), strict=True)
        )


def without(query: Query, vectors: Vectors, gallery: Gallery) -> Without:
    """What a query must not show in a gallery, from the threshold on that it says, or the calibration, or the index.

    A calibration without captions, in which videos stood in place of sentences, says less than the index's own scores.
    """
    threshold = query.threshold
    if threshold is None and (calibration := measured_of(gallery, query.weight)) is not None:
        threshold = calibration.without
    if threshold is None:
        wanted = vectors.wanted if query.prompts and not query.like else vectors.wanted[:0]  # videos score otherwise
        thresholds = usual_thresholds(gallery, vectors.without, wanted)
    else:
        thresholds = np.full(len(query.without), threshold)
    return Without(query.without, vectors.without, thresholds, gallery)


def usual_thresholds(
    gallery: Gallery, negatives: NDArray[np.float32], wanted: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The score [m] from which each negative [m, D] holds in a video, from the index's own scores.

    What a match scores is the best that the negative or one of the ``wanted`` sentences [n, D] reaches anywhere.
    """
    everything = Gallery(gallery.videos)
    scores = sampled_scores(everything, negatives)
    if not len(scores):
        return np.full(len(negatives), np.inf)
    matches = [everything.nearest(np.vstack([wanted, one]), 1)[0].score for one in negatives]
    return np.array([_threshold(mine, match) for mine, match in zip(scores.T, matches, strict=True)])


def _threshold(scores: NDArray[np.float32], match: float) -> float:
    """From scores [n] of videos, without those that would be dropped: they may be many, and are not the usual.

    The spread is that below the median, as scores above are of videos that show some of it. Of few videos the lower
    quartile is the usual: most of them may show the negative.
    """
    threshold, left, many = np.inf, scores.astype(np.float64), len(scores) >= ENOUGH
    while True:
        usual = float(np.quantile(left, 0.5 if many else 0.25))
        way = (LEAST + MOST) / 2 * (match - usual)
        if many:
            spread = float(np.sqrt(np.mean((left[left <= usual] - usual) ** 2)))
            way = min(max(SPREADS * spread, LEAST * (match - usual)), MOST * (match - usual))
        now = usual + way
        threshold, before = min(threshold, now), threshold
        left = left[left < threshold]
        if threshold == before or not len(left):
            return threshold


def sampled_scores(gallery: Gallery, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores [n, m] of videos from all over the index, by their best windows, for vectors [m, D].

    Of long videos fewer, so that the rows that are read stay few.
    """
    rows, windows = gallery.videos.count(), 0 if gallery.windows is None else gallery.windows.count()
    count = min(SAMPLE, max(FEWEST, SAMPLE_ROWS * rows // max(windows, 1)))
    found = gallery.products(gallery.videos.some(count), vectors)
    return np.array([one.scores.max(axis=0) for one in found.values()], np.float32).reshape(-1, len(vectors))
