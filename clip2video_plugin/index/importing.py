"""An export read into an index: checked whole, then merged by id."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoIndexError, VideoReadError, first_line
from clip2video_plugin.index import calibration
from clip2video_plugin.index.portable import RELATIVE, in_order, parts_of, target_of
from clip2video_plugin.index.schema import (
    ADDED,
    CALIBRATION,
    FAILED,
    FAILURES,
    IDENTITY,
    VIDEO,
    VIDEOS,
    WINDOWS,
    Provenance,
    check_form,
    videos_schema,
)
from clip2video_plugin.index.store import VideoIndex
from clip2video_plugin.index.view import vectors_of
from clip2video_plugin.paths import as_path, stored
from clip2video_plugin.places import Place, Uri, place_of, video_id
from clip2video_plugin.progress import Tell

ROWS = 8192  # that are read, and written, at once: 34 MB of vectors


@dataclass(frozen=True)
class Imported:
    """What was read into an index: rows by table, ``same`` of them videos that were there already, unchanged."""

    index: str
    rows: dict[str, int]
    same: int


def import_index(
    source: str | Path,
    index: str | Path | VideoIndex | None = None,
    *,
    root: str | Path | None = None,
    progress: Tell | None = None,
) -> Imported:
    """Reads an export into an index, which is made when absent; rows of equal id are replaced, all others stay.

    Everything is checked before anything is written. A run that was stopped goes on when it is run again. What was
    fitted for scores (``calibration``) is taken only by an index that has no other videos, and no fit of its own.

    Args:
        source: what ``export_index`` wrote, here, in a store, or on a web server (a single file).
        root: the folder or prefix from which relative paths go on.
        progress: called with the number of rows done, and of all.

    Raises:
        VideoIndexError: there is no export, it is damaged or not of this package, its vectors are of another model or
            no unit vectors, ids stand there twice, or paths are relative without ``root``, or not with it.
    """
    parts = {name: Part(name, place, root) for name, place in parts_of(source).items()}
    videos = parts[VIDEOS]
    found = VideoIndex.find(index)
    if found is not None:
        found.provenance.check(videos.provenance, f"index {found.uri}")
        if found.dim != videos.dim:
            raise VideoIndexError(
                f"{videos.place} has vectors of {videos.dim} numbers, and index {found.uri} of {found.dim}"
            )
    for part in parts.values():
        part.check(videos)
    target = (found or VideoIndex.create(index, videos.dim, videos.provenance)).for_writing()
    same, rows = 0, dict.fromkeys(parts, 0)
    total = sum(part.count for part in parts.values())

    def tell(name: str, count: int) -> None:
        rows[name] += count
        if progress:
            progress(sum(rows.values()), total=total)

    for batch in videos.batches():
        kept = _changed(target, batch)
        same += len(batch) - len(kept)
        target.write_table(kept)
        target.clear_failures(batch["id"].to_pylist())
        tell(VIDEOS, len(batch))
    if WINDOWS in parts:
        windows = target.create_windows()
        for batch in parts[WINDOWS].batches():
            windows.write_table(batch)
            tell(WINDOWS, len(batch))
    if FAILED in parts:
        for batch in parts[FAILED].batches():
            target.write_failures(batch.to_pylist())
            tell(FAILED, len(batch))
    if CALIBRATION in parts and target.count() == videos.count:  # a run that was stopped is not the first
        for batch in parts[CALIBRATION].batches():
            calibration.take(target, batch.to_pylist(), {name: part.identity for name, part in parts.items()})
            tell(CALIBRATION, len(batch))
    if target.needs_indexing():
        target.finish()
    return Imported(target.uri, in_order(rows), same)


class Part:
    """A file of an export, as rows of a table; paths that are relative go on from ``root``."""

    def __init__(self, name: str, place: Place, root: str | Path | None) -> None:
        self.name, self.place = name, place
        self._root = None if root is None else target_of(root)
        with self._plainly():
            self._file = pq.ParquetFile(stores.opened(place) if isinstance(place, Uri) else place)
            found = self._file.schema_arrow
            self.count = int(self._file.metadata.num_rows)
        self._metadata = found.metadata or {}
        check_form(self._metadata, str(place))
        if "path" in found.names:
            if RELATIVE.encode() in self._metadata and root is None:
                raise VideoIndexError(f"paths in {place} are relative; say of which folder or prefix (--root)")
            if RELATIVE.encode() not in self._metadata and root is not None:
                raise VideoIndexError(
                    f"paths in {place} are whole, and --root is for relative ones (c2v index export --relative-to); "
                    "read it in without, and then: c2v index move OLD NEW"
                )
        self._names = found.names
        self._vector = found.field("vector").type if "vector" in found.names else None

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Errors of reading in one line that names the file."""
        try:
            yield
        except VideoReadError as error:
            raise VideoIndexError(str(error)) from None
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            raise VideoIndexError(f"cannot read {self.place}: {first_line(error)}") from None

    @property
    def identity(self) -> str:
        """Of the table that was exported."""
        return str(self._metadata.get(IDENTITY.encode(), b"").decode(errors="replace"))

    @cached_property
    def provenance(self) -> Provenance:
        """What made the vectors."""
        try:
            made = Provenance.from_metadata(self._metadata)
            json.loads(made.network or "{}")
        except (VideoIndexError, ValueError):
            raise VideoIndexError(
                f"{self.place} does not say which model made its vectors; what c2v index export writes does, "
                "and other vectors would not compare"
            ) from None
        return made

    @cached_property
    def dim(self) -> int:
        """Numbers of a vector."""
        if self._vector is None or not pa.types.is_fixed_size_list(self._vector):
            raise VideoIndexError(f"{self.place} has no column vector of lists of one length")
        return int(self._vector.list_size)

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the rows that are given."""
        if self.name == FAILED:
            return FAILURES
        if self.name == CALIBRATION:
            return calibration.SCHEMA
        return videos_schema(self.dim, self.provenance, windows=self.name == WINDOWS)

    def batches(self) -> Iterator[pa.Table]:
        """The rows, some at a time, in the columns of the table; those that are not there are null."""
        with self._plainly():
            for batch in self._file.iter_batches(batch_size=ROWS, columns=self._wanted):
                batch.validate(full=True)  # texts may be no UTF-8
                table = pa.Table.from_batches([batch])
                columns = [
                    table[field.name].cast(field.type)
                    if field.name in table.column_names
                    else pa.nulls(len(table), field.type)
                    for field in self.schema
                ]
                yield self._placed(pa.Table.from_arrays(columns, names=self.schema.names))

    @cached_property
    def _wanted(self) -> list[str]:
        return [name for name in self.schema.names if name in self._names]

    def _placed(self, rows: pa.Table) -> pa.Table:
        """With whole paths, and ids that are theirs."""
        if self._root is None or "path" not in rows.column_names:
            return rows
        places = [self._place(text) for text in rows["path"].to_pylist()]
        ids = [video_id(place) for place in places]
        new = {"path": [stored(str(place)) for place in places], "id": ids}
        if self.name == WINDOWS:
            own = zip(ids, rows["id"].to_pylist(), rows[VIDEO.name].to_pylist(), strict=True)
            new |= {VIDEO.name: ids, "id": [video + known.removeprefix(before) for video, known, before in own]}
        for name, values in new.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.string()))
        return rows

    def _place(self, text: str | None) -> Place:
        path = as_path(text or "")
        if not path or os.path.isabs(path) or ".." in path.split("/"):
            raise VideoIndexError(f"{self.place}: path {path!r} is not below a folder")
        if isinstance(self._root, Uri):
            return place_of(f"{self._root.text.rstrip('/')}/{path}")
        assert self._root is not None
        return Path(os.path.abspath(self._root / path))

    def check(self, videos: Part) -> None:
        """Reads everything once.

        Raises:
            VideoIndexError: something is wrong with it.
        """
        if self.name in (VIDEOS, WINDOWS) and (self.provenance, self.dim) != (videos.provenance, videos.dim):
            raise VideoIndexError(f"{self.place} and {videos.place} are of different models")
        lacking = [field.name for field in self.schema if not field.nullable and field.name not in self._names]
        if lacking:
            raise VideoIndexError(f"{self.place} has no column {lacking[0]}")
        ids = list[pa.Array]()
        for batch in self.batches():
            for field in self.schema:
                if not field.nullable and batch[field.name].null_count:
                    raise VideoIndexError(f"{self.place}: column {field.name} is not filled in everywhere")
            if "vector" in batch.column_names:
                self._check_vectors(batch)
            if self.name == CALIBRATION:
                self._check_fits(batch)
            ids += batch["id"].chunks
        rows = sum(map(len, ids))
        if rows and (twice := rows - pc.count_distinct(pa.chunked_array(ids)).as_py()):
            raise VideoIndexError(f"{self.place}: {twice} rows more than ids")

    def _check_vectors(self, batch: pa.Table) -> None:
        column = batch["vector"].combine_chunks()
        if column.flatten().null_count:
            raise VideoIndexError(f"{self.place}: vectors have numbers that are missing")
        norms = np.linalg.norm(vectors_of(batch), axis=1)
        wrong = ~(np.abs(norms - 1) <= 1e-3)
        if wrong.any():
            first = int(wrong.argmax())
            name = as_path(batch["path"][first].as_py())
            raise VideoIndexError(f"{self.place}: the vector of {name} has length {norms[first]:g} and not 1")

    def _check_fits(self, batch: pa.Table) -> None:
        for text in batch["fit"].to_pylist():
            try:
                right = isinstance(json.loads(text), dict)
            except ValueError:
                right = False
            if not right:
                raise VideoIndexError(f"{self.place}: column fit holds no JSON object")


def _changed(index: VideoIndex, rows: pa.Table) -> pa.Table:
    """Those of the rows that are not in the index as they are."""
    names = ["id", "size", "mtime", ADDED.name]
    there = {row["id"]: row for row in index.columns(names, rows["id"].to_pylist()).to_pylist()}
    new = rows.select(names).to_pylist()
    return rows.filter(pa.array([row[ADDED.name] is None or there.get(row["id"]) != row for row in new], pa.bool_()))
