"""Whose the tables of runs are: each belongs to one dataset and one run, from when it is made."""

from __future__ import annotations

import uuid
from itertools import islice
from typing import Any

import fiftyone.core.collections as foc

from clip2video_plugin.app.runs import StoredRun, database_identity, living, users_of
from clip2video_plugin.app.videos import all_samples, items_of
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.connection import chunks
from clip2video_plugin.index.copies import copy_table, has_table
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.index.schema import new_marks
from clip2video_plugin.paths import stored

RUN, FRAMES = "brain_", "frames_"
LOOK = 100  # rows that tell whether an imported dataset kept its ids


def new_table() -> str:
    """A name that no run ever had."""
    return RUN + uuid.uuid4().hex


def frames_of(table: str) -> str:
    """The name of the table of frame vectors that goes with a run's table."""
    return table.replace(RUN, FRAMES, 1)


def owns(config: Any, dataset_id: str, run: StoredRun) -> bool:
    """Whether a run's table was made for it, and not for the dataset that it was cloned or imported from."""
    if config.owner:
        return bool(config.owner == dataset_id)
    # Before runs remembered it, dataset and key were in the name; a renamed run may share it with its successor.
    made_for, _, key = str(config.table_name).removeprefix(RUN).partition("_")
    return made_for == dataset_id and (key == run.key or users_of(config.table_name) <= {run.id})


def has_other_ids(table: VideoIndex, samples: foc.SampleCollection) -> bool:
    """Whether none of its rows is of a sample of the dataset, as after an import that gave samples new ids."""
    ids = list(islice(table.ids(), LOOK))
    return bool(ids) and not living(samples._root_dataset, ids)


def copy_rows(config: Any, samples: foc.SampleCollection) -> str:
    """Copies the rows of a dataset's samples, and their frames, to tables of its own; returns the new run's name.

    Samples with other ids than the rows are found by their paths.
    """
    items, source = items_of(all_samples(samples)), VideoIndex.open(config.uri, table=config.table_name)
    here, by_path = {item.id for item in items}, {stored(item.path): item.id for item in items}
    indexed = list(source.ids())
    ids = {i: i for i in indexed if i in here}
    free = by_path.keys() - {path for path, i in by_path.items() if i in ids}
    for some in chunks([i for i in indexed if i not in here], LOOK):
        ids |= {i: by_path[row["path"]] for i, row in source.rows(some).items() if row["path"] in free}
    name, marks = new_table(), new_marks(database_identity())
    copy_table(config.uri, config.table_name, name, ids, marks)
    if has_table(config.uri, frames := frames_of(config.table_name)):
        copy_table(config.uri, frames, frames_of(name), ids, marks)
    return name


def drop(config: Any) -> bool:
    """Removes a run's tables; False when they are gone already."""
    try:
        VideoIndex.open(config.uri, table=config.table_name).drop()
        if (frames := FrameIndex.open(config.uri, frames_of(config.table_name))) is not None:
            frames.drop()
    except VideoIndexError:
        return False
    return True
