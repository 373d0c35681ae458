"""Chooses the settings of a vector index's queries: the cheapest with enough recall on the table's own vectors."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from clip2video_plugin.index import upkeep
from clip2video_plugin.index.recall import (
    HELD,
    OTHERS,
    Best,
    K,
    Queries,
    Sentences,
    exact,
    found,
    found_by_refining,
    measured,
    queries_of,
)
from clip2video_plugin.index.tuning import (
    ALL_LISTS,
    BITS,
    NONE,
    SAFE,
    WHOLE,
    Tuning,
    bits_of,
    is_stale,
    lists_of,
    read_asked,
    read_tuning,
    settings_of,
    write_tuning,
)

MARGIN = 0.996  # of recall on the queries that it is chosen on, and on all, so that .99 holds on others
REFINE = (3, 5, 10, 20, 30)  # times as many vectors as are wanted that are compared whole
# Of tables too large to be kept twice: a thousand vectors of 1,024 numbers take 15 ms.
REFINE_MORE = (100, 300, 1000)
TWICE = 64 * 1024**2  # bytes of vectors up to which the index may keep them whole: making it takes three times that
SHARES = 2**-0.5  # of the lists that are tried one after another, each of the one before
# A query whose best are all in lists that are not read finds nothing at all; so many take a few milliseconds.
LEAST_LISTS = 8
# Comparing one whole vector takes as long as this many codes.
CODES = 1_000


def due(uri: str, table: Any) -> bool:
    """Whether a table's vector index has no settings yet, or so many rows came since that they are chosen again."""
    if not upkeep.has_index(table, "vector"):
        return False
    tuning = read_tuning(uri, table)
    return tuning is None or is_stale(table, tuning)


def hold(uri: str, table: Any, sentences: Sentences | None = None) -> bool:
    """Chooses settings for a table where it is due, or where its settings find too little. Returns whether it did.

    The caller holds the lock of builds. Settings are measured on other queries than they were chosen on; those that
    find too little there are not chosen again.
    """
    if not upkeep.has_index(table, "vector"):
        return False
    if due(uri, table):
        choose(uri, table, sentences)
        return True
    settings = settings_of(uri, table)
    if measured(table, settings, read_asked(uri, table), OTHERS).problem is None:
        return False
    choose(uri, table, sentences, beyond=settings)
    return True


def choose(uri: str, table: Any, sentences: Sentences | None, seed: int = 0, beyond: Tuning | None = None) -> Tuning:
    """Chooses settings for the vector index of a table and stores them; makes a finer index where none find enough.

    They are chosen on half of the queries, and tried on the other half. In order: the index that is there; one made
    anew; one that keeps whole vectors, where they are not too large to be kept twice; no index.

    Args:
        beyond: settings that find too little; nothing cheaper is chosen.
    """
    began = time.perf_counter()
    asked = sentences() if sentences is not None else read_asked(uri, table)
    before, rows = read_tuning(uri, table), int(table.count_rows())
    queries = queries_of(table, asked, seed)
    best = exact(table, queries.vectors)
    built, bits = before.built if before else rows, bits_of(table)

    def made(bits: int) -> None:
        # Until settings are chosen, readers ask in a way that is right with either code.
        write_tuning(uri, table, Tuning(BITS, lists_of(rows), ALL_LISTS, SAFE, rows, rows), asked)
        upkeep.index_vectors(table, bits)

    chosen = _settings(table, bits, queries, best, beyond)
    if chosen is None and built != rows:
        made(BITS)
        built, chosen = rows, _settings(table, BITS, queries, best)
    if chosen is None and bits_of(table) != WHOLE and _may_be_kept_twice(table, rows):
        made(WHOLE)
        built, chosen = rows, _settings(table, WHOLE, queries, best)
    if chosen is None:
        chosen = Tuning(NONE, lists_of(rows), ALL_LISTS, 1, rows, recall=dict.fromkeys(queries.kinds, 1.0))
    spent = time.perf_counter() - began
    chosen = replace(chosen, rows=rows, built=built, seconds=round(spent, 2), chosen=time.time())
    write_tuning(uri, table, chosen, asked)
    return chosen


def _may_be_kept_twice(table: Any, rows: int) -> bool:
    return rows * int(table.schema.field("vector").type.list_size) * 4 <= TWICE


def _settings(table: Any, bits: int, queries: Queries, best: Best, beyond: Tuning | None = None) -> Tuning | None:
    """The cheapest that hold on both halves of the queries."""
    half = len(queries.vectors) // 2
    first, rest = slice(0, half), slice(half, None)
    rows = int(table.count_rows())
    refine = (1,) if bits == WHOLE else REFINE if _may_be_kept_twice(table, rows) else REFINE + REFINE_MORE
    lists, known = lists_of(rows), Best(best.last[first], best.rows[first])
    holding = list[tuple[float, Tuning]]()
    probes = lists
    while True:
        places = found_by_refining(table, queries.vectors[first], known, probes, refine)
        before = [queries.part(first).by_kind(places[:, n]) for n in range(len(refine))]
        for n, shares in enumerate(before):
            if min(shares.values()) >= MARGIN:
                cost = probes / lists * rows + CODES * K * refine[n] * (bits != WHOLE)
                holding.append((cost, Tuning(bits, lists, probes, refine[n], rows, recall=shares)))
        if min(before[-1].values()) < MARGIN or probes <= LEAST_LISTS:
            break
        probes = max(int(probes * SHARES), LEAST_LISTS)
    others = Best(best.last[rest], best.rows[rest])
    if beyond is not None:
        holding = _beyond(holding, beyond)
    while holding:
        _, tuning = min(holding, key=lambda one: one[0])
        shares = queries.part(rest).by_kind(found(table, queries.vectors[rest], others, tuning))
        both = [(share + tuning.recall[kind]) / 2 for kind, share in shares.items()]
        if min(shares.values()) >= HELD and min(both) >= MARGIN:
            return replace(tuning, recall=shares)
        holding = _beyond(holding, tuning)
    return None


def _beyond(holding: list[tuple[float, Tuning]], tuning: Tuning) -> list[tuple[float, Tuning]]:
    """Those that read more lists, or compare more whole vectors."""
    return [one for one in holding if one[1].probes > tuning.probes or one[1].refine > tuning.refine]
