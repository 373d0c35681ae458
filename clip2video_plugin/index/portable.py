"""An index as Parquet files, which pandas, DuckDB and Polars read: out of an index, and into one.

A file holds the videos. A folder holds what makes an index whole: ``videos.parquet``, and of windows, failures and
calibration those that there are. Columns are those of the tables; what made the vectors stands in the metadata of the
file. Rows pass in batches, so that memory does not grow with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clip2video_plugin import stores
from clip2video_plugin.aside import aside, put
from clip2video_plugin.errors import VideoIndexError, VideoReadError, first_line
from clip2video_plugin.index.connection import connect, exists, plain_errors
from clip2video_plugin.index.schema import CALIBRATION, DATABASE, FAILED, VIDEOS, WINDOWS
from clip2video_plugin.index.store import VideoIndex
from clip2video_plugin.index.versions import batches
from clip2video_plugin.paths import as_path, expanded, stored
from clip2video_plugin.places import Place, Uri, place_of
from clip2video_plugin.progress import Tell

PARTS = (WINDOWS, FAILED, CALIBRATION, VIDEOS)  # of a folder; the last says that all are there
RELATIVE = "clip2video.relative"  # in the metadata of files whose paths are
GROUP = 8192  # rows of a row group


@dataclass(frozen=True)
class Exported:
    """What was written where: rows by table, and bytes."""

    place: str
    rows: dict[str, int]
    bytes: int


def export_index(
    index: str | Path | VideoIndex | None,
    place: str | Path,
    *,
    force: bool = False,
    relative_to: str | Path | None = None,
    progress: Tell | None = None,
) -> Exported:
    """Writes an index as Parquet: its videos to ``FILE.parquet``, all of it to a folder of any other name.

    What is written appears when all of it is there, under its name; a run that is stopped leaves nothing under it.
    Others may write to the index meanwhile: every table is as it was when its export began.

    Args:
        place: a file or a folder, here or in a store (s3, gs, az).
        force: take the place of what is there.
        relative_to: a folder or prefix below which all videos are; their paths are written from there on.
        progress: called with the number of rows done, and of all.

    Raises:
        VideoIndexError: there is no index, something is there already, or a video is not below ``relative_to``.
    """
    videos = VideoIndex.open(index)
    target = target_of(place)
    single = target.name.endswith(".parquet")
    connection = connect(videos.uri)
    names = [VIDEOS] if single else [name for name in PARTS if exists(connection, name)]
    with plain_errors(videos.uri):
        tables = {name: connection.open_table(name) for name in names}
        total = sum(int(table.count_rows()) for table in tables.values())
    below = None if relative_to is None else text_of(place_of(_expanded(relative_to)))
    rows = dict.fromkeys(names, 0)
    with _appearing(target, single=single, force=force) as opened:
        for name, table in tables.items():
            for count in _write(videos.uri, table, opened, name, below):
                rows[name] += count
                if progress:
                    progress(sum(rows.values()), total=total)
        size = opened.bytes
    return Exported(str(target), in_order(rows), size)


def in_order(rows: dict[str, int]) -> dict[str, int]:
    """By table, videos first."""
    return {name: rows[name] for name in (VIDEOS, *PARTS) if name in rows}


def _expanded(name: str | Path) -> str | Path:
    """``~`` of a path for a home."""
    return name if "://" in str(name) else expanded(name)


def target_of(place: str | Path) -> Place:
    """A file or folder by its absolute path, or a URI, as a user names it."""
    target = place_of(_expanded(place))
    if not str(place):
        raise VideoIndexError("no place was named to write to; give a file that ends in .parquet, or a folder")
    return Path(os.path.abspath(target)) if isinstance(target, Path) else target


def text_of(place: Place) -> str:
    """A place as columns hold it."""
    return stored(os.path.abspath(place) if isinstance(place, Path) else place.text)


def _write(uri: str, table: Any, opened: Opened, name: str, below: str | None) -> Iterator[int]:
    with plain_errors(uri):
        schema = table.schema
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != DATABASE.encode()}
    if below is not None:
        metadata[RELATIVE.encode()] = b"1"
    # What fields say of themselves is for LanceDB
    schema = pa.schema([field.remove_metadata() for field in schema], metadata)
    waiting, count = list[pa.RecordBatch](), 0
    with opened.file(name) as file, pq.ParquetWriter(file, schema, compression="zstd", compression_level=1) as writer:
        for batch in batches(uri, table):
            columns = batch.columns
            if below is not None and "path" in schema.names:
                place = schema.get_field_index("path")
                columns[place] = _relative(batch.column(place), below)
            waiting.append(pa.RecordBatch.from_arrays(columns, schema=schema))
            count += len(batch)
            if count >= GROUP:
                writer.write_table(pa.Table.from_batches(waiting), row_group_size=count)
                yield count
                waiting, count = [], 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=max(count, 1))
            yield count


def _relative(paths: pa.Array, below: str) -> pa.Array:
    texts, start = paths.to_pylist(), below.rstrip("/") + "/"
    if outside := [text for text in texts if not text.startswith(start)]:
        raise VideoIndexError(
            f"{as_path(outside[0])} is not below {as_path(below)}; name a folder that holds all videos "
            "(--relative-to), or leave paths as they are"
        )
    return pa.array([text.removeprefix(start) for text in texts], pa.string())


class Opened:
    """Where files are written until all are there."""

    def __init__(self, place: Place, *, single: bool) -> None:
        self.place, self._single, self.bytes = place, single, 0

    @contextmanager
    def file(self, name: str) -> Iterator[Any]:
        """One of the files, open for writing."""
        if isinstance(self.place, Uri):
            from clip2video_plugin.stores.writing import store_of

            store, key = store_of(self.place)
            with store.open_output_stream(key if self._single else f"{key.rstrip('/')}/{name}.parquet") as stream:
                yield stream
                self.bytes += stream.tell()
            return
        with (self.place if self._single else self.place / f"{name}.parquet").open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            self.bytes += stream.tell()


@contextmanager
def _appearing(target: Place, *, single: bool, force: bool) -> Iterator[Opened]:
    """What is written in the block stands under its name afterwards, and nothing of it when the block fails."""
    taken = VideoIndexError(f"{target} exists; choose another name, or let it be replaced (--force)")
    try:
        if isinstance(target, Uri):
            from clip2video_plugin.stores.writing import remove, store_of

            store, key = store_of(target)
            last = key if single else f"{key.rstrip('/')}/{VIDEOS}.parquet"
            if store.get_file_info(last).is_file:
                if not force:
                    raise taken
                if not single:  # without its videos it counts as none until all is there
                    for name in reversed(PARTS):
                        remove(_in(target, name))
            yield Opened(target, single=single)  # an object is there when it is closed, whole
            return
        if os.path.lexists(target):
            if not force:
                raise taken
            if target.is_dir() == single or (target.is_dir() and not _is_export(target)):
                raise VideoIndexError(f"{target} is no such export, and is not replaced; choose another name")
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside(target.parent, target.name) as folder:
            making = folder / target.name
            if not single:
                making.mkdir()
            yield Opened(making, single=single)
            if not force and os.path.lexists(target):  # made by another meanwhile
                raise taken
            put(making, target)
    except (OSError, pa.ArrowException) as error:
        raise VideoIndexError(f"cannot write {target}: {_cause(error)}") from None


def _is_export(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {f"{name}.parquet" for name in PARTS}


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or first_line(error))


def parts_of(source: str | Path) -> dict[str, Place]:
    """The files of an export: of a folder those of its tables, of a file its videos.

    Raises:
        VideoIndexError: there is none.
    """
    place = target_of(source)
    nothing = VideoIndexError(f"no export at {place}; make one with: c2v index export FILE.parquet")
    if place.name.endswith(".parquet"):
        if isinstance(place, Path) and not place.is_file():
            raise nothing
        return {VIDEOS: place}
    found = dict[str, Place]()
    for name in PARTS:
        file = place / f"{name}.parquet" if isinstance(place, Path) else _in(place, name)
        if file.is_file() if isinstance(file, Path) else _is_object(file):
            found[name] = file
    if VIDEOS not in found:
        raise nothing
    return found


def _in(folder: Uri, name: str) -> Uri:
    """One of the files in a folder of a store, with the credentials that came with that."""
    secret = None if folder.secret is None else f"{folder.secret.rstrip('/')}/{name}.parquet"
    return Uri(f"{folder.text.rstrip('/')}/{name}.parquet", secret)


def _is_object(uri: Uri) -> bool:
    """Whether it is there to be read: some stores say of what they do not have that access is denied."""
    try:
        stores.stamp(uri)
    except VideoReadError:
        return False
    return True
