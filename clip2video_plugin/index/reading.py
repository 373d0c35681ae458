"""Rows of a table by their ids: what is known of files, whole rows, vectors; and their removal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clip2video_plugin.index import upkeep
from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, read
from clip2video_plugin.index.contents import Entry
from clip2video_plugin.index.schema import CAPTION_TIMES, FINGERPRINT, LATER
from clip2video_plugin.index.versions import batches
from clip2video_plugin.index.view import vectors_of
from clip2video_plugin.paths import as_path

ASKED = 20_000  # ids up to which rows are asked for by them; of more all are read


def entries(uri: str, table: Any, where: str) -> list[Entry]:
    """What is known of the files of the rows that a filter keeps."""
    names = ["id", "path", "size", "mtime", "duration"]
    names += [FINGERPRINT.name] * (FINGERPRINT.name in table.schema.names)
    found = read(uri, lambda: table.search().where(where).select(names).limit(None).to_list())
    return [Entry(**{"fingerprint": None, **row, "path": as_path(row["path"])}) for row in found]


def rows(uri: str, table: Any, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """id -> whole row; its vector is an array [D]."""
    found = dict[str, dict[str, Any]]()
    for part in _select(uri, table, ids, table.schema.names):
        plain = part.drop_columns(["vector"]).to_pylist()
        found |= {row["id"]: {**row, "vector": v} for row, v in zip(plain, vectors_of(part), strict=True)}
    return found


def vectors(uri: str, table: Any, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """id -> vector [D]."""
    found = dict[str, NDArray[np.float32]]()
    for part in _select(uri, table, ids, ["id", "vector"]):
        found |= zip(part["id"].to_pylist(), vectors_of(part), strict=True)
    return found


def vector_batches(uri: str, table: Any) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """``VideoIndex.vector_batches``."""
    for batch in batches(uri, table, ["id", "vector"]):
        part = pa.Table.from_batches([batch])
        yield part["id"].to_pylist(), vectors_of(part)


def captions(uri: str, table: Any, ids: Sequence[str]) -> dict[str, tuple[list[str], list[list[float] | None]]]:
    """id -> its captions and the times of each (``schema.CAPTION_TIMES``); no times where none has any."""
    timed = [CAPTION_TIMES.name] * (CAPTION_TIMES.name in table.schema.names)
    found = dict[str, tuple[list[str], list[list[float] | None]]]()
    for part in _select(uri, table, ids, ["id", "captions", *timed]):
        found |= {row["id"]: (row["captions"] or [], row.get(CAPTION_TIMES.name) or []) for row in part.to_pylist()}
    return found


def columns(uri: str, table: Any, names: Sequence[str], ids: Collection[str] | None) -> pa.Table:
    """``VideoIndex.columns``."""
    there = [name for name in names if name in table.schema.names]
    if ids is not None and len(ids) <= ASKED:
        parts = list(_select(uri, table, list(ids), there)) or [table.schema.empty_table().select(there)]
        found = pa.concat_tables(parts)
    else:
        found = read(uri, lambda: table.search().select(there).limit(None).to_arrow())
    if ids is not None and len(ids) > ASKED:
        found = found.filter(pc.is_in(found["id"], value_set=pa.array(list(ids), pa.string())))
    types = {column.name: column.type for column in LATER}
    for name in (name for name in names if name not in there):
        found = found.append_column(name, pa.nulls(len(found), types[name]))
    return found.select(list(names))


def _select(uri: str, table: Any, ids: Sequence[str], columns: list[str]) -> Iterator[pa.Table]:
    for part in chunks(list(ids), IN_LIST):
        yield read(uri, table.search().where(in_list("id", part)).select(columns).limit(len(part)).to_arrow)


def delete(uri: str, table: Any, column: str, values: Sequence[str]) -> None:
    """Removes the rows that have one of these values; commits nothing where there are none."""
    before = table.version
    for part in chunks(list(values), IN_LIST):
        if table.count_rows(where := in_list(column, part)):
            table.delete(where)
    upkeep.tidy(uri, table, before)
