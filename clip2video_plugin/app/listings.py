"""Remembers the ids that a view lists, for as long as MongoDB writes nothing to the collections behind it.

To list a view's ids takes longer than to search among them. MongoDB counts, for each collection, the writes that it
was asked for and what its storage engine inserted, changed and removed, the second also for ``$merge`` and ``$out``,
as FiftyOne saves views. While these counters stand still, a view lists what it listed. The engine counts before it
commits, so they must have stood still for a while before a listing is remembered. Where there are no such counters, as
in a cluster of shards, and for views that are not the same each time, as one of random numbers, each call lists.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fiftyone.core.collections as foc
import fiftyone.core.media as fom
import fiftyone.core.stages as fos
from bson import encode
from fiftyone.core.odm import get_db_conn
from pymongo.errors import PyMongoError

from clip2video_plugin.app.videos import stages_of

SETTLED = 1.0  # seconds; what was counted by then is committed
MOST = 500_000  # ids that are remembered, of 100 bytes each
COLLECTIONS = 100  # whose counters are; views of clips have one each
COUNTED = ("insert calls", "update calls", "remove calls")
COUNTED_TOO = ("modify", "truncate calls", "bulk loaded cursor insert calls")  # by some versions
COUNTERS = [
    {"$collStats": {"latencyStats": {}, "storageStats": {}}},
    {"$project": {"asked": "$latencyStats.writes.ops", "calls": "$storageStats.wiredTiger.cursor"}},
]
OTHER_EACH_TIME = (
    b"$$NOW",
    b"$$CLUSTER_TIME",
    b"$rand\0",
    b"$sample\0",
    b"$function\0",
    b"$where\0",
    b"$accumulator\0",
)

Listed = frozenset[str] | dict[str, list[str]]  # ids of videos; or video -> what is shown in its place


class Listings:
    """Listings of the views of a dataset that were searched last; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[object, Listed]] = {}  # the last one asked for is the last
        self._since: dict[tuple[str, ...], tuple[object, float]] = {}

    def of(self, samples: foc.SampleCollection, listed: Callable[[], Listed]) -> Listed:
        """What ``listed`` gives for a view, from memory where it cannot have changed since."""
        key, names = _asked(samples)
        now = time.monotonic()
        state = _written(names) if names else None
        if state is None:
            return listed()
        with self._lock:
            if (kept := self._kept.get(key)) is not None and kept[0] == state:
                self._kept[key] = self._kept.pop(key)
                return kept[1]
            seen, since = self._since.get(names, (None, now))
            if seen != state:
                self._since.pop(names, None)
                self._since[names] = state, time.monotonic()
                if len(self._since) > COLLECTIONS:
                    del self._since[next(iter(self._since))]
        found = listed()
        if seen == state and now - since >= SETTLED:
            with self._lock:
                self._kept.pop(key, None)
                self._kept[key] = state, found
                sizes = {key: _size(key, found) for key, (_, found) in self._kept.items()}
                while sum(sizes.values()) > MOST:
                    oldest = next(iter(self._kept))
                    del self._kept[oldest], sizes[oldest]
        return found


def _size(key: bytes, found: Listed) -> int:
    ids = sum(1 + len(shown) for shown in found.values()) if isinstance(found, dict) else len(found)
    return 1 + len(key) // 1000 + ids


def _asked(samples: foc.SampleCollection) -> tuple[bytes, tuple[str, ...]]:
    """What MongoDB is asked for a view, and which collections it reads; none where answers may differ each time."""
    own, stages = samples._dataset._sample_collection_name, stages_of(samples)
    if all(isinstance(stage, fos.Select) for stage in stages) and samples.media_type != fom.GROUP:
        return encode({"of": own, "ids": [stage.sample_ids for stage in stages]}), (own,)  # no ObjectId of each
    pipeline = samples._pipeline()
    key: bytes = encode({"of": own, "slice": samples.group_slice, "asked": pipeline})
    if any(word in key for word in OTHER_EACH_TIME) or any(isinstance(stage, fos.Mongo) for stage in stages):
        return key, ()
    return key, tuple(sorted({own, *_others(pipeline)}))


def _others(part: Any) -> Iterator[str]:
    """Names of other collections that a pipeline reads, and some that are none."""
    if isinstance(part, dict):
        for name, value in part.items():
            if isinstance(value, dict | list | tuple):
                yield from _others(value)
            elif name in ("from", "coll", "$unionWith") and isinstance(value, str):
                yield value
    elif isinstance(part, list | tuple):
        for one in part:
            if isinstance(one, dict | list | tuple):
                yield from _others(one)


def _written(names: tuple[str, ...]) -> object:
    """What MongoDB counted of the writes to collections since which start of it; None where it does not count."""
    database = get_db_conn()
    try:
        server = database.command("hello")
        state = [str(server["topologyVersion"])]
        for name in names:
            [found] = database[name].aggregate(COUNTERS)
            counts = [found["calls"][one] for one in COUNTED] + [found["calls"].get(one) for one in COUNTED_TOO]
            state.append(f"{found['asked']} {counts}")
    except (PyMongoError, KeyError, ValueError):  # ValueError: of several shards
        return None
    return state
