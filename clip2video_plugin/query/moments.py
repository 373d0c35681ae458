"""Where in a video a query fits: scores over time out of its windows, and the moments that stand out of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index import Hit, Span
from clip2video_plugin.query.gallery import Gallery, Windows

# Shares of the way from the mean of a video's scores to a peak: what a moment's own peak has at least, of that to the
# best peak; and down to where a moment reaches, of that to its own.
LEAST, ENDS = 0.6, 0.8
READ_SECONDS, UNKNOWN = 7200.0, 60.0  # of videos whose windows are read at once; a length where none is known


@dataclass(frozen=True)
class Curve:
    """Scores of a video over time: ``scores`` [n], each from ``edges[i]`` to ``edges[i + 1]`` of [n + 1] seconds.

    A time is as good as the best window over it. Windows inside an event score high and reach from its start to its
    end; of those that cross its ends the long ones dilute it and the short ones miss it.
    """

    edges: NDArray[np.float64]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, windows: Windows, vectors: NDArray[np.float32]) -> Curve:
        """By the largest product of a window with any of the query vectors [n, D], or with the one [D]."""
        scores = (windows.vectors @ np.atleast_2d(vectors).T).max(axis=1)
        edges = np.unique(windows.spans)
        if len(edges) == 1:  # of a single frame
            return cls(np.repeat(edges, 2), scores.max(keepdims=True))
        places = np.searchsorted(edges, windows.spans)
        over = np.full(len(edges) - 1, scores.min(), np.float32)
        for n in np.argsort(scores, kind="stable").tolist():  # the best last, over all others
            over[places[n, 0] : places[n, 1]] = scores[n]
        return cls(edges, over)

    @property
    def mean(self) -> float:
        """The mean score over time."""
        lengths = np.diff(self.edges)
        return float(self.scores @ lengths) / (lengths.sum() or math.inf)

    @property
    def threshold(self) -> float:
        """The score from which a peak is a moment: relative to the video's own, and never above the best of them."""
        best = float(self.scores.max())
        return min(self.mean + LEAST * (best - self.mean), best)

    def spans(self, threshold: float | None = None) -> tuple[Span, ...]:
        """The moments whose best score is ``threshold`` or more, the video's own by default, the best first.

        A moment reaches as far as scores stay near its peak; a peak from which a better one is reached so is part of
        that one's.
        """
        least, mean = self.threshold if threshold is None else threshold, self.mean
        found, claimed = list[Span](), np.zeros(len(self.scores), bool)
        for peak in np.argsort(-self.scores, kind="stable").tolist():
            score = float(self.scores[peak])
            if score < least:
                break
            if claimed[peak]:
                continue
            low = np.flatnonzero(self.scores < min(mean + ENDS * (score - mean), score))
            place = int(np.searchsorted(low, peak))
            first = int(low[place - 1]) + 1 if place else 0
            last = int(low[place]) if place < len(low) else len(self.scores)
            if not claimed[first:last].any():
                found.append(Span(float(self.edges[first]), float(self.edges[last]), score))
            claimed[first:last] = True
        return tuple(found)


def spans(windows: Windows, vectors: NDArray[np.float32], *, threshold: float | None = None) -> tuple[Span, ...]:
    """The moments of a video that fit a query, the best first; at least one, unless a threshold is given.

    Args:
        windows: of the video; of one without, a single one is the whole of it.
        vectors: of the query [D], or of its alternatives [n, D].
        threshold: the score from which a peak is a moment; ``Curve.threshold`` by default.
    """
    return Curve.of(windows, vectors).spans(threshold)


def with_moments(hits: Sequence[Hit], gallery: Gallery, vectors: NDArray[np.float32]) -> list[Hit]:
    """The hits with their ``moments``, for query vectors [n, D]; of videos whose length nobody knows there are none."""
    if not len(vectors):
        return list(hits)
    out = list[Hit]()
    for some in _parts(hits):
        windows = gallery.windows_of([hit.id for hit in some])
        for hit in some:
            mine = windows.get(hit.id)
            if mine is not None and math.isinf(mine.spans[-1, 1]) and hit.duration:
                mine = replace(mine, spans=np.array([[mine.spans[-1, 0], hit.duration]]))
            known = mine is not None and np.isfinite(mine.spans).all()
            out.append(replace(hit, moments=spans(mine, vectors)) if mine is not None and known else hit)
    return out


def _parts(hits: Sequence[Hit]) -> Iterator[list[Hit]]:
    """So many at a time that their windows fit into memory."""
    part, seconds = list[Hit](), 0.0
    for hit in hits:
        length = hit.duration or UNKNOWN
        if part and seconds + length > READ_SECONDS:
            yield part
            part, seconds = [], 0.0
        part.append(hit)
        seconds += length
    if part:
        yield part
