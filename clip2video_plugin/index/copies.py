"""A table copied to another of the same index, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from clip2video_plugin.index.connection import connect, exists, plain_errors, writer_lock


def copy_table(uri: str, source: str, target: str, ids: Mapping[str, str], marks: Mapping[str, str]) -> None:
    """Makes a table of another's rows whose ids are keys of ``ids``, under the ids they are mapped to.

    Args:
        marks: metadata that the new table has in place of the other's, see ``schema.new_marks``.

    Raises:
        VideoIndexError: there is no such table, or the new one cannot be written.
    """
    connection = connect(uri)
    with plain_errors(uri), writer_lock(uri):
        rows = connection.open_table(source)
        metadata = {key.decode(): value.decode() for key, value in (rows.schema.metadata or {}).items()}
        schema = rows.schema.with_metadata(metadata | dict(marks))
        renamed = [name for name in ("id", "sample_id") if name in schema.names]

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in rows.search().limit(None).to_batches():
                kept = batch.filter(pa.array([i in ids for i in batch.column("id").to_pylist()], pa.bool_()))
                new = pa.array([ids[i] for i in kept.column("id").to_pylist()], pa.string())
                columns = [new if name in renamed else kept.column(name) for name in schema.names]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

        connection.create_table(target, data=pa.RecordBatchReader.from_batches(schema, batches()), schema=schema)


def has_table(uri: str, table: str) -> bool:
    """Whether an index has a table of this name."""
    with plain_errors(uri):
        return exists(connect(uri), table)
