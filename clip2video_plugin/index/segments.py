"""The vector index of a table, made in parts: each covers some fragments of the table; then they are put together.

All parts share one set of centroids and one rotation, so that what is put together is what one process would have made.
Memory is that of the largest part. Needs pylance (the extra ``ray``); without it LanceDB makes the whole at once.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.errors import IndexBusyError
from clip2video_plugin.index.connection import connect, local_folder
from clip2video_plugin.index.whole import undone_if_cut

if TYPE_CHECKING:
    from lance import LanceDataset
    from lance.dataset import Index

# Read by pylance when it is imported: it warns of empty lists, and of statistics that will leave centroids out.
os.environ.setdefault("LANCE_LOG", "error")
os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")

NAME = "vector_idx"  # of the vector index, as LanceDB calls it
PART_ROWS = 1_000_000  # of a part, or of one fragment where that has more
LIST_ROWS = 4_096  # of an inverted list, as LanceDB makes them
SAMPLE, LEAST_SAMPLE = 256, 32  # vectors for each list of which centroids are trained
SAMPLE_BYTES = 2**32  # of all these; with more lists than they suffice for, lists are longer
GROWN = 2  # times as long as planned, after which lists are made anew
TRIES = 3  # when others rewrite the table meanwhile

Part = list[int]  # numbers of fragments
Each = Callable[[Callable[[Part], Any], Sequence[Part]], Iterable[Any]]  # what ``map`` does


@dataclass(frozen=True)
class Plan:
    """What all parts share. It may be sent to other machines, which take credentials from their own environment."""

    uri: str
    table: str
    version: int
    bits: int  # of each number of a vector
    centroids: NDArray[np.float32]  # [lists, D]
    rotation: str  # JSON


def possible() -> bool:
    """Whether pylance is installed, which makes parts."""
    return find_spec("lance") is not None


def build(uri: str, table: Any, *, bits: int, each: Each = map, part_rows: int | None = None) -> None:
    """Makes the vector index of all rows, with the lock of builds held; readers see the old one until it is done.

    Small fragments are rewritten as few large ones first. Where there is an index of as many bits, rows that came since
    get a part with its lists; when the table has grown to twice what those are for, it is made anew. A build that ends
    early, or whose process dies, leaves the table as it was.

    Args:
        table: LanceDB's.
        bits: of each number in the index.
        each: runs the parts where there are several: ``map`` in this process, one after another;
            ``tasks.run_on(...)`` on a Ray cluster.
        part_rows: rows of a part, which decide its memory; by default a million.

    Raises:
        IndexBusyError: others rewrote the rows each time.
    """
    from lance.commit import CommitConflictError

    part_rows = part_rows or PART_ROWS
    for _ in range(TRIES):
        dataset, whole = _dataset(table), None
        try:
            with undone_if_cut(table):
                dataset.optimize.compact_files(target_rows_per_fragment=part_rows)
                plan, new = _plan(uri, table.name, dataset, bits)
                parts = _parts(dataset, new, part_rows)
                segments = list((each if len(parts) > 1 else map)(partial(segment, plan), parts))
                if segments:
                    whole = dataset.merge_existing_index_segments(segments)
                    dataset.commit_existing_index_segments(NAME, "vector", [whole])
            return
        except CommitConflictError:  # rows were moved to other fragments: the parts are of none that there is
            continue
        finally:
            _sweep(uri, table.name, dataset, whole.uuid if whole else "")
    raise IndexBusyError(
        f"index {uri}: others rewrote table {table.name} each of {TRIES} times that its vector index was built; "
        "build it when they are done: c2v index optimize"
    )


def segment(plan: Plan, part: Part) -> Index:
    """The index of some fragments, written beside the table; nobody sees it before it is committed."""
    opened = connect(plan.uri).open_table(plan.table)
    opened.checkout(plan.version)
    # Lance's own names are of the fourth kind: one of the fifth is a part of ours, or what is left of one
    name = uuid.UUID(bytes=os.urandom(16), version=5)
    return _dataset(opened).create_index_uncommitted(
        *("vector", "IVF_RQ", NAME, "dot"),
        replace=True,  # beside that of the same name, whose lists it may share
        num_partitions=len(plan.centroids),
        ivf_centroids=_array(plan.centroids),
        rabitq_model=plan.rotation,
        num_bits=plan.bits,
        fragment_ids=part,
        index_uuid=str(name),
    )


def unindexed(table: Any) -> int:
    """Rows in fragments that the vector index does not know."""
    dataset = _dataset(table)
    covered = set[int]().union(*_covered(dataset))
    return sum(rows for number, rows in _rows(dataset).items() if number not in covered)


def fold(table: Any) -> None:
    """Puts young segments of the index together, so that there are few: each one costs every query.

    LanceDB makes one each time that rows are folded in. Those are put together that are not small beside the rest: a
    row is copied only so often as the table doubles.
    """
    dataset = _dataset(table)
    rows = _rows(dataset)
    sizes = [sum(rows.get(number, 0) for number in numbers) for numbers in _covered(dataset)]
    if (young := _young(sizes)) > 1:
        with undone_if_cut(table):
            dataset.optimize.optimize_indices(num_indices_to_merge=young, index_names=[NAME])


def _young(sizes: Sequence[int]) -> int:
    """How many of the last segments to put together, by their rows, the oldest first."""
    count, together = 0, 0
    for size in reversed(sizes):
        if count and size > 2 * together:
            break
        count, together = count + 1, together + size
    return count


def _plan(uri: str, table: str, dataset: LanceDataset, bits: int) -> tuple[Plan, set[int]]:
    """The plan of a build, and the fragments that it is of."""
    from lance.indices import IndicesBuilder
    from lance.lance import indices

    fragments = set(_rows(dataset))
    dim, rows = int(dataset.schema.field("vector").type.list_size), int(dataset.count_rows())
    if (model := _model(dataset, bits)) is not None and rows <= GROWN * LIST_ROWS * len(model[0]):
        return Plan(uri, table, dataset.version, bits, *model), fragments.difference(*_covered(dataset))
    most = SAMPLE_BYTES // (4 * dim)  # vectors that are trained on
    lists = max(1, min(rows // LIST_ROWS, most // LEAST_SAMPLE))
    sample = min(SAMPLE, most // lists, max(rows // lists, 2))
    trained = IndicesBuilder(dataset, "vector").train_ivf(lists, distance_type="dot", sample_rate=sample)
    centroids = trained.centroids.flatten().to_numpy().reshape(lists, dim)
    rotation = indices.build_rq_model(dim, bits)
    return Plan(uri, table, dataset.version, bits, centroids, rotation), fragments


def _model(dataset: LanceDataset, bits: int) -> tuple[NDArray[np.float32], str] | None:
    """Centroids and rotation of the index that there is; None where it is of another kind."""
    if not _covered(dataset):
        return None
    found = dataset.stats.index_stats(NAME)["indices"][0]
    codes = found.get("sub_index", {})
    if (found.get("metric_type"), codes.get("index_type"), codes.get("num_bits")) != ("dot", "RQ", bits):
        return None
    if codes.get("rotation_type") != "fast":
        return None
    names = ("rotate_mat_position", "fast_rotation_signs", "rotation_type", "code_dim", "num_bits", "query_estimator")
    rotation = {name: codes[name] for name in names} | {"packed": False}
    centroids = dataset.get_ivf_model(NAME).centroids
    return centroids.flatten().to_numpy().reshape(len(centroids), -1), json.dumps(rotation)


def _rows(dataset: LanceDataset) -> dict[int, int]:
    """Fragment -> its rows, removed ones among them, in order."""
    return {fragment.fragment_id: int(fragment.metadata.physical_rows) for fragment in dataset.get_fragments()}


def _covered(dataset: LanceDataset) -> list[set[int]]:
    """The fragments of each segment of the vector index, in the order of the segments."""
    return [set(part.fragment_ids) for one in dataset.describe_indices() if one.name == NAME for part in one.segments]


def _parts(dataset: LanceDataset, numbers: set[int], most: int) -> list[Part]:
    """Neighbouring fragments, of so many rows together; one that has more is a part by itself."""
    parts, together = list[Part](), most
    for number, rows in _rows(dataset).items():
        if number in numbers:
            if together + rows > most:
                parts.append([])
                together = 0
            parts[-1].append(number)
            together += rows
    return parts


def _sweep(uri: str, table: str, dataset: LanceDataset, whole: str) -> None:
    """Removes parts and the ``whole`` where no version of the table has them, and those that a dead process left."""
    files = dataset.new_file_session()  # type: ignore[no-untyped-call]
    made = [path for path in files.list("_indices") if _is_part(path) or (whole and path.split("/")[1] == whole)]
    if not made:
        return
    kept = set(dataset.tracked_files().read_all()["path"].to_pylist())
    for path in set(made) - kept:
        files.delete_file(path)
    if folder := local_folder(uri):
        for path in {os.path.dirname(path) for path in made}:
            with suppress(OSError):  # it holds something
                os.rmdir(folder / f"{table}.lance" / path)


def _is_part(path: str) -> bool:
    try:
        return uuid.UUID(path.split("/")[1]).version == 5
    except (ValueError, IndexError):
        return False


def _dataset(table: Any) -> LanceDataset:
    """A table of LanceDB, at its version, as Lance's."""
    return table.to_lance()  # type: ignore[no-any-return]


def _array(centroids: NDArray[np.float32]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(centroids.ravel()), centroids.shape[1])
