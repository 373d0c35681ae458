"""Connections to LanceDB: places, opening, locks, filters, and errors in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from errno import ENOENT
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import lancedb
import pyarrow as pa
from filelock import FileLock, Timeout

from clip2video_plugin.errors import IndexBusyError, VideoIndexError, is_panic
from clip2video_plugin.index.causes import cause
from clip2video_plugin.index.commits import conflicts, unless_done
from clip2video_plugin.index.lease import Lease, lease_of
from clip2video_plugin.index.marks import marked
from clip2video_plugin.paths import expanded, stored
from clip2video_plugin.places import has_credentials, without_credentials

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex

NOW = timedelta(0)
IN_LIST = 1_000  # values in one filter
LOCK_SECONDS = 600.0  # to wait for another writer, where nobody else says how long

T = TypeVar("T")


def must_be_there(folder: Path) -> None:
    """Raises FileNotFoundError for a folder that was deleted or renamed."""
    if not folder.is_dir():
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(folder))


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


def connect(uri: str, session: Any = None, *, make: bool = False) -> lancedb.DBConnection:
    """Opens a database, local or not; readers see what others write at once.

    Args:
        session: bounds LanceDB's caches.
        make: the folder of a local one, where there is none.
    """
    if stored(uri) != uri:
        raise VideoIndexError(f"index {uri} is not text in UTF-8, which LanceDB needs; choose another place (--index)")
    folder = local_folder(uri)
    with plain_errors(uri):
        if folder is not None and not make:
            must_be_there(folder)  # else LanceDB makes it
        return lancedb.connect(folder or uri, read_consistency_interval=NOW, session=session)


def lock_of(uri: str, name: str = ".c2v.lock") -> FileLock | Lease | None:
    """What keeps writers of an index apart, so that no merge must be done again: a file lock, elsewhere a lease.

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
    with ExitStack() as end:
        end.callback(_released, lock, uri)
        if isinstance(lock, FileLock) and lock.lock_counter == 1:
            with plain_errors(uri):
                end.enter_context(marked(Path(lock.lock_file)))
        yield


def _released(lock: FileLock | Lease, uri: str) -> None:
    with plain_errors(uri):
        lock.release()


def _taken(lock: FileLock | Lease, seconds: float) -> str:
    """Takes a lock; gives "", or who had it all the time."""
    if isinstance(lock, Lease):
        return lock.acquire(seconds)
    must_be_there(Path(lock.lock_file).parent)  # else the lock makes it
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
        try:
            return connection.open_table(table)
        except FileNotFoundError:
            return None
        except ValueError as error:  # as of a store that cannot be reached
            if "was not found" not in str(error):
                raise
            return None


def open_or_make(connection: lancedb.DBConnection, table: str, schema: pa.Schema) -> Any:
    """Opens a table, made empty where it is not there; where two make it at once, it is one of theirs."""
    if (found := opened(connection, table)) is not None:
        return found
    unless_done(lambda: exists(connection, table), lambda: connection.create_table(table, schema=schema))
    return connection.open_table(table)


def drop(connection: lancedb.DBConnection, table: str) -> None:
    """Removes a table; nothing happens where another has done so."""
    unless_done(lambda: not exists(connection, table), lambda: connection.drop_table(table))


def table_names(connection: lancedb.DBConnection) -> list[str]:
    """The names of all tables, of every page."""
    page = connection.list_tables(limit=1000)
    names = list(page.tables)
    while page.page_token:
        page = connection.list_tables(page_token=page.page_token, limit=1000)
        names += page.tables
    return names


def tables_of(connection: lancedb.DBConnection) -> dict[str, Any]:
    """All tables by name, in order; one whose making was cut off is none, and is made anew by whoever needs it."""
    tables = {name: opened(connection, name) for name in sorted(table_names(connection))}
    return {name: table for name, table in tables.items() if table is not None}


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
    """LanceDB's errors, and those of files, in one line that names the index."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, OSError | RuntimeError | ValueError) and not is_panic(error):
            raise
        if conflicts(error):
            raise IndexBusyError(
                f"index {uri}: others kept writing to it, so this was not written; try again when they are done "
                f"({cause(error)})"
            ) from error
        raise VideoIndexError(_gone(uri, error) or f"index {uri}: {cause(error)}") from error


def _gone(uri: str, error: BaseException) -> str:
    """Says that an index of this machine was deleted, renamed or replaced while it was open; else nothing."""
    folder, said = local_folder(uri), str(error).lower()
    if folder is None or not (isinstance(error, FileNotFoundError) or "not found" in said or "no longer exist" in said):
        return ""
    if not any(folder.glob("*.lance")):
        return (
            f"index {uri} is not there any more; name its new place (--index), or make it: c2v embed PATH --index {uri}"
        )
    return f"index {uri} is being made anew, or is damaged; try again, and then: c2v index check ({cause(error)})"


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
