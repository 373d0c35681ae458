"""Versions of a table: one is held while all of it is read, those that nobody needs are removed.

Every commit makes a version, and the files that only old ones need stay until they are removed. A question to a table
is over in a moment and is asked again where files went away beneath it (``connection.read``). Whoever reads a whole
table for minutes holds its version by a tag. No version is removed that is as young as one that is held, or younger.
A tag says until when it holds, so that one of a reader that was killed counts for an hour at most.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import memory
from clip2video_plugin.index.connection import connect, plain_errors, read
from clip2video_plugin.index.whole import undone_if_cut

HOUR = timedelta(hours=1)
FOREVER = timedelta(days=36_500)
LEAST = timedelta(milliseconds=1)  # of none LanceDB warns
PASSES = 4  # of folding, at most
HELD, RENEWED = 3600.0, 600.0  # seconds that a tag holds a version, and after which a reader that goes on renews it
TAG = "c2v-reader-"  # and until when, in seconds since 1970, and whose
BATCH = 1024  # rows, 4 MB of vectors
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def kept() -> timedelta | None:
    """How long versions are kept whatever happens, by $C2V_KEEP; None where nobody says.

    Raises:
        VideoIndexError: it is no such time.
    """
    text = os.environ.get("C2V_KEEP", "")
    return duration_of(text, "C2V_KEEP") if text else None


def duration_of(text: str, what: str) -> timedelta:
    """90s, 30m, 2h or 7d as a time.

    Raises:
        VideoIndexError: it is none.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text.strip())
    if not found:
        raise VideoIndexError(f"{what} is {text!r}; write how long, as 90s, 30m, 2h or 7d")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def fold(table: Any, keep: timedelta = HOUR, *, alone: bool = False) -> None:
    """Folds small parts together, brings indexes up to date, and removes old versions.

    None goes that is younger than ``keep`` or than what a reader holds. With files that no version has, which go when
    they are a week old: of whatever age where the caller is ``alone``, as it holds the locks of writers and builders.
    """
    for turn in range(PASSES):
        before = table.stats()["fragment_stats"]
        with memory.given_back(), undone_if_cut(table):
            table.optimize(cleanup_older_than=FOREVER)
        # LanceDB brings indexes up to date after it folds, and does not fold parts that are in no index with others:
        # these are for another pass. What is folded while old versions are removed could not be undone.
        after = table.stats()["fragment_stats"]
        if after["num_fragments"] <= 1 or (turn and after == before):
            break
    prune(table, keep, alone=alone)


def prune(table: Any, keep: timedelta, *, alone: bool = False) -> None:
    """Removes old versions, as ``fold`` does after what it folded is known to be there.

    LanceDB folds as well then, and writes an index of words anew, so it is asked only where there are such.
    """
    age = max(keep, LEAST, _held(table))
    times = sorted(one["timestamp"] for one in table.list_versions())
    if not alone and not any(datetime.now() - made >= age for made in times[:-1]):
        return
    with memory.given_back(), undone_if_cut(table):
        try:
            table.optimize(cleanup_older_than=age, delete_unverified=alone)
        except RuntimeError as error:
            if "tagged version" not in str(error):  # held since we looked; all but removing is done
                raise


def is_held(table: Any) -> bool:
    """Whether any version is held, by a reader or by a tag that somebody made."""
    return bool(_versions_held(table))


def _versions_held(table: Any) -> list[int]:
    """The versions that are held; tags of readers that are over are removed."""
    held = list[int]()
    for name, tag in table.tags.list().items():
        if name.startswith(TAG) and float(name.removeprefix(TAG).partition("-")[0]) < time.time():
            _release(table, name)
        else:
            held.append(int(tag["version"]))
    return held


def _held(table: Any) -> timedelta:
    """The age of the oldest version that is held."""
    if not (held := _versions_held(table)):
        return timedelta(0)
    times = [one["timestamp"] for one in table.list_versions() if one["version"] >= min(held)]
    return datetime.now() - min(times) + timedelta(seconds=1) if times else timedelta(0)


def batches(
    uri: str, table: Any, columns: Sequence[str] | None = None, *, where: str | None = None
) -> Iterator[pa.RecordBatch]:
    """These columns of all rows, or of those that a filter keeps, in batches of one version, however long it takes.

    Where the index may not be written to, nothing holds the version, and it lasts as long as writers keep it, an hour.

    Raises:
        VideoIndexError: the table is gone.
    """
    with plain_errors(uri):
        pinned, tag, found, first = read(uri, lambda: _held_batches(uri, table, columns, where))
        renewed = time.monotonic()
        try:
            while first is not None:
                if tag and time.monotonic() - renewed > RENEWED:
                    before, tag, renewed = tag, _tag(pinned), time.monotonic()
                    _release(pinned, before)
                yield first
                first = next(found, None)
        finally:
            if tag:
                _release(pinned, tag)


def _held_batches(
    uri: str, table: Any, columns: Sequence[str] | None, where: str | None
) -> tuple[Any, str | None, Iterator[pa.RecordBatch], pa.RecordBatch | None]:
    """The newest version, the tag that holds it, its batches, and the first of them."""
    pinned = connect(uri).open_table(table.name)
    tag = _hold(table, pinned)
    try:
        asked = pinned.search().where(where or "true").limit(None)
        found = iter((asked.select(list(columns)) if columns else asked).to_batches(batch_size=BATCH))
        return pinned, tag, found, next(found, None)
    except BaseException:
        if tag:
            _release(pinned, tag)
        raise


def _hold(table: Any, pinned: Any) -> str | None:
    """Sets ``pinned`` to the newest version and tags it; gives the tag."""
    for last in (False, False, False, True):
        pinned.checkout(int(table.version))
        tag = _tag(pinned)
        # The newest is never removed: if it still is that, whoever removes from now on sees the tag.
        if tag is None or last or int(table.version) == int(pinned.version):
            return tag
        _release(pinned, tag)
    return None


def _tag(pinned: Any) -> str | None:
    tag = f"{TAG}{time.time() + HELD:.0f}-{uuid.uuid4().hex[:12]}"
    try:
        pinned.tags.create(tag, int(pinned.version))
    except (OSError, RuntimeError, ValueError):
        return None
    return tag


def _release(table: Any, tag: str) -> None:
    try:
        table.tags.delete(tag)
    except (OSError, RuntimeError, ValueError):  # another process did
        return
