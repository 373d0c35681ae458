"""The rows of a run: in which table they are, whose table that is, and which rows are of deleted samples."""

from __future__ import annotations

import logging
from typing import Any

import fiftyone.brain.similarity as fbs
from bson import ObjectId

from clip2video_plugin.app import tables
from clip2video_plugin.app.runs import StoredRun, living, save_config, stored_run, users_of
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex

logger = logging.getLogger(__name__)


class RunRows:
    """The rows of a similarity run. Each call asks MongoDB for the run, so what other processes do is noticed."""

    def __init__(self, index: fbs.SimilarityIndex) -> None:
        self._index = index  # its key and config change with the run
        self._dataset_id: ObjectId = index._samples._root_dataset._doc.id
        self._run_id: ObjectId | None = None
        self._opened: VideoIndex | None = None
        self._dead: tuple[Any, frozenset[str]] | None = None

    def run(self) -> StoredRun:
        """The run as MongoDB has it now; its table and checkpoint are taken up.

        Raises:
            VideoIndexError: it was deleted.
        """
        key, config = self._index._key, self._index._config
        run = stored_run(self._dataset_id, key, self._run_id)
        if run is None or run.config.get("method") != config.method:
            name = f"brain key {key!r}" if key else "this run"
            raise VideoIndexError(f"{name} has been deleted; compute it again")
        self._run_id = run.id
        if any(run.config.get(name) != getattr(config, name) for name in ("uri", "table_name", "checkpoint")):
            self._index._config, self._opened = type(config).from_dict(dict(run.config)), None
        return run

    def table(self) -> VideoIndex:
        """The rows to read; of a clone those of the dataset it was cloned from.

        Raises:
            VideoIndexError: the run was deleted, or its table is gone.
        """
        return self._open(self.run())

    def own_table(self) -> VideoIndex:
        """The table to write to: a run that reads another dataset's gets one of its own, with a copy of the rows."""
        run = self.run()
        table = self._open(run)
        return table if self._owns(run) else self._take_over(run)

    def frames_table(self) -> str:
        """Name of the table of frame vectors beside it (see ``moments.py``)."""
        self.run()
        return tables.frames_of(self._index._config.table_name)

    def state(self) -> tuple[Any, ...]:
        """A value that stays the same as long as neither rows nor samples change."""
        return self._state(self.run())

    def dead(self) -> frozenset[str]:
        """Ids of rows whose samples were deleted; all ids are looked up once after a change."""
        run = self.run()
        state = self._state(run)
        if self._dead is None or self._dead[0] != state:
            never = run.samples_deleted is None and self._owns(run)
            ids = set() if never else set(self._open(run).ids())
            self._dead = state, frozenset(ids - living(self._index._samples._root_dataset, ids))
        return self._dead[1]

    def drop(self) -> None:
        """Drops the tables of the run, unless they are another dataset's, or a clone reads them."""
        run, config = self.run(), self._index._config
        readers = users_of(config.table_name) - {run.id}
        if readers or not self._owns(run):
            logger.info("the vectors of brain key %r are kept: others read them", run.key)
        elif not tables.drop(config):
            logger.warning("the vectors of brain key %r were gone already", run.key)
        self._opened = None

    def _state(self, run: StoredRun) -> tuple[Any, ...]:
        return (*self._open(run).state, run.samples_deleted)

    def _open(self, run: StoredRun) -> VideoIndex:
        if self._opened is None:
            config = self._index._config
            try:
                opened = VideoIndex.open(config.uri, table=config.table_name)
            except VideoIndexError as error:
                raise VideoIndexError(
                    f"the vectors of brain key {run.key!r} are gone ({error}); "
                    "delete_brain_run() it and compute it again"
                ) from None
            if not self._owns(run) and tables.has_other_ids(opened, self._index._samples):
                opened = self._take_over(run)  # an import that gave its samples new ids
            self._opened = opened
        return self._opened

    def _owns(self, run: StoredRun) -> bool:
        return tables.owns(self._index._config, str(self._dataset_id), run)

    def _take_over(self, run: StoredRun) -> VideoIndex:
        samples, config = self._index._samples, self._index._config
        name = tables.copy_rows(config, samples)
        config.table_name, config.owner = name, str(self._dataset_id)
        save_config(samples._root_dataset, run, config.serialize())
        self._opened = VideoIndex.open(config.uri, table=name)
        self._opened.finish()
        return self._opened
