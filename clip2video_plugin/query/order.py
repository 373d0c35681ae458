"""One thing, then another: the videos that show the parts of a query in their order.

In a video of several windows each part has a window of its own, one after another (``in_order``), and the video
scores the mean of the parts. A video of one window, or of too few for the parts, is asked as a whole for the sentence
"A, then B", as models are trained to see order within their frames, and scores what that does. Both are what a text
scores with a video, so they stand in one ranking as they are (benchmarks/order.py); they are never added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.bounds import MAX_K
from clip2video_plugin.index import Hit, Span
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.query import Query
from clip2video_plugin.query.vectors import Vectors, vectors_of

CLOSE = 1e-6  # seconds that count as none
AT_FIRST, AT_MOST = 100, 6_400  # videos taken for each part
AT_ONCE = 64  # videos whose windows are read together
ROUNDING = 1e-5  # of products that are computed in two ways


@dataclass(frozen=True)
class Parts:
    """What comes one after another: ``parts`` are vectors [a, D] each, of alternatives where there are several.

    ``sentence`` [b, D] says all of it at once.
    """

    parts: Sequence[NDArray[np.float32]]
    sentence: NDArray[np.float32]


def parts_of(query: Query, vectors: Vectors, model: Model) -> Parts:
    """The parts of a query, and its prompts with all that comes then as sentences.

    Where an example stands in place of a sentence, or beside one, the mean of the parts' vectors does. What is looked
    for in captions alone is no part.
    """
    parts = [part for part in (vectors.wanted, *vectors.then[:, None]) if len(part)]
    if query.prompts and not query.like:
        sentences = tuple(
            ", then ".join(text.strip().rstrip(".") for text in (one, *query.then)) for one in query.prompts
        )
        return Parts(parts, vectors_of(Query(sentences, query.how, weight=query.weight), model).wanted)
    first = vectors.wanted if len(vectors.wanted) else np.zeros_like(vectors.then[:1])
    return Parts(parts, (first + vectors.then.sum(axis=0)) / np.float32(len(parts)))


def in_order(spans: NDArray[np.float64], scores: NDArray[np.float32]) -> list[int] | None:
    """The windows [p] of ``spans`` [n, 2], one for each part, with the largest sum of ``scores`` [n, p] in order.

    best_i[t] = score_i[t] + max of best_(i-1)[t'] over the windows t' whose middle half ends before that of t begins:
    of windows of one length, those that begin half a window earlier. Of equal ones the earliest. None where the
    windows are too few.
    """
    length = spans[:, 1] - spans[:, 0]
    begins, ends = spans[:, 0] + length / 4, spans[:, 1] - length / 4
    by_end = np.argsort(ends, kind="stable")
    before = np.searchsorted(ends[by_end], begins + CLOSE, side="right")  # how many windows each may follow
    best, chosen = scores[:, 0].astype(np.float64), list[NDArray[np.int64]]()
    for score in scores.T[1:]:
        ordered = best[by_end]
        most = np.maximum.accumulate(ordered)
        leads = np.maximum.accumulate(np.where(np.r_[True, most[1:] > most[:-1]], np.arange(len(best)), 0))
        last = np.maximum(before - 1, 0)
        chosen.append(by_end[leads[last]])
        best = np.where(before > 0, most[last], -np.inf) + score
    place = int(np.argmax(best))
    if best[place] == -np.inf:
        return None
    path = [place]
    for back in reversed(chosen):
        path.append(int(back[path[-1]]))
    return path[::-1]


def ordered(asked: Parts, gallery: Gallery, k: int) -> list[Hit]:
    """The k videos of a gallery that show the parts best in their order; ``moments`` are their spans, in order.

    The candidates are the videos nearest to each part and to the sentence. One that is among none of them scores no
    more than the last of each do, on average: while that could be one of the k best, four times as many are taken
    (the threshold algorithm of Fagin, Lotem and Naor, 2001). So nothing is missed unless AT_MOST of each do not
    suffice: then it may be a video whose every part that many others show better.
    """
    count, known = max(AT_FIRST, 2 * k), dict[str, Hit]()
    while True:
        lists = [gallery.nearest(vectors, min(count, MAX_K)) for vectors in (*asked.parts, asked.sentence)]
        least = [found[-1].score if len(found) >= min(count, MAX_K) else -np.inf for found in lists]
        scores = [{hit.id: hit.score for hit in found} for found in lists]
        hits = {hit.id: hit for found in lists for hit in found}
        promising = sorted(hits.keys() - known.keys(), key=lambda i: -_most(i, scores, least))
        while promising and not _sure(known, k, _most(promising[0], scores, least)):
            known |= _scored(asked, gallery, [hits[i] for i in promising[:AT_ONCE]])
            promising = promising[AT_ONCE:]
        if count >= AT_MOST or _sure(known, k, _most("", scores, least)):
            best = sorted(known.values(), key=lambda hit: (-hit.score, hit.id))[:k]
            return [replace(hit, rank=rank) for rank, hit in enumerate(best, start=1)]
        count *= 4


def _most(i: str, scores: Sequence[dict[str, float]], least: Sequence[float]) -> float:
    """The most that a video can score: what is known of its parts and sentence, else the least of those known."""
    *parts, sentence = (mine.get(i, last) for mine, last in zip(scores, least, strict=True))
    return max(sum(parts) / len(parts), sentence)


def _sure(known: dict[str, Hit], k: int, bound: float) -> bool:
    """Whether nothing that scores ``bound`` at most is one of the k best."""
    if bound == -np.inf:
        return True
    return len(known) >= k and sorted((hit.score for hit in known.values()), reverse=True)[k - 1] > bound + ROUNDING


def _scored(asked: Parts, gallery: Gallery, hits: Sequence[Hit]) -> dict[str, Hit]:
    """id -> hit with its score, its parts as ``moments``, and ``start`` and ``end`` of all of them."""
    out, starts = dict[str, Hit](), np.cumsum([0, *(len(part) for part in asked.parts[:-1])])
    windows = gallery.products([hit.id for hit in hits], np.concatenate(asked.parts))
    for hit in hits:
        if hit.id in windows and len(spans := windows[hit.id].spans) >= len(asked.parts):
            scores = np.maximum.reduceat(windows[hit.id].scores, starts, axis=1)
            if (path := in_order(spans, scores)) is not None:
                moments = tuple(
                    Span(float(spans[t, 0]), float(spans[t, 1]), float(scores[t, i])) for i, t in enumerate(path)
                )
                out[hit.id] = replace(
                    hit,
                    score=float(np.mean([moment.score for moment in moments])),
                    start=moments[0].start,
                    end=max(moment.end for moment in moments),
                    moments=moments,
                )
    wholes = gallery.videos.products([hit.id for hit in hits if hit.id not in out], asked.sentence)
    for hit in hits:
        if hit.id in wholes:
            (start, end), score = wholes[hit.id][0][0].tolist(), float(wholes[hit.id][1].max())
            out[hit.id] = replace(hit, score=score, start=start, end=None if end == np.inf else end)
    return out
