"""Hits that differ from each other: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clip2video_plugin.bounds import MAX_K
from clip2video_plugin.index import Hit
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.query import Query

POOL, LEAST = 5, 50  # hits that are chosen from: times those wanted, and at least


def wider(query: Query) -> Query:
    """The query with as many hits as are chosen from; itself, where hits need not differ."""
    return replace(query, k=min(max(POOL * query.k, LEAST), MAX_K)) if query.diversity else query


def diverse(hits: list[Hit], gallery: Gallery, query: Query) -> list[Hit]:
    """The best ``query.k`` of the hits of ``wider(query)``, each as good, and as unlike those before it, as asked for.

    Chosen one by one, that with the largest (1 - d) r - d s: r is its score on the scale of all of them, 0 to 1, of a
    hit that something else than its score put before others as good as theirs; s, 0 to 1, how like it is to the most
    similar one chosen, the cosine of their vectors around the mean of all.
    """
    if not query.diversity or len(hits) < 2:
        return hits[: query.k]
    found = gallery.videos.vectors([hit.id for hit in hits])
    hits = [hit for hit in hits if hit.id in found]
    vectors = np.stack([found[hit.id] for hit in hits]).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    score = np.maximum.accumulate(np.array([hit.score for hit in hits])[::-1])[::-1]
    relevance = (score - score[-1]) / max(score[0] - score[-1], 1e-9)
    likeness = np.zeros(len(hits))
    left, chosen = np.ones(len(hits), bool), list[Hit]()
    for rank in range(1, min(query.k, len(hits)) + 1):
        worth = (1 - query.diversity) * relevance - query.diversity * likeness
        best = int(np.where(left, worth, -np.inf).argmax())
        left[best] = False
        chosen.append(replace(hits[best], rank=rank))
        likeness = np.maximum(likeness, (1 + vectors @ vectors[best]) / 2)
    return chosen
