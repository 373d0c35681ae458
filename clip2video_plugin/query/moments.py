"""Where in a video a query fits: scores over time out of its windows, and the moments that stand out of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index import Hit, Span
from clip2video_plugin.query.gallery import Gallery, Windows

SHARE = 0.8  # of the way from a video's mean to its best, from where on something is a moment
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
    def threshold(self) -> float:
        """The score from which a time belongs to a moment: four fifths of the way from the mean to the best.

        Relative to the video's own scores, as those of models differ, and never above the best of them.
        """
        best = float(self.scores.max())
        lengths = np.diff(self.edges)
        mean = float(self.scores @ lengths) / (lengths.sum() or math.inf)
        return min(mean + SHARE * (best - mean), best)

    def spans(self, threshold: float | None = None) -> tuple[Span, ...]:
        """The stretches that score ``threshold`` or more, the video's own by default, the best first."""
        least = self.threshold if threshold is None else threshold
        marked = np.concatenate([[False], self.scores >= least, [False]])
        ends = np.flatnonzero(marked[1:] != marked[:-1]).reshape(-1, 2).tolist()
        found = [Span(float(self.edges[a]), float(self.edges[b]), float(self.scores[a:b].max())) for a, b in ends]
        return tuple(sorted(found, key=lambda span: (-span.score, span.start)))


def spans(windows: Windows, vectors: NDArray[np.float32], *, threshold: float | None = None) -> tuple[Span, ...]:
    """The moments of a video that fit a query, the best first; at least one, unless a threshold is given.

    Args:
        windows: of the video; of one without, a single one is the whole of it.
        vectors: of the query [D], or of its alternatives [n, D].
        threshold: the score from which a time belongs to a moment; ``Curve.threshold`` by default.
    """
    return Curve.of(windows, vectors).spans(threshold)


def with_moments(hits: Sequence[Hit], gallery: Gallery, vectors: NDArray[np.float32]) -> list[Hit]:
    """The hits with their ``moments``, for query vectors [n, D]; of videos whose length nobody knows there are none."""
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
