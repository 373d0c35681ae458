"""The ``tuning`` table: a row for each table, with the settings of its vector index's queries that keep the recall."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index.connection import (
    connect,
    local_folder,
    open_or_make,
    opened,
    plain_errors,
    quoted,
    read,
    writer_lock,
)
from clip2video_plugin.index.merge import merge
from clip2video_plugin.index.schema import ADDED, ID, TUNING, Provenance, identity_of, new_marks
from clip2video_plugin.index.segments import LIST_ROWS

FORM = 1  # of what is stored: of another version, it is of no use
# Of each number in a vector index: with one bit ten times as many whole vectors must be read to be right, with eight it
# takes five to nine times as long to make (docs/performance.md); of the number itself; where all vectors are read.
BITS, WHOLE, NONE = 4, 32, 0
GROWN = 0.25  # share of a table that may be new until settings are measured again
# Seconds after which a reader looks whether other settings were chosen, of a local index and of one elsewhere.
AGAIN, AGAIN_ELSEWHERE = 1.0, 60.0
# Of an index of earlier versions: measured at a million clustered vectors, of whose lists it is this share.
PROBES, SHARE, REFINE = 175, 0.72, 3
ALL_LISTS, SAFE = 1_000_000, 100  # probes, and times as many whole vectors, that are right with nearly any code
LEAST = 10  # hits that are refined for, at least

SCHEMA = pa.schema(
    [
        ID,  # name of the table that is asked
        pa.field("identity", pa.string(), nullable=False),  # of that table
        pa.field("sha256", pa.string(), nullable=False),  # of the weights
        pa.field("added", pa.float64(), nullable=False),  # seconds since 1970
        pa.field("choice", pa.string(), nullable=False),  # JSON
        pa.field("asked", pa.binary()),  # float32 numbers of sentences' vectors, one after another
    ]
)


@dataclass(frozen=True)
class Tuning:
    """The settings of a vector index's queries.

    ``bits`` of each number in it (``WHOLE``: the numbers themselves, ``NONE``: it cannot be trusted, and all vectors
    are read); ``probes`` of its ``lists`` inverted lists are read, and ``refine`` times as many vectors as are wanted
    are compared whole. ``rows`` were there when it was chosen, ``built`` when the index was made. ``recall`` is that of
    each kind of query on those that nothing was chosen on, empty where it was not measured; choosing took ``seconds``.
    """

    bits: int
    lists: int
    probes: int
    refine: int
    rows: int
    built: int = 0
    recall: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    chosen: float = 0.0

    def candidates(self, k: int) -> int:
        """How many to take by their codes, of which the k best by their whole vectors are right."""
        return self.refine * max(k, LEAST)

    def reads_all(self, k: int) -> bool:
        """Whether reading every vector in order is as quick as so many one by one."""
        return self.bits == NONE or (self.bits != WHOLE and 4 * self.candidates(k) > self.rows)

    @property
    def words(self) -> str:
        """In a line."""
        if self.bits == NONE:
            return "no code holds: every vector is read"
        code = "whole vectors" if self.bits == WHOLE else f"{self.bits} bits a number"
        refined = "" if self.bits == WHOLE else f", {self.candidates(LEAST)} vectors compared for {LEAST} hits"
        return f"{code}, {min(self.probes, self.lists)} of {self.lists} lists{refined}"


def lists_of(rows: int) -> int:
    """Inverted lists of a vector index of so many rows."""
    return max(rows // LIST_ROWS, 1)


def untold(rows: int) -> Tuning:
    """The settings of an index for which none were chosen."""
    return Tuning(BITS, lists := lists_of(rows), max(PROBES, int(SHARE * lists)), REFINE, rows)


def bits_of(table: Any) -> int:
    """Bits of each number in the vector index of a table, ``NONE`` where it has none."""
    kinds = [index.index_type for index in table.list_indices() if index.columns == ["vector"]]
    return NONE if not kinds else WHOLE if kinds[0] == "IvfFlat" else BITS


def read_tuning(uri: str, table: Any) -> Tuning | None:
    """What was chosen for a table; None where that was for another of its name, or nothing was.

    Where the index is of another code by now, settings that are right with either.
    """
    rows = _rows(uri, f"id = {quoted(table.name)}", ["identity", "choice"])
    if not rows or rows[0]["identity"] != identity_of(table.schema.metadata):
        return None
    values = json.loads(rows[0]["choice"])
    if values.pop("form", None) != FORM:
        return None
    tuning = Tuning(**values)
    if tuning.bits in (NONE, bits_of(table)):
        return tuning
    return replace(tuning, bits=BITS, probes=ALL_LISTS, refine=SAFE, recall={})


def is_stale(table: Any, tuning: Tuning) -> bool:
    """Whether it was not measured, or so many rows came since that it has to be again."""
    rows, least = int(table.count_rows()), GROWN * tuning.rows
    if not tuning.recall or abs(rows - tuning.rows) > least:
        return True
    if ADDED.name not in table.schema.names:
        return False
    return bool(table.count_rows(f"{ADDED.name} > {tuning.chosen!r}") > least)


def read_asked(uri: str, table: Any) -> NDArray[np.float32] | None:
    """Vectors [n, D] of sentences by the model of this table, as they were kept for any table of it."""
    sha256 = Provenance.from_metadata(table.schema.metadata).sha256
    for row in _rows(uri, f"sha256 = {quoted(sha256)} AND asked IS NOT NULL", ["asked"]):
        numbers = np.frombuffer(row["asked"], np.float32)
        if len(numbers) and len(numbers) % (dim := int(table.schema.field("vector").type.list_size)) == 0:
            return numbers.reshape(-1, dim)
    return None


def _rows(uri: str, where: str, names: list[str]) -> list[dict[str, Any]]:
    folder = local_folder(uri)
    if folder is not None and not os.path.isdir(folder / f"{TUNING}.lance"):
        return []
    with plain_errors(uri):
        kept = opened(connect(uri), TUNING)
    if kept is None:
        return []
    return read(uri, lambda: list(kept.search().where(where).select(names).limit(None).to_list()))


def write_tuning(uri: str, table: Any, tuning: Tuning, asked: NDArray[np.float32] | None) -> None:
    """Stores what was chosen for a table, in place of what was before, at once for all readers."""
    row = {
        "id": table.name,
        "identity": identity_of(table.schema.metadata),
        "sha256": Provenance.from_metadata(table.schema.metadata).sha256,
        "added": time.time(),
        "choice": json.dumps({**asdict(tuning), "form": FORM}),
        "asked": None if asked is None else np.ascontiguousarray(asked, np.float32).tobytes(),
    }
    connection = connect(uri)
    with plain_errors(uri), writer_lock(uri):
        kept = open_or_make(connection, TUNING, SCHEMA.with_metadata(new_marks()))
        merge(kept, pa.Table.from_pylist([row], schema=kept.schema))


def settings_of(uri: str, table: Any) -> Tuning | None:
    """The settings of a table's queries; None where it has no vector index."""
    if bits_of(table) == NONE:
        return None
    return read_tuning(uri, table) or untold(int(table.count_rows()))


class Settings:
    """The settings of a table's queries now; looked up again after a second, as other processes choose too."""

    def __init__(self, uri: str, table: Any) -> None:
        self._uri, self._table = uri, table
        self._again = AGAIN if local_folder(uri) else AGAIN_ELSEWHERE
        self._known: tuple[float, Tuning] | None = None

    def now(self) -> Tuning:
        """The settings for a query at this moment."""
        known, moment = self._known, time.monotonic()
        if known is None or moment - known[0] >= self._again:
            found = read_tuning(self._uri, self._table) or untold(int(self._table.count_rows()))
            self._known = known = moment, found
        return known[1]
