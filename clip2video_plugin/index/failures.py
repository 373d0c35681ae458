"""The table ``failures``: videos that could not be read, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lancedb
import pyarrow as pa

from clip2video_plugin.index import upkeep
from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, open_or_make, opened, read
from clip2video_plugin.index.merge import merge
from clip2video_plugin.index.schema import FAILED, FAILURES, check_form
from clip2video_plugin.paths import as_path


def write(uri: str, connection: lancedb.DBConnection, rows: Sequence[dict[str, Any]]) -> None:
    """``VideoIndex.write_failures``, with the writers' lock held."""
    table = open_or_make(connection, FAILED, FAILURES)
    check_form(table.schema.metadata, f"index {uri}")
    noted = {row["id"]: row for row in _find(table, [row["id"] for row in rows])}
    if new := [row for row in rows if {**noted.get(row["id"], {}), **row} != noted.get(row["id"])]:
        before = table.version
        merge(table, pa.Table.from_pylist(new, schema=table.schema))
        upkeep.tidy(uri, table, before)


def read_all(uri: str, connection: lancedb.DBConnection, where: str | None) -> list[dict[str, Any]]:
    """``VideoIndex.failures``."""
    if (table := opened(connection, FAILED)) is None:
        return []
    check_form(table.schema.metadata, f"index {uri}")
    rows = read(uri, lambda: table.search().where(where or "true").limit(None).to_list())
    return sorted(({**row, "path": as_path(row["path"])} for row in rows), key=lambda row: str(row["path"]))


def _find(table: Any, ids: list[str]) -> Iterator[dict[str, Any]]:
    for part in chunks(ids, IN_LIST):
        yield from table.search().where(in_list("id", part)).limit(len(part)).to_list()
