"""Connections to LanceDB: places, opening, locks, filters, and errors in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import lancedb
from filelock import FileLock, Timeout

from clip2video_plugin.errors import IndexBusyError, VideoIndexError
from clip2video_plugin.index.causes import cause
from clip2video_plugin.index.commits import conflicts, opened_if_there
from clip2video_plugin.index.lease import Lease, lease_of
from clip2video_plugin.paths import expanded, stored
from clip2video_plugin.places import has_credentials, without_credentials

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex

NOW = timedelta(0)
IN_LIST = 1_000  # values in one filter
LOCK_SECONDS = 600.0  # to wait for another writer, where nobody else says how long

T = TypeVar("T")


def default_uri() -> str:
    """$C2V_INDEX, else ./c2v-index."""
    return os.environ.get("C2V_INDEX") or "./c2v-index"


def uri_of(index: str | Path | VideoIndex | None) -> str:
    """The URI of an index that is given by it, or open; a folder's is its absolute path.

    Raises:
        VideoIndexError: it is neither, or holds credentials.
    """
    given = getattr(index, "uri", index) if index is not None else default_uri()
    if not isinstance(given, str | Path) or not str(given):
        raise VideoIndexError(f"index is {given!r}; give a folder, a LanceDB URI, or an open index")
    if has_credentials(str(given)):  # which every message and every brain run would repeat
        raise VideoIndexError(
            f"index {without_credentials(str(given))} was given with credentials; set them in the environment instead, "
            "as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    folder = local_folder(str(given))
    return str(given) if folder is None else str(folder)


def local_folder(uri: str) -> Path | None:
    """The folder of an index on this machine, None for one elsewhere."""
    if "://" not in uri:
        return Path(os.path.abspath(expanded(uri)))
    parts = urlsplit(uri)
    return Path(os.path.abspath(unquote(parts.path))) if parts.scheme == "file" else None


def connect(uri: str, session: Any = None) -> lancedb.DBConnection:
    """Opens a database, local or not; readers see what others write at once. ``session`` bounds LanceDB's caches."""
    if stored(uri) != uri:
        raise VideoIndexError(f"index {uri} is not text in UTF-8, which LanceDB needs; choose another place (--index)")
    with plain_errors(uri):
        return lancedb.connect(local_folder(uri) or uri, read_consistency_interval=NOW, session=session)


def lock_of(uri: str, name: str = ".c2v.lock") -> FileLock | Lease | None:
    """What keeps writers of an index apart, so that they need not do their merges again: a file, elsewhere a lease.

    None for LanceDB's own servers, and for tables in memory.
    """
    if folder := local_folder(uri):
        return FileLock(folder / name)
    return None if urlsplit(uri).scheme in ("db", "memory") else lease_of(uri, name)


@contextmanager
def held(lock: FileLock | Lease | None, uri: str, seconds: float | None = None) -> Iterator[None]:
    """Holds a lock of ``lock_of``, having waited for it for ``seconds``; below 0 for as long as it takes.

    Raises:
        IndexBusyError: another process held it all the time.
    """
    if lock is None:
        yield
        return
    seconds = LOCK_SECONDS if seconds is None else seconds
    with plain_errors(uri):
        who = _taken(lock, seconds)
    if who:
        raise IndexBusyError(
            f"index {uri}: {who} has been writing to it; waited {seconds:g} s; try again when it is done"
        )
    try:
        yield
    finally:
        with plain_errors(uri):
            lock.release()


def _taken(lock: FileLock | Lease, seconds: float) -> str:
    """Takes a lock; gives "", or who had it all the time."""
    if isinstance(lock, Lease):
        return lock.acquire(seconds)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return "another process"
    return ""


@contextmanager
def writer_lock(uri: str, seconds: float | None = None) -> Iterator[None]:
    """``held`` for the writers' lock of an index."""
    with held(lock_of(uri), uri, seconds):
        yield


def exists(connection: lancedb.DBConnection, table: str) -> bool:
    """Whether there is such a table; LanceDB's list of names comes in pages."""
    return opened(connection, table) is not None


def opened(connection: lancedb.DBConnection, table: str) -> Any:
    """The table of this name, None where there is none. LanceDB is asked last, and once: elsewhere it takes a while."""
    folder = local_folder(str(connection.uri))
    if folder is not None and not os.path.isdir(folder / f"{table}.lance"):
        return None
    with plain_errors(str(connection.uri)):
        return opened_if_there(connection, table)


def table_names(connection: lancedb.DBConnection) -> list[str]:
    """The names of all tables, of every page."""
    page = connection.list_tables(limit=1000)
    names = list(page.tables)
    while page.page_token:
        page = connection.list_tables(page_token=page.page_token, limit=1000)
        names += page.tables
    return names


def quoted(text: str) -> str:
    """A string in a filter."""
    return "'" + text.replace("'", "''") + "'"


def in_list(column: str, values: Iterable[str]) -> str:
    """A filter on a column of strings."""
    return f"{column} IN (" + ", ".join(map(quoted, values)) + ")"


def chunks(values: list[T], size: int) -> Iterator[list[T]]:
    """Consecutive parts of at most ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


@contextmanager
def plain_errors(uri: str) -> Iterator[None]:
    """LanceDB's errors in one line that names the index."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if conflicts(error):
            raise IndexBusyError(
                f"index {uri}: others kept writing to it, so this was not written; try again when they are done "
                f"({cause(error)})"
            ) from error
        raise VideoIndexError(f"index {uri}: {cause(error)}") from error


def read(uri: str, question: Callable[[], T]) -> T:
    """What a question to a table gives; asked again of its newest version where files went away beneath it.

    Old versions are removed while others read (``upkeep.tidy``).
    """
    with plain_errors(uri):
        for _ in range(5):
            try:
                return question()
            except (OSError, RuntimeError, ValueError) as error:
                if "not found" not in str(error).lower():
                    raise
        return question()
