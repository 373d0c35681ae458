"""Recall of a table's vector index on vectors of its own: what it finds against exact products with every row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.query import LanceVectorQueryBuilder
from numpy.typing import NDArray

from clip2video_plugin.index.tuning import ALL_LISTS, WHOLE, Tuning
from clip2video_plugin.index.view import vectors_of

K, HELD = 10, 0.99  # hits of a query, and the share of them that has to be found
QUERIES = 128  # of each kind
OTHERS = 1  # the seed of those that nothing is chosen on
WEIGHTS = (0.0, 0.5, 1.0)  # of the global half of a query
EQUAL = 1e-6  # scores that differ by less are equal: products in another order differ in the last bits
TIED = 1_000  # most rows that are remembered of those that score as the last hit
TOGETHER = 64  # queries in one question to the table
# And at most so many bytes of whole vectors that are read for them, and rows that are found in all lists together.
REFINED, GATHERED = 32 * 1024**2, 4_000_000
BATCH = 1_024  # rows that are read at once, 4 MB of vectors of 1,024 numbers

Floats = NDArray[np.float32]
Sentences = Callable[[], Floats]  # vectors [n, D] of sentences, both halves weighted alike


@dataclass(frozen=True)
class Queries:
    """Vectors [n, D], and of each its kind, as a number of ``kinds``."""

    kinds: tuple[str, ...]
    vectors: Floats
    kind: NDArray[np.int64]

    def part(self, which: slice) -> Queries:
        """Some of them."""
        return Queries(self.kinds, self.vectors[which], self.kind[which])

    def by_kind(self, found: NDArray[np.int64]) -> dict[str, float]:
        """The mean recall of each kind, of how many of the K best were found for each query."""
        return {name: float(found[self.kind == n].mean()) / K for n, name in enumerate(self.kinds)}


@dataclass(frozen=True)
class Best:
    """The exact answers: ``last`` [n] is the score of the K-th best, ``rows`` the row ids of all that reach it."""

    last: Floats
    rows: list[NDArray[np.uint64]]


@dataclass(frozen=True)
class Recall:
    """Recall@K of a table by kind of query, with the settings it was asked with and the seconds that measuring took.

    ``settings`` is None where the table has no vector index: every row is read.
    """

    table: str
    rows: int
    recall: dict[str, float]
    settings: Tuning | None
    seconds: float

    @property
    def problem(self) -> str | None:
        """What is wrong, in words."""
        low = {kind: share for kind, share in self.recall.items() if share < HELD}
        if not low:
            return None
        kind = min(low, key=lambda one: low[one])
        return (
            f"the vector index finds {low[kind]:.3f} of the {K} best for {kind} (at least {HELD} is wanted); "
            "to choose its settings anew: c2v index optimize"
        )


def queries_of(table: Any, sentences: Floats | None, seed: int, count: int = QUERIES) -> Queries:
    """Rows of a table and sentences, up to ``count`` of each drawn by seed, with each of ``WEIGHTS``."""
    random, rows = np.random.default_rng(seed), int(table.count_rows())
    places = np.sort(random.choice(rows, min(count, rows), replace=False)).tolist()
    drawn = {"rows": vectors_of(table.take_offsets(places).select(["vector"]).to_arrow())}
    if sentences is not None and len(sentences):
        drawn["sentences"] = sentences[random.permutation(len(sentences))[:count]]
    kinds, vectors, kind = list[str](), list[Floats](), list[int]()
    for name, some in drawn.items():
        some = some[random.permutation(len(some))]
        for w in WEIGHTS:
            vectors.append(weighted(some, w))
            kind += [len(kinds)] * len(some)
            kinds.append(f"{name}, w = {w:g}")
    order = random.permutation(len(kind))
    return Queries(tuple(kinds), np.concatenate(vectors)[order], np.array(kind, np.int64)[order])


def weighted(vectors: Floats, w: float) -> Floats:
    """Vectors [n, D] whose global half counts w and whose aligned half 1 - w, as in a query."""
    if w == 0.5 or vectors.shape[1] % 2:
        return vectors
    halves = np.split(vectors, 2, axis=1)
    first, second = (half / np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-12) for half in halves)
    return np.concatenate([w * first, (1 - w) * second], axis=1).astype(np.float32) * np.float32(2**0.5)


def exact(table: Any, vectors: Floats, k: int = K) -> Best:
    """The best rows for each of vectors [n, D], in one pass over the table that holds a batch of it at a time."""
    last = np.full(len(vectors), -np.inf, np.float32)
    owner, scores, rows = np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.uint64)
    scan = table.search().select(["vector"]).with_row_id(True).limit(None)
    for batch in scan.to_batches(batch_size=BATCH):
        part = pa.Table.from_batches([batch])
        products = vectors @ vectors_of(part).T
        least = last
        if products.shape[1] >= k and np.isneginf(last).any():
            least = np.maximum(last, np.partition(products, -k, axis=1)[:, -k])
        who, where = np.nonzero(products >= (least - EQUAL)[:, None])
        if not len(who):
            continue
        owner = np.concatenate([owner, who])
        scores = np.concatenate([scores, products[who, where]])
        rows = np.concatenate([rows, part["_rowid"].to_numpy()[where]])
        order = np.lexsort((-scores, owner))
        owner, scores, rows = owner[order], scores[order], rows[order]
        starts = np.searchsorted(owner, np.arange(len(vectors) + 1))
        full = np.flatnonzero(np.diff(starts) >= k)
        last[full] = scores[starts[full] + k - 1]
        place = np.arange(len(owner)) - starts[owner]
        kept = (place < k) | ((scores >= last[owner] - EQUAL) & (place < TIED))
        owner, scores, rows = owner[kept], scores[kept], rows[kept]
    starts = np.searchsorted(owner, np.arange(len(vectors) + 1))
    for n in np.flatnonzero(np.isneginf(last)):  # fewer rows than are asked for
        last[n] = scores[starts[n] : starts[n + 1]].min(initial=np.inf)
    return Best(last, np.split(rows, starts[1:-1]))


def found(table: Any, vectors: Floats, best: Best, tuning: Tuning) -> NDArray[np.int64]:
    """How many of the K best of each query [n] are found with these settings; a row that ties with the K-th counts."""
    out = np.zeros(len(vectors), np.int64)
    for start, rows in _asked(table, vectors, tuning):
        scores = 1 - rows["_distance"].to_numpy()
        query = _query_index(rows) + start
        np.add.at(out, query[scores >= best.last[query] - EQUAL], 1)
    return np.minimum(out, K)


def found_by_refining(table: Any, vectors: Floats, best: Best, probes: int, refine: Sequence[int]) -> NDArray[np.int64]:
    """How many of the K best of each query are among the first K times each of ``refine`` by their codes: [n, m]."""
    out = np.zeros((len(vectors), len(refine)), np.int64)
    ends = K * np.array(refine)
    together = _together(int(ends[-1]), probes)
    for start in range(0, len(vectors), together):
        part = vectors[start : start + together]
        rows = _rows_of(_builder(table, part).limit(int(ends[-1])).nprobes(probes))
        query, ids = _query_index(rows), rows["_rowid"].to_numpy()
        order = np.lexsort((rows["_distance"].to_numpy(), query))
        ids, query = ids[order], query[order]
        for n, mine in enumerate(np.split(ids, np.searchsorted(query, np.arange(1, len(part))))):
            hits = np.cumsum(np.isin(mine, best.rows[start + n]))
            reached = np.minimum(ends, len(hits))
            out[start + n] = np.where(reached > 0, hits[np.maximum(reached, 1) - 1] if len(hits) else 0, 0)
    return np.minimum(out, K)


def measured(table: Any, settings: Tuning | None, sentences: Floats | None, seed: int) -> Recall:
    """The recall of a table with these settings, on queries drawn by seed."""
    began, rows = time.perf_counter(), int(table.count_rows())
    queries = queries_of(table, sentences, seed)
    if settings is None or not rows:
        return Recall(table.name, rows, {}, None, 0.0)
    shares = queries.by_kind(found(table, queries.vectors, exact(table, queries.vectors), settings))
    return Recall(table.name, rows, shares, settings, time.perf_counter() - began)


def _asked(table: Any, vectors: Floats, tuning: Tuning) -> Iterator[tuple[int, pa.Table]]:
    """The K hits of some of the queries, and the place of the first of these."""
    together = _together(tuning.candidates(K), min(tuning.probes, tuning.lists))
    together = max(1, min(together, REFINED // (tuning.candidates(K) * vectors[0].nbytes)))
    for start in range(0, len(vectors), together):
        asked = _builder(table, vectors[start : start + together]).limit(K)
        yield start, _rows_of(with_settings(asked, tuning, K))


def with_settings(query: Any, tuning: Tuning, k: int) -> Any:
    """A query for k hits with these settings."""
    if tuning.reads_all(k):
        return query.bypass_vector_index()
    query = query.nprobes(min(tuning.probes, ALL_LISTS))
    return query if tuning.bits == WHOLE else query.refine_factor(-(-tuning.candidates(k) // k))


def _together(wanted: int, probes: int) -> int:
    """How many queries to ask at once: each list gives as many rows as are wanted."""
    return max(1, min(TOGETHER, GATHERED // (wanted * probes)))


def _builder(table: Any, vectors: Floats) -> Any:
    return LanceVectorQueryBuilder(table, list(vectors), "vector").distance_type("dot").select(["_distance"])


def _rows_of(query: Any) -> pa.Table:
    return query.with_row_id(True).to_batches().read_all()


def _query_index(rows: pa.Table) -> NDArray[np.int64]:
    """The place of the query that each row answers; a single query's rows do not say."""
    if "query_index" not in rows.column_names:
        return np.zeros(len(rows), np.int64)
    return np.asarray(rows["query_index"].to_numpy(), np.int64)
