"""Test queries for an index, with their hits, from which a calibration is learnt."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.resources import files
from typing import cast

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.index import Hit, VideoIndex
from clip2video_plugin.index.calibration import sample_rows
from clip2video_plugin.index.schema import CAPTION_TIMES
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query.confidence import features_of, own_scores
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.vectors import encoded as some_encoded

QUERIES, SAMPLE = 1_000, 2_000  # most that ask, and videos beside theirs that they are asked of
VECTORS = 50_000  # of windows, as so many videos
WHOLE = 300  # most queries that are asked of all of a table that is larger
ENOUGH = 20  # captioned videos
HITS = 10  # of a query that are looked at
OWN = 2  # captions of a video, beside the one that asks, which say how well it may be described
COVERED = 0.8  # share of the videos of which that has to be known
DESCRIBING = 0.1  # captions whose own video is on the median beyond this share of the gallery describe no videos
NEIGHBOURS, NEAR = 10, (0.9, 1.0)  # of a video that stands for a sentence: towards whom, and how much is its own
ENCODED = 256  # sentences at once
SENTENCES = 128  # of each kind by which the recall of a vector index is measured
THERE, GONE, STRANGE = range(3)  # kinds of examples: asked with the right video, without it, about other things

Array = NDArray[np.float64]
Places = NDArray[np.int64]


def everyday() -> list[str]:
    """Plain sentences about everyday videos, which ship with the package."""
    return files("clip2video_plugin.query").joinpath("data/everyday.txt").read_text(encoding="utf-8").splitlines()


def encoded(texts: list[str], model: Model, weight: float | None = None) -> NDArray[np.float32]:
    """Query vectors [n, D] of many sentences; ``weight`` as in a query."""
    parts = [texts[n : n + ENCODED] for n in range(0, len(texts), ENCODED)]
    return np.concatenate([some_encoded(part, weight, model) for part in parts])


def sentences(index: VideoIndex, model: Model, seed: int = 0) -> NDArray[np.float32]:
    """Vectors [n, D] of sentences that may be asked of an index: captions of its videos and everyday ones, by seed.

    Both halves count alike in them, whatever the model's own weight.
    """
    rows, random = sample_rows(index, SENTENCES, seed, captioned=True), np.random.default_rng(seed)
    texts = [text for row in rows.values() for text in row["captions"] if text and text.strip()]
    some = [texts[n] for n in random.permutation(len(texts))[:SENTENCES]]
    plain = everyday()
    return encoded([*some, *(plain[n] for n in random.permutation(len(plain))[:SENTENCES])], model, 0.5)


@dataclass(frozen=True)
class Captions:
    """A caption of each video that asks for it, vectors [n, D], and ``others`` of the same video, [m, D] each."""

    ids: list[str]
    vectors: NDArray[np.float32]
    others: list[NDArray[np.float32]]

    def apart(self) -> Captions:
        """Every caption as one that asks."""
        each = [np.concatenate([one[None], more]) for one, more in zip(self.vectors, self.others, strict=True)]
        ids = [i for i, some in zip(self.ids, each, strict=True) for _ in some]
        return Captions(ids, np.concatenate(each), [self.vectors[:0]] * len(ids))


def captions_of(videos: VideoIndex, model: Model, seed: int, weight: float | None = None) -> Captions | None:
    """Captions of up to 1,000 videos, drawn by seed; None where fewer than 20 have some."""
    random, texts = np.random.default_rng(seed), dict[str, list[str]]()
    for i, row in sample_rows(videos, QUERIES, seed, captioned=True).items():
        times = row.get(CAPTION_TIMES.name) or [None] * len(row["captions"])  # what is said is not what is shown
        shown = [text for text, when in zip(row["captions"], times, strict=False) if text and text.strip() and not when]
        known = list(dict.fromkeys(shown))
        texts[i] = [known[n] for n in random.permutation(len(known))[: 1 + OWN]]
    texts = {i: some for i, some in texts.items() if some}
    if len(texts) < ENOUGH:
        return None
    vectors = encoded([text for some in texts.values() for text in some], model, weight)
    parts = np.split(vectors, np.cumsum([len(some) for some in texts.values()])[:-1])
    return Captions(list(texts), np.stack([part[0] for part in parts]), [part[1:] for part in parts])


@dataclass(frozen=True)
class Examples:
    """Queries and their best hits: ``features`` [e, k, f] of these (``confidence.features_of``), best first.

    ``right`` [e] is the place of the right one among them, -1 of none; ``size`` the gallery's, ``query`` says whose
    example it is, ``kind`` which: THERE, GONE or STRANGE.
    """

    features: Array
    right: Places
    size: Places
    query: Places
    kind: Places

    def part(self, which: NDArray[np.bool_]) -> Examples:
        """Some of them."""
        return Examples(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def joined(cls, parts: list[Examples]) -> Examples:
        """All of several."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


