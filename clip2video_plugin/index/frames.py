"""The ``frames`` table: vectors of single frames, which say where in a video a sentence fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import upkeep
from clip2video_plugin.index.connection import (
    connect,
    drop,
    exists,
    in_list,
    open_or_make,
    plain_errors,
    read,
    writer_lock,
)
from clip2video_plugin.index.merge import add_missing, merge, protect
from clip2video_plugin.index.schema import FORM, FORM_NOW, KEY, Provenance

STAMP = {"size": pa.int64(), "mtime": pa.float64()}  # which older tables do not have


def frames_schema(dim: int, provenance: Provenance) -> pa.Schema:
    """A row per frame; ``timestamp`` in seconds from the first frame; ``vector`` has unit norm.

    ``size`` and ``mtime`` are those of the file that was read.
    """
    return pa.schema(
        [
            KEY,
            pa.field("id", pa.string(), nullable=False),
            pa.field("timestamp", pa.float64(), nullable=False),
            pa.field("vector", pa.list_(pa.float16(), dim), nullable=False),
            *(pa.field(name, kind) for name, kind in STAMP.items()),
        ],
        metadata={FORM: FORM_NOW} | provenance.to_metadata(),
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
        """Opens the table, or makes an empty one; one of another model, of no use to this one, is replaced."""
        upkeep.sweep(uri)
        connection = connect(uri)
        with plain_errors(uri), writer_lock(uri):
            known = exists(connection, table)
            if known:
                index = cls(uri, connection, connection.open_table(table))
                if index.made_by(provenance):
                    add_missing(index._table, [pa.field(name, kind) for name, kind in STAMP.items()])
                    return index
            schema = frames_schema(dim, provenance)
            if known:
                return cls(uri, connection, connection.create_table(table, schema=schema, mode="overwrite"))
            return cls(uri, connection, open_or_make(connection, table, schema))

    def made_by(self, provenance: Provenance) -> bool:
        """Whether these vectors compare with those of a model."""
        try:
            self.provenance.check(provenance, self.uri)
        except VideoIndexError:
            return False
        return True

    def write(
        self, video: str, timestamps: Sequence[float], vectors: NDArray[np.float32], stamp: tuple[int, float]
    ) -> None:
        """Replaces the frames of a video, all at once: vectors [n, D] at n times, of a file of this size and mtime."""
        schema, n = self._table.schema, len(timestamps)
        flat = pa.array(np.ascontiguousarray(vectors, np.float16).reshape(-1))
        columns = {
            KEY.name: pa.array([f"{video}/{i}" for i in range(n)], pa.string()),
            "id": pa.array([video] * n, pa.string()),
            "timestamp": pa.array(timestamps, pa.float64()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, schema.field("vector").type.list_size),
            "size": pa.array([stamp[0]] * n, pa.int64()),
            "mtime": pa.array([stamp[1]] * n, pa.float64()),
        }
        with plain_errors(self.uri), writer_lock(self.uri):
            before = self._table.version
            protect(self._table, KEY.name, made_of="concat(id, '/', CAST(timestamp AS STRING))")
            schema = self._table.schema
            rows = pa.table({name: columns[name] for name in schema.names}, schema=schema)
            merge(self._table, rows, of=in_list("id", [video]), key=KEY.name)
            upkeep.tidy(self.uri, self._table, before)

    def read(
        self, video: str, stamp: tuple[int, float] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Times [n] and vectors [n, D] of a video's frames in order; none when it has none.

        Args:
            stamp: size and mtime of the file now; frames that were read of it before it changed are none then.
        """
        rows = read(self.uri, lambda: self._table.search().where(in_list("id", [video])).limit(None).to_arrow())
        if stamp is not None and STAMP.keys() <= set(rows.column_names):
            rows = rows.filter((pc.field("size") == stamp[0]) & (pc.field("mtime") == stamp[1]))
        elif stamp is not None:
            rows = rows.slice(0, 0)
        rows = rows.sort_by("timestamp").combine_chunks()
        column = rows.column("vector").combine_chunks()
        vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        return rows.column("timestamp").to_numpy(), vectors.reshape(len(rows), column.type.list_size)

    def drop(self) -> None:
        """Removes the table."""
        with plain_errors(self.uri), writer_lock(self.uri):
            drop(self._connection, self._table.name)
