"""Versions of a table: one is held while all of it is read, those that nobody needs are removed.

Every commit makes a version, and the files that only old ones need stay until they are removed. A question to a table
is over in a moment and is asked again where files went away beneath it (``connection.read``). Whoever reads a whole
table for minutes holds its version by a tag, of which removing takes heed: versions younger than the longest reader
stay. A tag says until when it holds, so that one of a reader that was killed counts for an hour at most.
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
from clip2video_plugin.index.connection import connect, plain_errors

HOUR = timedelta(hours=1)
LEAST = timedelta(milliseconds=1)  # of none LanceDB warns
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


def fold(table: Any, keep: timedelta = HOUR) -> None:
    """Folds small parts together, brings indexes up to date, and removes old versions.

    None goes that is younger than ``keep`` or than what a reader holds.
    """
    with memory.given_back():
        try:
            table.optimize(cleanup_older_than=max(keep, LEAST, _held(table)))
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
        name = table.name
        pinned = connect(uri).open_table(name)
        tag = _hold(table, pinned)
        renewed = time.monotonic()
        try:
            asked = pinned.search().where(where or "true").limit(None)
            for batch in (asked.select(list(columns)) if columns else asked).to_batches(batch_size=BATCH):
                if tag and time.monotonic() - renewed > RENEWED:
                    before, tag, renewed = tag, _tag(pinned), time.monotonic()
                    _release(pinned, before)
                yield batch
        finally:
            if tag:
                _release(pinned, tag)


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
