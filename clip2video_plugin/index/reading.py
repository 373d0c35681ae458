"""What is read of the rows of a table: how many, which, what is known of their files, whole rows, vectors.

Methods of ``VideoIndex``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, read
from clip2video_plugin.index.contents import Entry
from clip2video_plugin.index.schema import CAPTION_TIMES, FINGERPRINT, LATER
from clip2video_plugin.index.versions import batches
from clip2video_plugin.index.view import vectors_of
from clip2video_plugin.paths import as_path, stored

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex

ASKED = 20_000  # ids up to which rows are asked for by them; of more all are read


def count(self: VideoIndex, where: str | None = None) -> int:
    """Number of rows, of a filter of those that it keeps; raises VideoIndexError when the table is gone."""
    return read(self.uri, lambda: int(self._table.count_rows(where)))


def stamps(self: VideoIndex, ids: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Size and time of change with which videos are indexed, for those of ``ids`` that are."""
    return {entry.id: (entry.size, entry.mtime) for entry in self.entries(ids).values()}


def entries(self: VideoIndex, ids: Sequence[str]) -> dict[str, Entry]:
    """id -> what is known of its file, for those of ``ids`` that are indexed."""
    parts = (self.entries_where(in_list("id", part)) for part in chunks(list(ids), IN_LIST))
    return {entry.id: entry for part in parts for entry in part}


def entries_where(self: VideoIndex, where: str) -> list[Entry]:
    """What is known of the files of the rows that a filter keeps."""
    names = ["id", "path", "size", "mtime", "duration"]
    names += [FINGERPRINT.name] * (FINGERPRINT.name in names_of(self))
    found = read(self.uri, lambda: self._table.search().where(where).select(names).limit(None).to_list())
    return [Entry(**{"fingerprint": None, **row, "path": as_path(row["path"])}) for row in found]


def entries_like(self: VideoIndex, stamps: Collection[tuple[int, float]]) -> list[Entry]:
    """What is known of the files of these sizes and times of change."""
    if not stamps:
        return []
    sizes = ", ".join(str(size) for size in {size for size, _ in stamps})
    times = ", ".join(repr(time) for time in {time for _, time in stamps})
    alike = self.entries_where(f"size IN ({sizes}) AND mtime IN ({times})")
    return [entry for entry in alike if (entry.size, entry.mtime) in stamps]


def entries_of(self: VideoIndex, sizes: Collection[int]) -> list[Entry]:
    """What is known of the files of these sizes in bytes."""
    return self.entries_where(f"size IN ({', '.join(map(str, sizes))})") if sizes else []


def named(self: VideoIndex, names: Sequence[str]) -> list[str]:
    """Ids of the rows that have one of these as their id, their sample's id or their path, by id."""
    texts = [stored(name) for name in names]
    where = " OR ".join(in_list(column, texts) for column in ("id", "sample_id", "path"))
    rows = read(self.uri, lambda: self._table.search().where(where).select(["id"]).limit(None).to_list())
    return sorted(row["id"] for row in rows)


def ids(self: VideoIndex, where: str | None = None) -> Iterator[str]:
    """All ids, or those that a filter keeps, of the table as it is when the first is asked for."""
    found = read(self.uri, lambda: self._table.search().where(where or "true").select(["id"]).limit(None).to_arrow())
    for chunk in found.column("id").chunks:
        yield from chunk.to_pylist()


def some(self: VideoIndex, count: int) -> list[str]:
    """Ids of about ``count`` rows, evenly from all of them; the same as long as nothing is written."""

    def drawn() -> list[str]:
        rows = int(self._table.count_rows())
        places = np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64)).tolist()
        return list(self._table.take_offsets(places).select(["id"]).to_arrow()["id"].to_pylist()) if rows else []

    return read(self.uri, drawn)


def rows(self: VideoIndex, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """id -> whole row for those of ``ids`` that are indexed; its vector is an array [D]."""
    found = dict[str, dict[str, Any]]()
    for part in _select(self, ids, names_of(self)):
        plain = part.drop_columns(["vector"]).to_pylist()
        found |= {row["id"]: {**row, "vector": v} for row, v in zip(plain, vectors_of(part), strict=True)}
    return found


def vectors(self: VideoIndex, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """id -> vector [D] for those of ``ids`` that are indexed."""
    found = dict[str, NDArray[np.float32]]()
    for part in _select(self, ids, ["id", "vector"]):
        found |= zip(part["id"].to_pylist(), vectors_of(part), strict=True)
    return found


def vector_batches(self: VideoIndex) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Ids and vectors [n, D] of all rows, some at a time."""
    for batch in batches(self.uri, self._table, ["id", "vector"]):
        part = pa.Table.from_batches([batch])
        yield part["id"].to_pylist(), vectors_of(part)


def captions(self: VideoIndex, ids: Sequence[str]) -> dict[str, tuple[list[str], list[list[float] | None]]]:
    """id -> its captions and when each is said (``schema.CAPTION_TIMES``), for those of ``ids`` that are indexed.

    There are no times where none has any.
    """
    timed = [CAPTION_TIMES.name] * (CAPTION_TIMES.name in names_of(self))
    found = dict[str, tuple[list[str], list[list[float] | None]]]()
    for part in _select(self, ids, ["id", "captions", *timed]):
        found |= {row["id"]: (row["captions"] or [], row.get(CAPTION_TIMES.name) or []) for row in part.to_pylist()}
    return found


def columns(self: VideoIndex, names: Sequence[str], ids: Collection[str] | None = None) -> pa.Table:
    """These columns of all rows, or of those of ``ids``; one that a table of an earlier version lacks is null."""
    schema = read(self.uri, lambda: self._table.schema)
    there = [name for name in names if name in schema.names]
    if ids is not None and len(ids) <= ASKED:
        parts = list(_select(self, list(ids), there)) or [schema.empty_table().select(there)]
        found = pa.concat_tables(parts)
    else:
        found = read(self.uri, lambda: self._table.search().select(there).limit(None).to_arrow())
    if ids is not None and len(ids) > ASKED:
        found = found.filter(pc.is_in(found["id"], value_set=pa.array(list(ids), pa.string())))
    types = {column.name: column.type for column in LATER}
    for name in (name for name in names if name not in there):
        found = found.append_column(name, pa.nulls(len(found), types[name]))
    return found.select(list(names))


def names_of(index: VideoIndex) -> list[str]:
    """``column_names``, asked again where files went away beneath."""
    return read(index.uri, lambda: list(index._table.schema.names))


def _select(index: VideoIndex, ids: Sequence[str], columns: list[str]) -> Iterator[pa.Table]:
    for part in chunks(list(ids), IN_LIST):
        yield read(index.uri, partial(_these, index._table, part, columns))


def _these(table: Any, ids: list[str], columns: list[str]) -> pa.Table:
    return table.search().where(in_list("id", ids)).select(columns).limit(len(ids)).to_arrow()
