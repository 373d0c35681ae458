"""The ``frames`` table: vectors of single frames, which say where in a video a sentence fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index.connection import connect, exists, in_list, plain_errors, writer_lock
from clip2video_plugin.index.schema import Provenance


def frames_schema(dim: int, provenance: Provenance) -> pa.Schema:
    """A row per frame; ``timestamp`` in seconds from the first frame; ``vector`` has unit norm."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("timestamp", pa.float64(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), dim), nullable=False),
        ],
        metadata=provenance.to_metadata(),
    )


class FrameIndex:
    """Frame vectors of videos, float16, in one table of an index."""

    def __init__(self, uri: str, connection: lancedb.DBConnection, table: Any) -> None:
        self.uri = uri
        self._connection, self._table = connection, table
        self.provenance = Provenance.from_metadata(table.schema.metadata)

    @classmethod
    def open(cls, uri: str, table: str) -> FrameIndex | None:
        """The table, or None when there is none yet."""
        connection = connect(uri)
        with plain_errors(uri):
            return cls(uri, connection, connection.open_table(table)) if exists(connection, table) else None

    @classmethod
    def create(cls, uri: str, dim: int, provenance: Provenance, table: str) -> FrameIndex:
        """Opens the table, or makes an empty one; raises VideoIndexError when it is another model's."""
        connection = connect(uri)
        with plain_errors(uri), writer_lock(uri):
            if not exists(connection, table):
                connection.create_table(table, schema=frames_schema(dim, provenance), exist_ok=True)
            index = cls(uri, connection, connection.open_table(table))
        index.provenance.check(provenance, f"the frames in {uri}")
        return index

    def write(self, video: str, timestamps: Sequence[float], vectors: NDArray[np.float32]) -> None:
        """Replaces the frames of a video: vectors [n, D] at n times."""
        dim = self._table.schema.field("vector").type.list_size
        flat = pa.array(np.ascontiguousarray(vectors, np.float16).reshape(-1))
        data = pa.table(
            {
                "id": [video] * len(timestamps),
                "timestamp": pa.array(timestamps, pa.float64()),
                "vector": pa.FixedSizeListArray.from_arrays(flat, dim),
            },
            schema=self._table.schema,
        )
        with plain_errors(self.uri), writer_lock(self.uri):
            self._table.delete(in_list("id", [video]))
            self._table.add(data)

    def read(self, video: str) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Times [n] and vectors [n, D] of a video's frames in order; none when it has none."""
        with plain_errors(self.uri):
            rows = self._table.search().where(in_list("id", [video])).limit(1_000_000).to_arrow()
        times = rows.column("timestamp").to_numpy()
        vectors = np.asarray(rows.column("vector").to_pylist(), np.float32).reshape(len(times), -1)
        order = np.argsort(times, kind="stable")
        return times[order], vectors[order]

    def drop(self) -> None:
        """Removes the table."""
        with plain_errors(self.uri):
            self._connection.drop_table(self._table.name)
