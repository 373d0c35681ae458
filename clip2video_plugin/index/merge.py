"""Writes of rows that cannot double one, whoever else writes: the one way by which rows get into a table.

Two writers at once that both find an id missing would both insert it. A merge on the primary key notices at its commit
that another has inserted one of its ids since it read the table, and is then done again on what is there now. Two
things it needs (``benchmarks/writers.py``, docs/writers.md): the key in the field's metadata, and no index on the key
at the merge, as through an index it does not look. So each merge reads the column of the key: .3 s and 150 bytes of
memory for every row of the table, .17 GB at a million rows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import lancedb
import pyarrow as pa

from clip2video_plugin.index import memory
from clip2video_plugin.index.connection import conflicts, exists
from clip2video_plugin.index.schema import PRIMARY_KEY

PATIENCE = 120.0  # seconds


def merge(table: Any, rows: pa.Table, *, of: str | None = None, key: str = "id") -> None:
    """Adds rows, or replaces those of equal key, all at once.

    Args:
        of: a filter; the rows that it keeps and that are not among the new ones go.
        key: the column that tells rows apart, without nulls.
    """
    protect(table, key)
    found = table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
    if of is not None:
        found = found.when_not_matched_by_source_delete(of)
    with memory.given_back():  # of a million keys 100 MB
        patiently(lambda: found.use_index(False).execute(rows))


def protect(table: Any, key: str = "id", made_of: str = "") -> None:
    """Sets the primary key of a table that an earlier version made; where it had none, ``made_of`` gives it in SQL."""
    if _protected(table, key):
        return
    unless_done(lambda: key in table.schema.names, lambda: table.add_columns({key: made_of}))
    unless_done(
        lambda: not table.schema.field(key).nullable, lambda: table.alter_columns({"path": key, "nullable": False})
    )
    unless_done(lambda: _protected(table, key), lambda: table.set_unenforced_primary_key(key))


def unless_done(done: Callable[[], bool], step: Callable[[], Any]) -> None:
    """Does what two processes at once would do twice, such as adding a column."""

    def unless() -> None:
        if not done():
            try:
                step()
            except (OSError, RuntimeError, ValueError):  # as when another has done so meanwhile
                if not done():
                    raise

    patiently(unless)


def patiently(step: Callable[[], Any]) -> Any:
    """Does it again while others commit to the table first, for a while; LanceDB itself gives up after 10 times."""
    until, pause = time.monotonic() + PATIENCE, 0.05
    while True:
        try:
            return step()
        except (OSError, RuntimeError, ValueError) as error:
            if not conflicts(error) or time.monotonic() > until:
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # apart from the others
        pause = min(2 * pause, 2.0)


def _protected(table: Any, key: str) -> bool:
    schema = table.schema
    marks = (schema.field(key).metadata or {}).keys() if key in schema.names else ()
    return any(mark.startswith(PRIMARY_KEY.encode()) for mark in marks)  # of a migrated table ":position" follows


def add_missing(table: Any, columns: Iterable[pa.Field]) -> None:
    """Gives a table of an earlier version the columns that came later, full of nulls."""
    if later := [column for column in columns if column.name not in table.schema.names]:
        unless_done(
            lambda: {column.name for column in later} <= set(table.schema.names), lambda: table.add_columns(later)
        )


def open_or_make(connection: lancedb.DBConnection, name: str, schema: pa.Schema) -> Any:
    """Opens a table, made empty where it is not there; where two make it at once, it is one of theirs."""
    unless_done(lambda: exists(connection, name), lambda: connection.create_table(name, schema=schema))
    return connection.open_table(name)