class Asked:
    """Queries of a sample of a table's videos.

    Attributes:
        source: "captions" or "videos".
        target: [q] the right video of each query, as its place in the sample.
        foreign: [m, D] vectors of sentences about other things.
        own: id -> score of a video with its own captions, where that is known of nearly all.
    """

    def __init__(
        self, gallery: Gallery, table: VideoIndex, captions: Captions | None, foreign: NDArray[np.float32], seed: int
    ) -> None:
        self.gallery, self.table, self.foreign = gallery, table, foreign
        self.random = np.random.default_rng(seed)
        self.total = gallery.videos.count()
        self._sample(captions.ids if captions else [], seed)
        self.own = dict[str, float]()
        if captions is None or not self._by_captions(captions):
            self._by_videos()

    def _sample(self, first: list[str], seed: int) -> None:
        """The vectors of a video lie together, from ``starts`` on."""
        most = SAMPLE if not self.table.is_windows else max(ENOUGH, VECTORS * self.total // max(self.table.count(), 1))
        others = sample_rows(self.gallery.videos, SAMPLE, seed)
        ids = list(dict.fromkeys([*first[:most], *others]))[: max(most, len(first[:most]))]
        whole = self.gallery.videos.vectors(ids)
        self.ids = [i for i in ids if i in whole]  # another process may have removed some
        parts = {i: [whole[i][None]] for i in self.ids}
        if self.table.is_windows:
            for i, (_, vectors) in self.table.windows_by_video(self.ids).items():
                parts[i].append(vectors)
        groups = [np.concatenate(parts[i]) for i in self.ids]
        self.vectors = np.concatenate(groups)
        self.starts = np.cumsum([0, *map(len, groups)])[:-1]
        self.place = {i: n for n, i in enumerate(self.ids)}

    def _products(self, queries: NDArray[np.float32]) -> Array:
        """[q, n]: of each video its best vector."""
        return np.maximum.reduceat(queries @ self.vectors.T, self.starts, axis=1).astype(np.float64)

    def _by_captions(self, captions: Captions) -> bool:
        known = [n for n, i in enumerate(captions.ids) if i in self.place]
        self.source = "captions"
        self.queries = captions.vectors[known]
        self.target = np.array([self.place[captions.ids[n]] for n in known])
        self.scores = self._products(self.queries)
        self.scale, self.shift = 1.0, 0.0
        if np.median((self.scores > self._mine()).mean(axis=1)) > DESCRIBING:
            return False
        own = {
            captions.ids[n]: float(self._products(captions.others[n])[:, place].mean())
            for n, place in zip(known, self.target, strict=True)
            if len(captions.others[n])
        }
        self.own = own if len(own) >= COVERED * self.total else {}
        return True

    def _by_videos(self) -> None:
        """A vector near that of a video, off towards its neighbours, stands for a sentence.

        Videos score otherwise with each other than with sentences, so their scores are moved and stretched until those
        with other videos have the mean and the deviation of foreign sentences'.
        """
        self.source = "videos"
        self.target = np.sort(self.random.permutation(len(self.ids))[:QUERIES])
        ends = np.append(self.starts[1:], len(self.vectors))
        alone = self.vectors[self.random.integers(self.starts[self.target], ends[self.target])]
        others = self._products(alone)
        others[np.arange(len(alone)), self.target] = -np.inf
        near = np.argsort(-others, axis=1)[:, :NEIGHBOURS]
        apart = self.vectors[self.starts[near]] - self.vectors.mean(axis=0)  # [q, neighbours, D]
        off = np.einsum("qn,qnd->qd", self.random.standard_normal(near.shape), apart)
        share = self.random.uniform(*NEAR, (len(alone), 1))
        queries = share * alone + np.sqrt(1 - share**2) * off / np.linalg.norm(off, axis=1, keepdims=True)
        self.queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        usual, strange = others[np.isfinite(others)], self._products(self.foreign)
        self.scale = float(strange.std() / max(usual.std(), 1e-9))
        self.shift = float(strange.mean() - self.scale * usual.mean())
        self.scores = self.scale * self._products(self.queries) + self.shift

    def _mine(self) -> Array:
        """[q, 1]: of each query the score of its own video."""
        return cast("Array", np.take_along_axis(self.scores, self.target[:, None], axis=1))

    def without(self) -> float:
        """Half-way from what nearly all own videos reach (95 %) to what few others do (5 %)."""
        others = self.scores.copy()
        others[np.arange(len(others)), self.target] = np.nan
        return float(np.quantile(self._mine(), 0.05) + np.nanquantile(others, 0.95)) / 2

    def owners(self, places: Places) -> Places:
        """Whose the vectors of the sample are, as places of videos in it."""
        owners: Places = np.searchsorted(self.starts, places, side="right") - 1
        return owners

    def candidates(self, count: int) -> tuple[Array, Places]:
        """The scores [q, c] of the best videos of each query, best first, and where their best vectors are [q, c]."""
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :count]
        ends, places = np.append(self.starts[1:], len(self.vectors)), np.empty_like(order)
        for query, row, place in zip(self.queries, order, places, strict=True):
            for n, video in enumerate(row):
                start, end = self.starts[video], ends[video]
                place[n] = start + (0 if end == start + 1 else int((self.vectors[start:end] @ query).argmax()))
        return np.take_along_axis(self.scores, order, axis=1), places

    def best(self, queries: NDArray[np.float32]) -> list[str]:
        """The id of the best video of the whole table for each query."""
        if self.total <= len(self.ids):
            parts = [self._products(queries[n : n + ENCODED]).argmax(axis=1) for n in range(0, len(queries), ENCODED)]
            return [self.ids[n] for n in np.concatenate(parts)]
        return [self._nearest(query)[0].id for query in queries]

    def examples(self) -> Examples:
        """What the queries meet in the sample, in a half and a quarter of it, and some of them in the whole table."""
        n, parts = len(self.ids), list[Examples]()
        strange = self._products(self.foreign)
        for share in (1, 2, 4):
            if n // share <= HITS:
                break
            chosen = np.sort(self.random.permutation(n)[: n // share])
            place = np.full(n, -1)
            place[chosen] = np.arange(len(chosen))
            own = own_scores(self.own, [self.ids[c] for c in chosen])
            right = place[self.target]
            there = np.flatnonzero(right >= 0)
            scores = self.scores[:, chosen]
            parts.append(_met(scores[there], own, right[there], there, THERE))
            gone = scores.copy()
            gone[there, right[there]] = -np.inf
            parts.append(_met(gone, own, np.full(len(gone), -1), np.arange(len(gone)), GONE))
            none = np.full(len(strange), -1)
            parts.append(_met(strange[:, chosen], own, none, np.arange(len(strange)), STRANGE))
        if self.total > n:
            parts += self._asked_of_all()
        return Examples.joined(parts)

    def _asked_of_all(self) -> list[Examples]:
        """By the search of the whole table."""
        out = list[Examples]()
        for n, query in enumerate(self.queries[:WHOLE]):
            hits = self._nearest(query)
            mine = [hit.id == self.ids[self.target[n]] for hit in hits]
            scores = np.array([[self.scale * hit.score + self.shift for hit in hits]])
            own, number = own_scores(self.own, [hit.id for hit in hits]), np.array([n])
            right = np.array([mine.index(True) if any(mine) else -1])
            out.append(_met(scores, own, right, number, THERE, self.total))
            out.append(_met(np.where(mine, -np.inf, scores), own, np.array([-1]), number, GONE, self.total))
        for n, query in enumerate(self.foreign[:WHOLE]):
            hits = self._nearest(query)
            scores, own = np.array([[hit.score for hit in hits]]), own_scores(self.own, [hit.id for hit in hits])
            out.append(_met(scores, own, np.array([-1]), np.array([n]), STRANGE, self.total))
        return out

    def _nearest(self, query: NDArray[np.float32]) -> list[Hit]:
        if self.table.is_windows:
            return self.gallery.nearest(query[None], HITS + 1)
        return self.table.search(query, HITS + 1)


def _met(scores: Array, own: Array, right: Places, query: Places, kind: int, size: int | None = None) -> Examples:
    """The best hits of queries by their scores [q, n]; ``right`` [q] is a column of these, -1 of none."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :HITS]
    best = np.take_along_axis(scores, order, axis=1)
    size = scores.shape[1] if size is None else size
    where = order == right[:, None]
    return Examples(
        features_of(best, best - best[:, :1], own[order], size),
        np.where(where.any(axis=1), where.argmax(axis=1), -1),
        np.full(len(scores), size),
        query,
        np.full(len(scores), kind),
    )
