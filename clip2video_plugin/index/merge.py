"""Writes rows so that none is there twice, whoever else writes: the only way by which rows get into a table.

Two writers at once that both find an id missing would both insert it. A merge on the primary key notices at its commit
that another has inserted one of its ids since it read the table, and is then done again on what is there now. It needs
two things (``benchmarks/writers.py``, docs/writers.md): the key in the field's metadata, and no index on the key at the
merge, because then LanceDB does not notice. So each merge reads the column of the key: .3 s and .17 GB at a million
rows.

In a folder of this machine a file lock keeps writers apart, so there is a shorter way: rows whose keys are new are
appended. Whether they are new, the index tells: no key lies between the least and the greatest of them, which is so
for ids of samples that are added together; or, in a large table, none of the keys is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from clip2video_plugin.index import memory
from clip2video_plugin.index.commits import patiently, unless_done
from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, quoted
from clip2video_plugin.index.schema import PRIMARY_KEY
from clip2video_plugin.index.whole import undone_if_cut

LARGE = 200_000  # rows of a table whose keys take 40 MB


def merge(table: Any, rows: pa.Table, *, of: str | None = None, key: str = "id", alone: bool = False) -> None:
    """Adds rows, or replaces those of equal key, all at once.

    Args:
        of: a filter; the rows that it keeps and that are not among the new ones go.
        key: the column that tells rows apart, without nulls.
        alone: the caller holds the lock of a folder, so that nobody else writes until this is done.
    """
    protect(table, key)
    if alone and _all_new(table, rows, of, key):
        with memory.given_back(), undone_if_cut(table):
            table.add(rows)
        return
    found = table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
    if of is not None:
        found = found.when_not_matched_by_source_delete(of)
    with memory.given_back(), undone_if_cut(table):  # of a million keys 100 MB
        patiently(lambda: found.use_index(False).execute(rows))


def _all_new(table: Any, rows: pa.Table, of: str | None, key: str) -> bool:
    """Whether no row would be replaced or go, as far as that is told sooner than by the merge."""
    large = table.count_rows() > LARGE
    if of is not None:
        return large and not table.count_rows(of)
    keys: list[str] = rows[key].to_pylist()
    if not keys or len(set(keys)) < len(keys):
        return False
    if not table.count_rows(f"{key} >= {quoted(min(keys))} AND {key} <= {quoted(max(keys))}"):
        return True
    return large and not any(table.count_rows(in_list(key, part)) for part in chunks(keys, IN_LIST))


def protect(table: Any, key: str = "id", made_of: str = "") -> None:
    """Sets the primary key of a table that an earlier version made; where it had none, ``made_of`` gives it in SQL."""
    if _protected(table, key):
        return
    unless_done(lambda: key in table.schema.names, lambda: table.add_columns({key: made_of}))
    unless_done(
        lambda: not table.schema.field(key).nullable, lambda: table.alter_columns({"path": key, "nullable": False})
    )
    unless_done(lambda: _protected(table, key), lambda: table.set_unenforced_primary_key(key))


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
