"""A lease: what keeps writers of an index elsewhere apart, as a file lock does those of a folder on this machine.

A row in a table beside the index (``.c2v/leases``), with the primary key ``name``. Whoever takes it changes it on the
condition that it is still as it was read, and of several at once LanceDB lets one. The owner counts its ``beat`` up
while it holds it; one who waits takes it over when it has seen the same beat for ``SECONDS`` by its own clock, so
that clocks of different machines are never compared. Where the owner ran on this machine and is no more, at once.

It has no fencing: a process that is paused for longer than that, and goes on in the middle of a write, writes beside
the new owner. That doubles no row, as every write is a merge on the primary key (``merge.py``); the lease only saves
writers from doing their merges again and again.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa

from clip2video_plugin.index.commits import patiently
from clip2video_plugin.index.schema import ID

SECONDS = 30.0  # without a beat, after which an owner counts as dead
RELEASES = 32  # after about so many, old versions of the table go
FOLDER, TABLE = ".c2v", "leases"  # no table of the index
FREE = ""


class Lease:
    """The lease ``name`` of an index at a URI; taken again and given back as often by the thread that has it."""

    def __init__(self, uri: str, name: str) -> None:
        self.uri, self.name = uri, name
        self._threads, self._depth = threading.RLock(), 0  # of the threads of this process one takes it for it
        self._row, self._stop = dict[str, Any](), threading.Event()

    def acquire(self, timeout: float) -> str:
        """Takes it, having waited ``timeout`` seconds at most, below 0 for as long as it takes.

        Returns: "" when this process has it, else who had it all the time.
        """
        if not self._threads.acquire(timeout=-1 if timeout < 0 else timeout):
            return f"another thread of process {os.getpid()}"
        if self._depth:
            self._depth += 1
            return ""
        try:
            owner = self._take(timeout)
        except BaseException:
            self._threads.release()
            raise
        if owner:
            self._threads.release()
            return owner
        self._depth = 1
        return ""

    def release(self) -> None:
        """Gives it back when it was given back as often as taken; nothing happens where another has taken it over."""
        self._depth -= 1
        try:
            if not self._depth:
                self._stop.set()
                self._change(f"target.owner = '{self._row['owner']}'", {**self._row, "owner": FREE})
                if random.random() < 1 / RELEASES:
                    self._table.optimize(cleanup_older_than=timedelta(minutes=1))
        finally:
            self._threads.release()

    @property
    def _table(self) -> Any:
        return _leases(self.uri)

    def _take(self, timeout: float) -> str:
        began, pause, seen, since = time.monotonic(), 0.05, None, 0.0
        while True:
            row, now = self._read(), time.monotonic()
            if (state := (row["owner"], row["beat"])) != seen:
                seen, since = state, now
            if row["owner"] == FREE or now - since > SECONDS or _dead(row):
                condition = f"target.owner = '{row['owner']}' AND target.beat = {row['beat']}"
                mine = _row(self.name, uuid.uuid4().hex)
                if self._change(condition, mine):
                    self._row, self._stop = mine, threading.Event()
                    threading.Thread(target=self._beat, args=[mine, self._stop], daemon=True).start()
                    return ""
            elif 0 <= timeout < now - began:
                return _named(row)
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(1.5 * pause, 1.0, SECONDS / 4)

    def _beat(self, row: dict[str, Any], stop: threading.Event) -> None:
        while not stop.wait(SECONDS / 4):
            row = {**row, "beat": row["beat"] + 1}
            try:
                if not self._change(f"target.owner = '{row['owner']}'", row):
                    return  # another has taken it over
            except (OSError, RuntimeError, ValueError):  # as of a store that is away for a moment
                continue

    def _read(self) -> dict[str, Any]:
        """The row, made where there is none yet."""
        while not (found := patiently(lambda: self._table.search().where(f"name = '{self.name}'").to_list())):
            merge = self._table.merge_insert("name").when_not_matched_insert_all().use_index(False)
            patiently(partial(merge.execute, _table_of(_row(self.name, FREE))))
        return dict(found[0])

    def _change(self, condition: str, row: dict[str, Any]) -> bool:
        """Whether the row there was as the condition says, and is this one now."""
        merge = self._table.merge_insert("name").when_matched_update_all(where=condition).use_index(False)
        return bool(patiently(partial(merge.execute, _table_of(row))).num_updated_rows == 1)


SCHEMA = pa.schema(
    [
        ID.with_name("name"),
        pa.field("owner", pa.string(), nullable=False),  # drawn at each taking; FREE: nobody has it
        pa.field("beat", pa.int64(), nullable=False),
        pa.field("host", pa.string(), nullable=False),
        pa.field("machine", pa.string(), nullable=False),  # where process numbers mean the same
        pa.field("pid", pa.int64(), nullable=False),
        pa.field("since", pa.float64(), nullable=False),  # seconds since 1970
    ]
)


def _row(name: str, owner: str) -> dict[str, Any]:
    here = {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "since": time.time()}
    return {"name": name, "owner": owner, "beat": 0, **here}


def _table_of(row: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row], schema=SCHEMA)


@cache
def lease_of(uri: str, name: str) -> Lease:
    """One for all of this process, so that a thread that has it may ask for it again."""
    return Lease(uri, name)


@cache
def _leases(uri: str) -> Any:
    from clip2video_plugin.index.connection import connect, open_or_make

    parts = urlsplit(uri)  # of s3+ddb:// with a query
    beside = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{FOLDER}"))
    return open_or_make(connect(beside, make=True), TABLE, SCHEMA)


@cache
def _machine() -> str:
    """This boot of this machine and its space of process numbers, where Linux tells; else nothing."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _dead(row: dict[str, Any]) -> bool:
    """Whether the owner ran on this machine, and its process is no more."""
    if not row["machine"] or row["machine"] != _machine():
        return False
    try:
        os.kill(row["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _named(row: dict[str, Any]) -> str:
    since = datetime.fromtimestamp(row["since"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {row['pid']} on {row['host']} since {since}"
