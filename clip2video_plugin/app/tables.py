"""Who owns the tables of runs: each belongs to one dataset and one run from the start."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.collections as foc

from clip2video_plugin.app.runs import StoredRun, database_identity, living, tables_in_use, users_of
from clip2video_plugin.app.videos import all_samples, items_of
from clip2video_plugin.errors import Clip2VideoError, VideoIndexError, first_line
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.connection import chunks, local_folder, uri_of
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.index.schema import FRAMES, RUN, RUN_WINDOWS, new_marks, windows_of
from clip2video_plugin.index.tables import RUN_TABLES, copy_table, drop_tables, has_table, marked_tables
from clip2video_plugin.paths import stored

LOOK = 100  # rows that tell whether an imported dataset kept its ids


def new_table() -> str:
    """A name that no run ever had."""
    return RUN + uuid.uuid4().hex


def frames_of(table: str) -> str:
    """The name of the table of frame vectors that goes with a run's table."""
    return table.replace(RUN, FRAMES, 1)


def thumbnails_of(config: Any) -> Path:
    """The folder of pictures of a run's moments: in that of the index, or beside FiftyOne's data where it is remote."""
    index = local_folder(config.uri) or Path(fo.config.default_dataset_dir) / "clip2video"
    return index / "thumbnails" / str(config.table_name)


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
    """Copies the rows of a dataset's samples, windows and frames to tables of its own; returns the new run's name.

    Samples with other ids than the rows are found by their paths.
    """
    items, source = items_of(all_samples(samples)), VideoIndex.open(config.uri, table=config.table_name)
    here, by_path = {item.id for item in items}, {stored(str(item.path)): item.id for item in items}
    indexed = list(source.ids())
    ids = {i: i for i in indexed if i in here}
    free = by_path.keys() - {path for path, i in by_path.items() if i in ids}
    for some in chunks([i for i in indexed if i not in here], LOOK):
        ids |= {i: by_path[row["path"]] for i, row in source.rows(some).items() if row["path"] in free}
    name, marks = new_table(), new_marks(database_identity())
    copy_table(config.uri, config.table_name, name, ids, marks)
    for beside in (windows_of, frames_of):
        if has_table(config.uri, there := beside(config.table_name)):
            copy_table(config.uri, there, beside(name), ids, marks)
    return name


def drop(config: Any) -> bool:
    """Removes a run's tables; False when they are gone already."""
    try:
        VideoIndex.open(config.uri, table=config.table_name).drop()
        if (frames := FrameIndex.open(config.uri, frames_of(config.table_name))) is not None:
            frames.drop()
        shutil.rmtree(thumbnails_of(config), ignore_errors=True)
    except VideoIndexError:
        return False
    return True


@dataclass(frozen=True)
class RunTable:
    """A table of a FiftyOne run.

    ``used_by`` has "dataset: key" of the runs that read it; ``ours`` says whether it is of this FiftyOne database, None
    where it does not say, having been made by an earlier version.
    """

    name: str
    rows: int
    used_by: list[str]
    ours: bool | None

    @property
    def whose(self) -> str:
        if self.used_by:
            return ", ".join(self.used_by)
        if self.ours is None:
            return "no dataset here has it, and it does not say which FiftyOne database it is of"
        return "no dataset has it" if self.ours else "of another FiftyOne database"


def run_tables(index: str | Path | VideoIndex | None = None) -> list[RunTable]:
    """The tables of FiftyOne runs in an index. FiftyOne's database is asked only where there are any.

    Raises:
        Clip2VideoError: that database cannot be reached.
    """
    tables = marked_tables(uri_of(index), RUN_TABLES)
    if not tables:
        return []
    try:
        here, used = database_identity(), tables_in_use()
    except Exception as error:  # pymongo's, FiftyOne's
        raise Clip2VideoError(f"cannot ask FiftyOne's database whose the tables are: {first_line(error)}") from None
    databases = {table.name: table.database for table in tables}
    out = list[RunTable]()
    for table in tables:
        beside = next((prefix for prefix in (FRAMES, RUN_WINDOWS) if table.name.startswith(prefix)), RUN)
        run = RUN + table.name.removeprefix(beside)
        database = table.database or databases.get(run, "")
        out.append(RunTable(table.name, table.rows, used.get(run, []), database == here if database else None))
    return out


def prune_tables(
    index: str | Path | VideoIndex | None = None, *, named: Sequence[str] = (), dry_run: bool = False
) -> list[str]:
    """Removes the tables that no run of this FiftyOne database reads; returns their names.

    Tables of another database stay; those that do not say whose they are go only where they are named.

    Raises:
        Clip2VideoError: a named table is not there, is read by a run, or is another database's.
    """
    tables = {table.name: table for table in run_tables(index)}
    for name in named:
        table = tables.get(name)
        if table is None:
            raise Clip2VideoError(f"there is no table {name!r} of a FiftyOne run; see: c2v index list --tables")
        if table.used_by:
            raise Clip2VideoError(f"table {name} is read by {', '.join(table.used_by)}; delete that run instead")
        if table.ours is False:
            raise Clip2VideoError(f"table {name} is of another FiftyOne database; prune it from there")
    gone = [t.name for t in tables.values() if not t.used_by and (t.ours or t.name in named)]
    if not dry_run:
        drop_tables(uri_of(index), gone)
    return gone
