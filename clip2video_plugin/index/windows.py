"""The windows of videos: rows of a table that belong to a video's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index import upkeep
from clip2video_plugin.index.connection import IN_LIST, chunks, in_list, local_folder, read
from clip2video_plugin.index.merge import add_missing, merge
from clip2video_plugin.index.reading import delete
from clip2video_plugin.index.schema import CAPTION_TIMES, SIZES, THUMBNAILS, VIDEO
from clip2video_plugin.index.view import vectors_of
from clip2video_plugin.paths import as_path

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


def made(uri: str, table: Any, ids: Sequence[str]) -> dict[str, Made]:
    """Video -> what its windows are of, for those of ``ids`` with any. Each has one that begins at 0."""
    out = dict[str, Made]()
    names = [VIDEO.name, "size", "mtime", "path", *[SIZES.name] * (SIZES.name in table.schema.names)]
    for part in chunks(list(ids), IN_LIST):
        found = table.search().where(f"start = 0 AND {in_list(VIDEO.name, part)}").select(names).limit(None)
        for row in read(uri, found.to_list):
            out[row[VIDEO.name]] = Made(row["size"], row["mtime"], as_path(row["path"]), row.get(SIZES.name))
    return out


def sizes_of(uri: str, table: Any) -> str | None:
    """Which windows were asked for last; None where there are none."""
    if not (rows := read(uri, table.count_rows)) or SIZES.name not in table.schema.names:
        return None
    last = read(uri, lambda: table.search().select([SIZES.name]).limit(1).offset(rows - 1).to_list())
    return last[0][SIZES.name] if last else None


def read_back(uri: str, table: Any, video: str) -> VideoWindows | None:
    """All windows of a video, to be written as those of another."""
    rows = read(uri, table.search().where(in_list(VIDEO.name, [video])).limit(None).to_arrow)
    if not len(rows):
        return None
    rows = rows.sort_by([("start", "ascending"), ("end", "ascending")])
    first = rows.slice(0, 1).drop_columns(["vector"]).to_pylist()[0]
    spans = np.stack([rows["start"].to_numpy(), rows["end"].to_numpy()], axis=1)
    small = rows[THUMBNAILS.name].to_pylist() if THUMBNAILS.name in rows.column_names else ()
    return VideoWindows(first, first.get(SIZES.name) or "", spans, vectors_of(rows), small)


def write(uri: str, table: Any, videos: Sequence[VideoWindows]) -> None:
    """``VideoIndex.write_windows``, with the writers' lock held."""
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


def drop_stale(
    uri: str, table: Any, stamps: Mapping[str, tuple[int, float]], sizes: Mapping[str, str | None] | None = None
) -> None:
    """Removes the windows of videos whose files have other sizes or times of change by now, or others than these."""
    there = made(uri, table, list(stamps))
    others = {video for video, one in there.items() if sizes is not None and one.sizes != sizes[video]}
    if stale := [video for video, one in there.items() if video in others or (one.size, one.mtime) != stamps[video]]:
        delete(uri, table, VIDEO.name, stale)


def by_video(uri: str, table: Any, ids: Sequence[str]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """``VideoIndex.windows_by_video``."""
    out = dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]()
    for part in chunks(list(ids), IN_LIST):
        found = table.search().where(in_list(VIDEO.name, part)).select([VIDEO.name, "start", "end", "vector"])
        rows = read(uri, found.limit(None).to_arrow).sort_by([(n, "ascending") for n in (VIDEO.name, "start", "end")])
        if not len(rows):
            continue
        owners, vectors = np.array(rows[VIDEO.name].to_pylist()), vectors_of(rows)
        spans = np.stack([rows["start"].to_numpy(), rows["end"].to_numpy()], axis=1)
        names, firsts = np.unique(owners, return_index=True)
        for name, first, last in zip(names.tolist(), firsts, [*firsts[1:], len(rows)], strict=True):
            out[name] = spans[first:last], vectors[first:last]
    return out
