"""The tables of an index as wholes: which there are, a copy of one in batches, and their removal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from clip2video_plugin.index.connection import (
    connect,
    drop,
    exists,
    local_folder,
    opened,
    plain_errors,
    table_names,
    writer_lock,
)
from clip2video_plugin.index.schema import DATABASE, FRAMES, RUN, RUN_WINDOWS, VIDEO, texts_of
from clip2video_plugin.index.versions import batches

RUN_TABLES = (RUN, FRAMES, RUN_WINDOWS)


def copy_table(uri: str, source: str, target: str, ids: Mapping[str, str], marks: Mapping[str, str]) -> None:
    """Makes a table of another's rows whose ids are keys of ``ids``, under the ids they are mapped to.

    Of a table of windows they are the ids of their videos.

    Args:
        marks: metadata that the new table has in place of the other's, see ``schema.new_marks``.

    Raises:
        VideoIndexError: there is no such table, or the new one cannot be written.
    """
    connection = connect(uri)
    with plain_errors(uri), writer_lock(uri):
        rows = connection.open_table(source)
        metadata = texts_of(rows.schema.metadata)
        schema = rows.schema.with_metadata(metadata | dict(marks))
        owner = VIDEO.name if VIDEO.name in schema.names else "id"
        renamed = [name for name in (owner, "sample_id") if name in schema.names]

        def copies() -> Iterator[pa.RecordBatch]:
            for batch in batches(uri, rows):
                kept = batch.filter(pa.array([i in ids for i in batch.column(owner).to_pylist()], pa.bool_()))
                before = kept.column(owner).to_pylist()
                new = dict.fromkeys(renamed, pa.array([ids[i] for i in before], pa.string()))
                if owner != "id":  # a window's begins with its video's
                    own = zip(kept.column("id").to_pylist(), before, strict=True)
                    new["id"] = pa.array([ids[video] + i.removeprefix(video) for i, video in own], pa.string())
                columns = [new[name] if name in new else kept.column(name) for name in schema.names]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

        connection.create_table(target, data=pa.RecordBatchReader.from_batches(schema, copies()), schema=schema)


def has_table(uri: str, table: str) -> bool:
    """Whether an index has a table of this name."""
    with plain_errors(uri):
        return exists(connect(uri), table)


@dataclass(frozen=True)
class Marked:
    """A table, and the FiftyOne database whose run it serves; "" where it does not say."""

    name: str
    rows: int
    database: str


def marked_tables(uri: str, prefixes: tuple[str, ...]) -> list[Marked]:
    """The tables of an index whose names begin so; none where there is no index."""
    folder = local_folder(uri)
    if folder is not None and not folder.is_dir():
        return []
    connection, out = connect(uri), list[Marked]()
    with plain_errors(uri):
        for name in sorted(name for name in table_names(connection) if name.startswith(prefixes)):
            if (table := opened(connection, name)) is None:  # its making was cut off
                continue
            database = texts_of(table.schema.metadata).get(DATABASE, "")
            out.append(Marked(name, int(table.count_rows()), database))
    return out


def drop_tables(uri: str, names: Iterable[str]) -> None:
    """Removes tables."""
    connection = connect(uri)
    with plain_errors(uri), writer_lock(uri):
        for name in names:
            drop(connection, name)
