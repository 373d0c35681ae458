"""Vectors of samples, as FiftyOne asks for them and gives them: computed from files, added to a table, read back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import fiftyone.core.collections as foc
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.app.videos import items_of
from clip2video_plugin.encode import Embedded, encode_items
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.paths import printable
from clip2video_plugin.rows import row_of
from clip2video_plugin.video.files import file_stamp

logger = logging.getLogger(__name__)


def computed(
    samples: foc.SampleCollection,
    table: VideoIndex,
    model: Model,
    *,
    skip: bool,
    batch_size: int | None,
    workers: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.str_], None]:
    """Vectors [n, D] as the table has them, ids [n], and None for labels. Videos that cannot be read are left out.

    Args:
        skip: leave out those that the table has.
    """
    items = items_of(samples)
    if skip:
        have = table.stamps([item.id for item in items])
        items = [item for item in items if item.id not in have]
    todo = ((item, file_stamp(item.path)) for item in items)
    batches = encode_items(todo, model, sampling=table.provenance.policy, batch_size=batch_size, workers=workers)
    done = [one for batch in batches for one in batch]
    for one in done:
        if not isinstance(one, Embedded):
            logger.warning("cannot read %s: %s", printable(one.item.path), printable(one.reason))
    read = [one for one in done if isinstance(one, Embedded)]
    vectors = np.stack([one.vector for one in read]) if read else np.zeros((0, table.dim), np.float32)
    return vectors, np.array([one.item.id for one in read]), None


def add(
    table: VideoIndex,
    samples: foc.SampleCollection,
    vectors: Mapping[str, NDArray[np.float32]],
    *,
    overwrite: bool,
    allow_existing: bool,
    warn_existing: bool,
) -> None:
    """Writes the vectors [D] of samples, by their ids.

    Raises:
        VideoIndexError: vectors are of another length, or ids of none of the samples, or there already.
    """
    dim = table.dim  # asked once, as LanceDB is asked
    if wrong := [vector.shape for vector in vectors.values() if vector.shape != (dim,)]:
        raise VideoIndexError(f"vectors have shape {(len(vectors), *wrong[0])}; expected [n, {dim}]")
    if not overwrite and (existing := set(table.stamps(list(vectors)))):
        if not allow_existing:
            raise VideoIndexError(f"{len(existing)} ids are in the index already, the first is {min(existing)}")
        if warn_existing:
            logger.warning("%d ids are in the index already and were passed over", len(existing))
        vectors = {i: v for i, v in vectors.items() if i not in existing}
    items = items_of(samples.select(list(vectors)))
    if unknown := vectors.keys() - {item.id for item in items}:
        raise VideoIndexError(f"{len(unknown)} ids are of no sample of the dataset, the first is {min(unknown)}")
    table.write([row_of(item, file_stamp(item.path), None, vectors[item.id], None) for item in items])


def stored(
    table: VideoIndex, ids: Sequence[str], *, allow_missing: bool, warn_missing: bool
) -> tuple[NDArray[np.float32], NDArray[np.str_], None]:
    """Vectors [n, D] that the table has of these ids, their ids [n], and None for labels."""
    found = table.vectors(ids)
    check_missing(set(ids) - set(found), allow_missing, warn_missing)
    kept = [i for i in ids if i in found]
    vectors = np.stack([found[i] for i in kept]) if kept else np.zeros((0, table.dim), np.float32)
    return vectors, np.array(kept), None


def check_missing(missing: set[str], allow: bool, warn: bool) -> None:
    """Says that ids are not in the index, where that is wanted."""
    if missing and not allow:
        raise VideoIndexError(f"{len(missing)} ids are not in the index, the first is {min(missing)}")
    if missing and warn:
        logger.warning("%d ids are not in the index", len(missing))
