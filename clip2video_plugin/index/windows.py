"""The windows of videos: rows of a table that belong to a video's row. Functions are methods of ``VideoIndex``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index import unfinished, upkeep
from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, local_folder, plain_errors, read
from clip2video_plugin.index.merge import add_missing, merge
from clip2video_plugin.index.reading import names_of
from clip2video_plugin.index.schema import CAPTION_TIMES, SIZES, THUMBNAILS, VIDEO
from clip2video_plugin.index.view import vectors_of
from clip2video_plugin.paths import as_path

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex

ROWS = 20_000  # that are read or written at once


@dataclass(frozen=True)
class VideoWindows:
    """All windows of a video.

    Attributes:
        row: columns of the video's own row, of which the windows get what they share with it.
        sizes: which windows were asked for, "5/2.5,10/5" or "auto".
        spans, vectors: [n, 2] in seconds, by start and end, and [n, D] of unit norm.
        thumbnails: of each window (``schema.THUMBNAILS``), where they are known.
    """

    row: Mapping[str, Any]
    sizes: str
    spans: NDArray[np.float64]
    vectors: NDArray[np.float32]
    thumbnails: Sequence[bytes | None] = ()

    def of(self, row: Mapping[str, Any]) -> VideoWindows:
        """The same as windows of another row, as of a video that was moved."""
        return replace(self, row=row)


@dataclass(frozen=True)
class Made:
    """Of what file the windows of a video are, and which were asked for."""

    size: int
    mtime: float
    path: str
    sizes: str | None


def windows_made(self: VideoIndex, ids: Sequence[str]) -> dict[str, Made]:
    """Video -> of what file its windows are, and which were asked for, for those of ``ids`` with any.

    Each has one that begins at 0.
    """
    out = dict[str, Made]()
    names = [VIDEO.name, "size", "mtime", "path", *[SIZES.name] * (SIZES.name in names_of(self))]
    for part in chunks(list(ids), IN_LIST):
        where = f"start = 0 AND {in_list(VIDEO.name, part)}"
        for row in read(self.uri, partial(_rows_where, self._table, where, names)).to_pylist():
            out[row[VIDEO.name]] = Made(row["size"], row["mtime"], as_path(row["path"]), row.get(SIZES.name))
    return out


def window_sizes(self: VideoIndex) -> str | None:
    """Which windows were asked for last, "5/2.5,10/5" or "auto"; None where there are none."""
    if not (rows := self.count()) or SIZES.name not in names_of(self):
        return None
    last = read(self.uri, lambda: self._table.search().select([SIZES.name]).limit(1).offset(rows - 1).to_list())
    return last[0][SIZES.name] if last else None


def all_windows(self: VideoIndex, video: str) -> VideoWindows | None:
    """The windows of a video, to be written as those of another row."""
    rows = read(self.uri, partial(_rows_where, self._table, in_list(VIDEO.name, [video])))
    if not len(rows):
        return None
    rows = rows.sort_by([("start", "ascending"), ("end", "ascending")])
    first = rows.slice(0, 1).drop_columns(["vector"]).to_pylist()[0]
    spans = np.stack([rows["start"].to_numpy(), rows["end"].to_numpy()], axis=1)
    small = rows[THUMBNAILS.name].to_pylist() if THUMBNAILS.name in rows.column_names else ()
    return VideoWindows(first, first.get(SIZES.name) or "", spans, vectors_of(rows), small)


def _rows_where(table: Any, where: str, columns: list[str] | None = None) -> pa.Table:
    """Rows that a filter keeps, of all columns where none are named."""
    found = table.search().where(where).limit(None)
    return (found.select(columns) if columns else found).to_arrow()


def write_windows(self: VideoIndex, videos: Sequence[VideoWindows]) -> None:
    """Replaces the windows of videos, of each all at once."""
    if videos:
        with plain_errors(self.uri), self.writing():
            _write(self.uri, self._table, videos)
            unfinished.forget(self.uri, self._table.name, [video.row["id"] for video in videos])


def _write(uri: str, table: Any, videos: Sequence[VideoWindows]) -> None:
    before = table.version
    add_missing(table, [SIZES])
    some = list[VideoWindows]()
    for video in videos:
        some.append(video)
        if sum(len(one.spans) for one in some) >= ROWS or video is videos[-1]:
            ids = [one.row["id"] for one in some]
            data = pa.concat_tables([_rows(table.schema, one) for one in some])
            merge(table, data, of=in_list(VIDEO.name, ids), alone=local_folder(uri) is not None)
            some.clear()
    upkeep.index_column(table, VIDEO.name)
    upkeep.tidy(uri, table, before)


def _rows(schema: pa.Schema, video: VideoWindows) -> pa.Table:
    """The rows of a video's windows; all but their spans and vectors are the same."""
    count = len(video.spans)
    starts, ends = video.spans.T.tolist()
    columns = dict[str, Any]({"start": starts, "end": ends, SIZES.name: [video.sizes] * count})
    columns[VIDEO.name] = [video.row["id"]] * count
    columns["id"] = [f"{video.row['id']}/{a:.3f}-{b:.3f}" for a, b in video.spans.tolist()]
    flat = pa.array(np.ascontiguousarray(video.vectors, np.float32).reshape(-1))
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, schema.field("vector").type.list_size)
    if video.thumbnails:
        columns[THUMBNAILS.name] = video.thumbnails
    for column in schema:
        if column.name not in columns:
            value = None if column.name in NOT_SHARED else video.row.get(column.name)
            columns[column.name] = [value] * count
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema=schema)


# Of a video's row with those of its windows: a film has a thousand subtitles, and captions change without its vectors.
NOT_SHARED = (THUMBNAILS.name, "fingerprint", "captions", CAPTION_TIMES.name)


def windows_by_video(
    self: VideoIndex, ids: Sequence[str]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Video -> spans [n, 2] and vectors [n, D] of its windows by start and end, for those of ``ids`` with any."""
    out = dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]()
    for part in chunks(list(ids), IN_LIST):
        asked = partial(_rows_where, self._table, in_list(VIDEO.name, part), [VIDEO.name, "start", "end", "vector"])
        rows = read(self.uri, asked).sort_by([(n, "ascending") for n in (VIDEO.name, "start", "end")])
        if not len(rows):
            continue
        owners, vectors = np.array(rows[VIDEO.name].to_pylist()), vectors_of(rows)
        spans = np.stack([rows["start"].to_numpy(), rows["end"].to_numpy()], axis=1)
        names, firsts = np.unique(owners, return_index=True)
        for name, first, last in zip(names.tolist(), firsts, [*firsts[1:], len(rows)], strict=True):
            out[name] = spans[first:last], vectors[first:last]
    return out
