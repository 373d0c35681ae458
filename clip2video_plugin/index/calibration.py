"""The ``calibration`` table: what was fitted for the scores of other tables, a row of JSON for each."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from clip2video_plugin.index.connection import (
    connect,
    exists,
    local_folder,
    plain_errors,
    quoted,
    read,
    writer_lock,
)
from clip2video_plugin.index.schema import CALIBRATION
from clip2video_plugin.index.store import VideoIndex

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # name of the table whose scores it is about
        pa.field("identity", pa.string(), nullable=False),  # of that table
        pa.field("sha256", pa.string(), nullable=False),  # of the weights
        pa.field("rows", pa.int64(), nullable=False),  # that the table had
        pa.field("added", pa.float64(), nullable=False),  # seconds since 1970
        pa.field("fit", pa.string(), nullable=False),  # JSON
    ]
)


@dataclass(frozen=True)
class Fit:
    """What is stored for a table: ``values`` as they were written; ``fresh`` when table and weights are still those."""

    values: dict[str, Any]
    rows: int
    fresh: bool


def has_calibration(uri: str) -> bool:
    """Whether an index may hold one; of a local index without opening anything."""
    folder = local_folder(uri)
    return os.path.isdir(folder / f"{CALIBRATION}.lance") if folder else exists(connect(uri), CALIBRATION)


def read_fit(index: VideoIndex) -> Fit | None:
    """What is stored for this table."""
    if not has_calibration(index.uri):
        return None
    connection = connect(index.uri)
    if not exists(connection, CALIBRATION):
        return None
    with plain_errors(index.uri):
        table = connection.open_table(CALIBRATION)
    rows = read(index.uri, lambda: table.search().where(f"id = {quoted(index.name)}").limit(1).to_list())
    if not rows:
        return None
    row = rows[0]
    fresh = (row["identity"], row["sha256"]) == (index.identity, index.provenance.sha256)
    return Fit(json.loads(row["fit"]), int(row["rows"]), fresh)


def write_fit(index: VideoIndex, values: dict[str, Any], rows: int) -> None:
    """Stores ``values`` for this table, in place of what was stored for it."""
    row = {
        "id": index.name,
        "identity": index.identity,
        "sha256": index.provenance.sha256,
        "rows": rows,
        "added": time.time(),
        "fit": json.dumps(values),
    }
    connection = connect(index.uri)
    with plain_errors(index.uri), writer_lock(index.uri):
        table = connection.create_table(CALIBRATION, schema=SCHEMA, exist_ok=True)
        merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(pa.Table.from_pylist([row], schema=SCHEMA))


def drop_fit(index: VideoIndex) -> None:
    """Forgets what is stored for this table."""
    connection = connect(index.uri)
    if exists(connection, CALIBRATION):
        with plain_errors(index.uri), writer_lock(index.uri):
            connection.open_table(CALIBRATION).delete(f"id = {quoted(index.name)}")


def sample_rows(index: VideoIndex, count: int, seed: int, *, captioned: bool = False) -> dict[str, dict[str, Any]]:
    """id -> row of at most ``count`` rows drawn by seed; ``captioned``: of those with captions."""
    where = "array_length(captions) > 0" if captioned else None
    ids = sorted(index.ids(where))
    if len(ids) > count:
        ids = [ids[i] for i in np.random.default_rng(seed).choice(len(ids), count, replace=False)]
    return index.rows(ids)
