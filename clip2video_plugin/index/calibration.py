"""The ``calibration`` table: what was fitted for the scores of other tables, a row of JSON for each."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index import upkeep
from clip2video_plugin.index.connection import (
    connect,
    exists,
    local_folder,
    open_or_make,
    plain_errors,
    quoted,
    read,
    writer_lock,
)
from clip2video_plugin.index.merge import merge, protect
from clip2video_plugin.index.schema import BANKS, CALIBRATION, ID, KEY, check_form, new_marks, state_of
from clip2video_plugin.index.store import VideoIndex

AGAIN = 60.0  # seconds
FORM = 2  # of what is stored: of another version, it is of no use

SCHEMA = pa.schema(
    [
        ID,  # name of the table whose scores it is about, and of what else
        pa.field("identity", pa.string(), nullable=False),  # of that table
        pa.field("sha256", pa.string(), nullable=False),  # of the weights
        pa.field("rows", pa.int64(), nullable=False),  # that the table had
        pa.field("added", pa.float64(), nullable=False),  # seconds since 1970
        pa.field("fit", pa.string(), nullable=False),  # JSON
    ]
)

BANK = pa.schema(
    [
        KEY,
        pa.field("bank", pa.string()),
        pa.field("place", pa.int64()),  # in the bank
        pa.field("vector", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class Fit:
    """What is stored for a table: ``values`` as they were written, and ``rows`` the table had then.

    ``fresh``: table and weights are still those that it was fitted for.
    """

    values: dict[str, Any]
    rows: int
    fresh: bool


_missed = dict[str, float]()  # of indexes elsewhere, when a table was last looked for in vain


def has_calibration(uri: str) -> bool:
    """Whether an index may hold one; of a local index without opening anything, of another asked once a minute."""
    if folder := local_folder(uri):
        return os.path.isdir(folder / f"{CALIBRATION}.lance")
    if time.monotonic() - _missed.get(uri, -AGAIN) < AGAIN:
        return False
    there = exists(connect(uri), CALIBRATION)
    if not there:
        _missed[uri] = time.monotonic()
    return there


_read = dict[tuple[str, str], tuple[Any, tuple[str, int], dict[str, Any] | None]]()


def read_fit(index: VideoIndex, about: str = "") -> Fit | None:
    """What is stored for this table, under ``about`` where that is given; read again when anything was stored since."""
    row = _row(index, about) if has_calibration(index.uri) else None
    if row is None:
        return None
    values = dict(row["fit"])
    made = values.pop("form", None), row["identity"], row["sha256"]
    return Fit(values, int(row["rows"]), made == (FORM, index.identity, index.provenance.sha256))


def _row(index: VideoIndex, about: str) -> dict[str, Any] | None:
    key = index.uri, _id(index, about)
    if key in _read:
        table, state, row = _read[key]
        try:
            if state == state_of(table):
                return row
        except (OSError, RuntimeError, ValueError):  # the table is gone, or another process is making it anew
            del _read[key]
    connection = connect(index.uri)
    if not exists(connection, CALIBRATION):
        return None
    with plain_errors(index.uri):
        table = connection.open_table(CALIBRATION)
        check_form(table.schema.metadata, f"index {index.uri}")
        state = state_of(table)
    rows = read(index.uri, lambda: table.search().where(f"id = {quoted(key[1])}").limit(1).to_list())
    fit = read_json(rows[0]["fit"]) if rows else None
    whole = fit is not None and isinstance(rows[0].get("rows"), int) and {"identity", "sha256"} <= rows[0].keys()
    row = {**rows[0], "fit": fit} if whole else None
    _read[key] = table, state, row
    return row


def read_json(text: str) -> dict[str, Any] | None:
    """A JSON object, or None where the text holds none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _id(index: VideoIndex, about: str) -> str:
    return f"{index.name}/{about}" if about else index.name


def write_fit(index: VideoIndex, values: dict[str, Any], rows: int, about: str = "") -> None:
    """Stores ``values`` for this table and ``about``, in place of what was stored for these."""
    row = {
        "id": _id(index, about),
        "identity": index.identity,
        "sha256": index.provenance.sha256,
        "rows": rows,
        "added": time.time(),
        "fit": json.dumps({**values, "form": FORM}),
    }
    upkeep.sweep(index.uri)
    connection = connect(index.uri)
    _missed.pop(index.uri, None)
    with plain_errors(index.uri), writer_lock(index.uri):
        table = open_or_make(connection, CALIBRATION, SCHEMA.with_metadata(new_marks()))
        check_form(table.schema.metadata, f"index {index.uri}")
        before = table.version
        merge(table, pa.Table.from_pylist([row], schema=table.schema))
        upkeep.tidy(index.uri, table, before)


def take(index: VideoIndex, rows: list[dict[str, Any]], identities: Mapping[str, str]) -> None:
    """Stores what was fitted for the tables of another index whose rows this one has now, where it has no fit itself.

    Args:
        identities: of those tables, by name; what was fitted for tables before them stays stale.
    """
    windows = index.windows()
    for row in rows:
        name, _, about = row["id"].partition("/")
        table = {index.name: index, windows.name if windows else "": windows}.get(name)
        if table is None or row["identity"] != identities.get(name):
            continue
        if (own := read_fit(table, about)) is None or not own.fresh:
            values = json.loads(row["fit"])
            if values.pop("form", None) == FORM and row["sha256"] == table.provenance.sha256:
                write_fit(table, values, row["rows"], about)


def sample_rows(index: VideoIndex, count: int, seed: int, *, captioned: bool = False) -> dict[str, dict[str, Any]]:
    """id -> row of at most ``count`` rows drawn by seed; ``captioned``: of those with captions."""
    where = "array_length(captions) > 0" if captioned else None
    ids = sorted(index.ids(where))
    if len(ids) > count:
        ids = [ids[i] for i in np.random.default_rng(seed).choice(len(ids), count, replace=False)]
    return index.rows(ids)


def read_bank(uri: str, bank: str) -> NDArray[np.float32] | None:
    """The vectors [m, D] of a bank of queries that were stored under this name."""
    folder = local_folder(uri)
    if folder is not None and not (folder / f"{BANKS}.lance").is_dir():
        return None
    connection = connect(uri)
    if not exists(connection, BANKS):
        return None
    with plain_errors(uri):
        table = connection.open_table(BANKS)
    found = read(uri, lambda: table.search().where(f"bank = {quoted(bank)}").limit(None).to_arrow())
    vectors = found.sort_by("place")["vector"].to_pylist()
    return np.array(vectors, np.float32) if vectors else None


def write_bank(uri: str, bank: str, vectors: NDArray[np.float32]) -> None:
    """Stores the vectors [m, D] of a bank of queries, all at once."""
    columns = {
        KEY.name: [f"{bank}/{place}" for place in range(len(vectors))],
        "bank": [bank] * len(vectors),
        "place": range(len(vectors)),
        "vector": list(vectors),
    }
    connection = connect(uri)
    with plain_errors(uri), writer_lock(uri):
        table = open_or_make(connection, BANKS, BANK)
        protect(table, KEY.name, made_of="concat(bank, '/', CAST(place AS STRING))")
        schema = table.schema
        merge(
            table,
            pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema=schema),
            key=KEY.name,
        )
