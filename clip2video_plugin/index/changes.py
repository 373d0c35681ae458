"""Rows that come, are replaced and go, with all that belongs to them: windows, what keeps unfinished ones, indexes.

Methods of ``VideoIndex``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from clip2video_plugin.index import unfinished, upkeep
from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, local_folder, plain_errors
from clip2video_plugin.index.connection import drop as drop_table
from clip2video_plugin.index.merge import add_missing, merge
from clip2video_plugin.index.schema import LATER, SIZES, VIDEO
from clip2video_plugin.index.whole import undone_if_cut

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex


def write(self: VideoIndex, rows: Sequence[dict[str, Any]], *, instead_of: Iterable[str] = ()) -> None:
    """Adds rows, or replaces those of equal id, all at once.

    Args:
        instead_of: ids of rows that go, as these are theirs under new ids.
    """
    if not rows:
        return
    unique = {row["id"]: row for row in rows}
    with plain_errors(self.uri), self.writing():
        before = self._table.version
        add_missing(self._table, LATER)
        data = pa.Table.from_pylist(list(unique.values()), schema=self._table.schema)
        gone = [one for one in instead_of if one not in unique]
        if gone:
            _delete_windows(self, gone)
        of = in_list("id", gone) if gone else None  # in one commit, or a kill between would leave a video twice
        merge(self._table, data, of=of, alone=local_folder(self.uri) is not None)
        upkeep.index_column(self._table, "id")
        if not self.is_windows and any(row.get(upkeep.WORDS) for row in rows):
            self.text.make()
        upkeep.tidy(self.uri, self._table, before)
        if (parts := self.windows()) is not None:
            _drop_stale(parts, {i: (row["size"], row["mtime"]) for i, row in unique.items()})


def write_table(self: VideoIndex, rows: pa.Table) -> None:
    """``write`` of rows in columns: those of a table of videos, or whole windows of videos for one of windows."""
    if not len(rows):
        return
    with plain_errors(self.uri), self.writing():
        before = self._table.version
        add_missing(self._table, [*LATER, SIZES] if self.is_windows else LATER)
        if self.is_windows:
            names = [VIDEO.name, "size", "mtime", SIZES.name]
            of = {row[VIDEO.name]: row for row in rows.select(names).to_pylist()}
            stamps = {video: (row["size"], row["mtime"]) for video, row in of.items()}
            _drop_stale(self, stamps, {video: row[SIZES.name] for video, row in of.items()})
        lacking = [field for field in self._table.schema if field.name not in rows.column_names]
        for field in lacking:  # of a newer version
            rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
        rows = rows.select(self._table.schema.names).cast(self._table.schema)
        merge(self._table, rows, alone=local_folder(self.uri) is not None)
        upkeep.index_column(self._table, VIDEO.name if self.is_windows else "id")
        if not self.is_windows and pc.any(pc.greater(pc.list_value_length(rows[upkeep.WORDS]), 0)).as_py():
            self.text.make()
        upkeep.tidy(self.uri, self._table, before)


def delete(self: VideoIndex, ids: Sequence[str]) -> None:
    """Removes rows, of videos with all their windows; unknown ids are passed over."""
    if ids:
        with plain_errors(self.uri), self.writing():
            _delete_windows(self, ids)
            delete_rows(self.uri, self._table, "id", ids)


def drop(self: VideoIndex) -> None:
    """Removes the whole table, and that of its windows."""
    with plain_errors(self.uri), self.writing():
        if (parts := self.windows()) is not None:
            parts.drop()
        unfinished.forget(self.uri, self._table.name)
        drop_table(self._connection, self._table.name)


def _delete_windows(index: VideoIndex, videos: Sequence[str]) -> None:
    if (parts := index.windows()) is not None:
        delete_rows(parts.uri, parts._table, VIDEO.name, videos)
        unfinished.forget(parts.uri, parts._table.name, videos)


def _drop_stale(
    windows: VideoIndex, stamps: Mapping[str, tuple[int, float]], sizes: Mapping[str, str | None] | None = None
) -> None:
    """Removes the windows of videos whose files have other sizes or times of change by now, or others than these."""
    there = windows.windows_made(list(stamps))
    others = {video for video, one in there.items() if sizes is not None and one.sizes != sizes[video]}
    if stale := [video for video, one in there.items() if video in others or (one.size, one.mtime) != stamps[video]]:
        delete_rows(windows.uri, windows._table, VIDEO.name, stale)


def delete_rows(uri: str, table: Any, column: str, values: Sequence[str]) -> None:
    """Removes the rows that have one of these values; commits nothing where there are none."""
    before = table.version
    for part in chunks(list(values), IN_LIST):
        if table.count_rows(where := in_list(column, part)):
            with undone_if_cut(table):
                table.delete(where)
    upkeep.tidy(uri, table, before)
