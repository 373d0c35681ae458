"""Joins two rankings in one list: by vectors, of what is seen, and by the words of captions, of what is said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index import Hit
from clip2video_plugin.index.connection import chunks
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query.confidence import measured_of
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.query import Query
from clip2video_plugin.query.speech import said_at
from clip2video_plugin.query.vectors import encoded

FILMS = 50  # videos whose subtitles are in memory at once
TEXTS = 100  # videos whose captions hold all words, of which those that are also seen come first where the words tie
# Sentences about what no frame shows. What the best video scores for them is chance, whatever the model's scale.
FOREIGN = (
    "quarterly budget report",
    "password reset instructions",
    "shipping address and order number",
    "terms and conditions of sale",
    "minutes of the finance committee",
    "chapter four, second draft",
    "invoice for the third quarter",
    "contract renewal, signed copy",
    "episode twelve of season two",
    "curriculum for the spring term",
    "patent application, appendix",
    "opening hours of the town library",
    "lecture on medieval history",
    "letter to the tax adviser",
    "voicemail from the insurance company",
    "backup of the old server",
    "Margaret and Thomas, 1987",
    "Vienna, Monday afternoon",
    "Mrs Henderson",
    "Project Falcon, phase three",
    "Stockholm 2016",
    "Uncle Robert",
    "the Kowalski family",
    "Professor Nakamura",
    "room 214, second floor",
    "Buenos Aires, March 2009",
    "Victoria Lindqvist 2022",
    "conference call with Munich",
    "episode by Samuel, 1999",
    "Amsterdam office",
    "Mohammed and Claire",
    "the Reykjavik recordings",
)
# Standard deviations above chance from which a score is believed: benchmarks/captions.py --fit
BELIEVED = 4.0


def _asked(query: Query, gallery: Gallery) -> tuple[str, ...]:
    """The sentences whose words the text side looks for; none where there are no captions, or it is not to."""
    if query.captions is not None:
        sentences: tuple[str, ...] = (query.captions,)
    else:
        sentences = () if query.then else query.prompts
    wanted = tuple(text for text in sentences if text.strip())
    return wanted if wanted and gallery.videos.text.there else ()


def with_captions(
    hits: list[Hit], query: Query, gallery: Gallery, model: Model, wanted: NDArray[np.float32]
) -> tuple[list[Hit], tuple[str, ...]]:
    """The hits of the vector side with those whose captions hold all words of the query, and what those were asked.

    A vector that is credible goes before the captions, and the captions before one that is not: two rankings of which
    one knows nothing about the question must not be averaged. Captions that a query names itself go first. Of equally
    good captions the one that is also seen is first. Scores are those of the vectors, of all of them.

    Args:
        hits: by vector, best first, ``query.k`` at most.
        wanted: [n, D], of which a video scores the largest product; none of a query of captions alone, which are its
            sentences then.
    """
    sentences = _asked(query, gallery)
    if not sentences:
        return hits, ()
    if not len(wanted):
        wanted = encoded(sentences, query.weight, model)
    found = _found(sentences, query, gallery, wanted)
    if not found:
        return hits, sentences
    seen, more = {hit.id: hit.score for hit in hits}, found
    if len(found) >= query.k:  # others of the hits may say so as well
        more = found + _found(sentences, query, replace(gallery, ids=seen), wanted)
    said = {hit.id for hit in more}
    marked = [replace(hit, matched="both") if hit.id in said else hit for hit in hits]
    told = [replace(hit, matched="both", score=seen[hit.id]) if hit.id in seen else hit for hit in found]
    by_vector = query.captions is None and hits and hits[0].score >= credible(gallery, model, query.weight)
    order = [*marked, *told] if by_vector else [*told, *marked]
    unique = {hit.id: hit for hit in reversed(order)}  # the first of each
    kept = [unique.pop(hit.id) for hit in order if hit.id in unique]
    return [replace(hit, rank=rank) for rank, hit in enumerate(kept[: query.k], start=1)], sentences


def _found(sentences: tuple[str, ...], query: Query, gallery: Gallery, wanted: NDArray[np.float32]) -> list[Hit]:
    """The k best by their captions, with the scores of their vectors, and where a hit is said, when."""
    by_id = dict[str, tuple[float, str, Hit]]()
    for sentence in sentences:
        for hit in gallery.videos.text.search(
            sentence, query.k, pool=TEXTS, ids=gallery.ids, where=gallery.where, keep=gallery.keep
        ):
            by_id[hit.id] = max(by_id.get(hit.id, (0.0, "", hit)), (hit.score, sentence, hit), key=lambda one: one[0])
    scores = _scores(list(by_id), gallery, wanted)
    # Captions that a query names beside its prompt choose the videos, and the prompt their order
    choosing = query.captions is not None and bool(query.prompts or query.like)
    ordered = sorted(
        ((0.0 if choosing else round(words, 3), scores[i][0], i) for i, (words, _, _) in by_id.items()),
        key=lambda one: (-one[0], -one[1], one[2]),
    )
    out = list[Hit]()
    for hit, span in _told(gallery, [(by_id[i][2], by_id[i][1]) for _, _, i in ordered], query.k):
        score, window = scores[hit.id]
        start, end = span or window or (hit.start, hit.end)
        out.append(replace(hit, score=score, start=start, end=end))
        if len(out) == query.k:
            break
    return out


def _scores(
    ids: list[str], gallery: Gallery, wanted: NDArray[np.float32]
) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """What the vector side gives each of these videos, and its best window where that is better than the whole."""
    best = dict[str, tuple[float, tuple[float, float] | None]]()
    for table in (gallery.videos, gallery.windows):
        for i, (spans, products) in ({} if table is None else table.products(ids, wanted)).items():
            scores = products.max(axis=1)
            place = int(scores.argmax())
            if i not in best or scores[place] > best[i][0]:
                window = (float(spans[place, 0]), float(spans[place, 1])) if table is gallery.windows else None
                best[i] = float(scores[place]), window
    return {i: best.get(i, (0.0, None)) for i in ids}  # of a row that another process removed meanwhile


def _told(
    gallery: Gallery, hits: list[tuple[Hit, str]], portion: int
) -> Iterator[tuple[Hit, tuple[float, float] | None]]:
    """Hits with when they are said; without those whose words are said minutes apart. Read as they are asked for."""
    for part in chunks(hits, min(portion, FILMS)):
        rows = gallery.videos.captions([hit.id for hit, _ in part])
        for hit, sentence in part:
            captions, times = rows.get(hit.id, ([], []))
            span = said_at(sentence, captions, times) if times else None
            if span is None or not math.isnan(span[0]):
                yield hit, span


_levels = dict[tuple[str, str, str, float | None], tuple[int, float]]()


def credible(gallery: Gallery, model: Model, weight: float | None = None) -> float:
    """The score from which the best hit of a sentence is believed.

    The calibration's where the index was calibrated by its captions; else what stands out from the best scores of
    sentences about things that no frame shows (``FOREIGN``), asked once of an index, and again when it has half as
    many videos more or less.
    """
    if (calibration := measured_of(gallery, weight)) is not None:
        return calibration.credible
    index = gallery.videos
    rows, key = index.count(), (index.uri, index.identity, model.sha256, weight)
    known = _levels.get(key)
    if known is None or not 2 / 3 <= rows / known[0] <= 3 / 2:
        everything = Gallery(index)
        tops = [hit.score for vector in encoded(FOREIGN, weight, model) for hit in everything.nearest(vector[None], 1)]
        _levels[key] = known = rows, float(np.mean(tops) + BELIEVED * np.std(tops))
    return known[1]
