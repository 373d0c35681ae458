"""Connections to LanceDB: opening, locking, filters, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import lancedb
from filelock import BaseFileLock, FileLock

from clip2video_plugin.errors import VideoIndexError, first_line

LOCK_SECONDS = 600  # to wait for another writer


def connect(uri: str) -> lancedb.DBConnection:
    """Opens a database, local or not; readers see what others write at once."""
    local = "://" not in uri
    with plain_errors(uri):
        return lancedb.connect(Path(uri).expanduser() if local else uri, read_consistency_interval=timedelta(seconds=0))


def writer_lock(uri: str) -> BaseFileLock | nullcontext[None]:
    """Keeps writers of a local index apart: two merge_inserts at once would both insert an id that is new to both.

    An index elsewhere has no lock: let one process write to it at a time.
    """
    if "://" in uri:
        return nullcontext()
    folder = Path(uri).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".c2v.lock", timeout=LOCK_SECONDS)


def exists(connection: lancedb.DBConnection, table: str) -> bool:
    """Whether there is such a table; LanceDB's list of names comes in pages."""
    try:
        connection.open_table(table)
    except (ValueError, FileNotFoundError):
        return False
    return True


def in_list(column: str, values: Iterable[str]) -> str:
    """A filter on a column of strings."""
    return f"{column} IN (" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + ")"


def chunks(values: list[str], size: int) -> Iterator[list[str]]:
    """Consecutive parts of at most ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


@contextmanager
def plain_errors(uri: str) -> Iterator[None]:
    """LanceDB's errors in one line that names the index."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise VideoIndexError(f"index {uri}: {first_line(error)}") from error
