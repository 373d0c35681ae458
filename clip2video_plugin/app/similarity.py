"""The similarity backend: FiftyOne's queries answered by a LanceDB table of this project.

FiftyOne stores the config's class path with the run, so that any process with this package
installed, the App server included, loads the backend without having imported the project before.
The three classes must stay together in this module and keep their names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import fiftyone.brain.similarity as fbs
import fiftyone.core.collections as foc
import fiftyone.core.fields as fof
import fiftyone.core.stages as fos
import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from clip2video_plugin.app import tables
from clip2video_plugin.app.model import Clip2VideoModel
from clip2video_plugin.app.neighbours import Neighbours
from clip2video_plugin.app.ranking import rank
from clip2video_plugin.app.runs import StoredRun, living, save_config, stored_run, users_of
from clip2video_plugin.app.videos import all_samples, items_of, owners_of, videos_of_clips
from clip2video_plugin.bounds import MAX_K, checked_k
from clip2video_plugin.encode import Embedded, encode_items
from clip2video_plugin.errors import QueryError, VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.checkpoint import load_model
from clip2video_plugin.paths import printable
from clip2video_plugin.provenance import provenance
from clip2video_plugin.video.files import file_stamp

logger = logging.getLogger(__name__)


class Clip2VideoSimilarityConfig(fbs.SimilarityConfig):  # type: ignore[misc]
    """What a run remembers: its table, whose that is, and its checkpoint. Stored in MongoDB, so it holds no secret.

    ``owner`` is the id of the dataset that the table was made for; a clone and an import have other ids, and read it.
    """

    def __init__(
        self,
        uri: str | None = None,
        table_name: str | None = None,
        checkpoint: str | None = None,
        owner: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.uri = uri
        self.table_name = table_name
        self.checkpoint = checkpoint
        self.owner = owner
        self.supports_prompts = True  # fob.compute_similarity() passes False

    @property
    def method(self) -> str:
        return "clip2video"

    @property
    def metric(self) -> str:
        return "cosine"

    @property
    def max_k(self) -> int:
        return MAX_K

    @property
    def supports_least_similarity(self) -> bool:
        return True

    @property
    def supported_aggregations(self) -> tuple[str, ...]:
        return ("mean",)


class Clip2VideoSimilarity(fbs.Similarity):  # type: ignore[misc]
    """Makes the index of a run."""

    def initialize(self, samples: foc.SampleCollection, brain_key: str) -> Clip2VideoSimilarityIndex:
        return Clip2VideoSimilarityIndex(samples, self.config, brain_key, backend=self)

    def cleanup(self, samples: foc.SampleCollection, brain_key: str) -> None:
        """Drops the table of a run that is being deleted."""
        self.initialize(samples, brain_key).cleanup()


class Clip2VideoSimilarityIndex(fbs.SimilarityIndex, fbs.DuplicatesMixin):  # type: ignore[misc]
    """One row per video sample, ``id`` being the sample's id.

    Rows of samples that were deleted since are no hits and do not count. What other processes do to the run, to its
    table and to its checkpoint is noticed by the next call.
    """

    def __init__(self, samples: Any, config: Any, brain_key: str, backend: Any = None) -> None:
        self._dataset_id: ObjectId = samples._root_dataset._doc.id
        self._run_id: ObjectId | None = None
        self._opened: VideoIndex | None = None
        self._dead: tuple[Any, frozenset[str]] | None = None
        self._compared: tuple[Any, Neighbours] | None = None
        self._viewed: Any = None
        self._curr_view: Any = None
        fbs.SimilarityIndex.__init__(self, samples, config, brain_key, backend=backend)
        fbs.DuplicatesMixin.__init__(self)
        self._model: Clip2VideoModel | None = None

    def run(self) -> StoredRun:
        """The run as MongoDB has it now; its table and checkpoint are taken up.

        Raises:
            VideoIndexError: it was deleted.
        """
        run = stored_run(self._dataset_id, self._key, self._run_id)
        if run is None or run.config.get("method") != self.config.method:
            name = f"brain key {self._key!r}" if self._key else "this run"
            raise VideoIndexError(f"{name} has been deleted; compute it again")
        self._run_id = run.id
        if any(run.config.get(name) != getattr(self.config, name) for name in ("uri", "table_name", "checkpoint")):
            self._config, self._opened = type(self.config).from_dict(dict(run.config)), None
        return run

    @property
    def table(self) -> VideoIndex:
        """The rows of this run, to read; of a clone those of the dataset it was cloned from.

        Raises:
            VideoIndexError: the run was deleted, or its table is gone.
        """
        run = self.run()
        if self._opened is None:
            try:
                opened = VideoIndex.open(self.config.uri, table=self.config.table_name)
            except VideoIndexError as error:
                raise VideoIndexError(
                    f"the vectors of brain key {self.key!r} are gone ({error}); "
                    "delete_brain_run() it and compute it again"
                ) from None
            if not self._owns(run) and tables.has_other_ids(opened, self._samples):
                opened = self._take_over(run)  # an import that gave its samples new ids
            self._opened = opened
        return self._opened

    def own_table(self) -> VideoIndex:
        """The table to write to: a run that reads another dataset's gets one of its own, with a copy of the rows."""
        table, run = self.table, self.run()
        return table if self._owns(run) else self._take_over(run)

    def _owns(self, run: StoredRun) -> bool:
        return tables.owns(self.config, str(self._dataset_id), run)

    def _take_over(self, run: StoredRun) -> VideoIndex:
        name = tables.copy_rows(self.config, self._samples)
        self._config.table_name, self._config.owner = name, str(self._dataset_id)
        save_config(self._samples._root_dataset, run, self._config.serialize())
        self._opened = VideoIndex.open(self.config.uri, table=name)
        self._opened.finish()
        return self._opened

    @property
    def frames_table(self) -> str:
        """Name of the table of frame vectors beside this run's table (see ``moments.py``)."""
        self.run()
        return tables.frames_of(self.config.table_name)

    @property
    def supports_prompts(self) -> bool:
        return True

    @property
    def total_index_size(self) -> int:
        return self.table.count() - len(self.dead())

    @property
    def sample_ids(self) -> NDArray[np.str_]:
        """Ids of all indexed samples."""
        return np.array(sorted(set(self.table.ids()) - self.dead()), dtype="<U24")

    def dead(self) -> frozenset[str]:
        """Ids of rows whose samples were deleted; all ids are looked up once after a change."""
        state = self._state()
        if self._dead is None or self._dead[0] != state:
            never = state[-1] is None and self._owns(self.run())
            ids = set() if never else set(self.table.ids())
            self._dead = state, frozenset(ids - living(self._samples._root_dataset, ids))
        return self._dead[1]

    def _state(self) -> tuple[Any, ...]:
        """What says that neither rows nor samples are others than before."""
        return (*self.table.state, self.run().samples_deleted)

    def _apply_view_if_necessary(self) -> None:
        state = self._state()
        if state != self._viewed:
            self._curr_sample_ids, self._viewed = None, state
        super()._apply_view_if_necessary()

    def _apply_view(self) -> None:
        view: foc.SampleCollection = self._curr_view
        try:
            self._curr_view = videos_of_clips(view)
            super()._apply_view()
        finally:
            self._curr_view = view

    def get_model(self) -> Clip2VideoModel:
        """The model of the run.

        Raises:
            VideoIndexError: its checkpoint has changed since.
            CheckpointError: it is not installed here.
        """
        made, where = self.table.provenance, f"brain key {self.key!r}"
        if self._model is not None:
            try:
                made.check(provenance(self._model.model, made.policy), where)
            except VideoIndexError:  # computed anew with other weights since
                self._model = None
        if self._model is None:
            loaded = load_model(self.config.checkpoint)
            made.check(provenance(loaded, made.policy), where)
            self._model = Clip2VideoModel(loaded)
        return self._model

    def compute_embeddings(self, samples: foc.SampleCollection, **kwargs: Any) -> Any:
        """Vectors of samples through this project's pipeline: (array [n, D], ids [n], None).

        Videos that cannot be read are left out. Of FiftyOne's options ``batch_size``, ``num_workers`` and
        ``skip_existing`` apply.
        """
        items = items_of(samples)
        if kwargs.get("skip_existing"):
            have = self.table.stamps([item.id for item in items])
            items = [item for item in items if item.id not in have]
        todo = ((item, file_stamp(item.path)) for item in items)
        batches = encode_items(
            todo,
            self.get_model().model,
            sampling=self.table.provenance.policy,
            batch_size=kwargs.get("batch_size"),
            workers=kwargs.get("num_workers"),
        )
        done = [one for batch in batches for one in batch]
        for one in done:
            if not isinstance(one, Embedded):
                logger.warning("cannot read %s: %s", printable(one.item.path), printable(one.reason))
        read = [one for one in done if isinstance(one, Embedded)]
        vectors = np.stack([one.vector for one in read]) if read else np.zeros((0, self.table.dim), np.float32)
        return vectors, np.array([one.item.id for one in read]), None

    def add_to_index(
        self,
        embeddings: NDArray[np.float32],
        sample_ids: Iterable[str],
        label_ids: Any = None,
        overwrite: bool = True,
        allow_existing: bool = True,
        warn_existing: bool = False,
        reload: bool = True,
    ) -> None:
        """Adds vectors [n, D] of samples, as ``compute_embeddings`` gives them."""
        table = self.own_table()
        ids = [str(i) for i in sample_ids]
        vectors = dict(zip(ids, np.asarray(embeddings, np.float32), strict=True))
        if len(vectors) and np.asarray(embeddings).shape[1:] != (table.dim,):
            raise VideoIndexError(f"vectors have shape {np.asarray(embeddings).shape}; expected [n, {table.dim}]")
        existing = set(table.stamps(ids))
        if existing and not overwrite:
            if not allow_existing:
                raise VideoIndexError(f"{len(existing)} ids are in the index already, the first is {min(existing)}")
            if warn_existing:
                logger.warning("%d ids are in the index already and were passed over", len(existing))
            vectors = {i: v for i, v in vectors.items() if i not in existing}
        rows, items = [], items_of(all_samples(self._samples).select(list(vectors)))
        if unknown := vectors.keys() - {item.id for item in items}:
            raise VideoIndexError(f"{len(unknown)} ids are of no sample of the dataset, the first is {min(unknown)}")
        for item in items:
            size, mtime = file_stamp(item.path)
            rows.append(
                {
                    "id": item.id,
                    "sample_id": item.id,
                    "path": str(item.path),
                    "start": 0.0,
                    "end": None,
                    "duration": None,
                    "vector": vectors[item.id],
                    "captions": [],
                    "size": size,
                    "mtime": mtime,
                }
            )
        table.write(rows)
        if reload:
            self.reload()

    def remove_from_index(
        self,
        sample_ids: Iterable[str] | None = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
        reload: bool = True,
    ) -> None:
        """Removes the vectors of samples."""
        table = self.own_table()
        ids = [str(i) for i in (sample_ids if sample_ids is not None else [])]
        self._check_missing(set(ids) - set(table.stamps(ids)), allow_missing, warn_missing)
        table.delete(ids)
        if reload:
            self.reload()

    def prune(self) -> int:
        """Removes the vectors of samples that were deleted from the dataset; returns how many."""
        if dead := self.dead():
            self.own_table().delete(sorted(dead))
        return len(dead)

    def get_embeddings(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
    ) -> Any:
        """(array [n, D], ids [n], None) of the samples asked for, or of all."""
        if sample_ids is None:
            ids = list(self.sample_ids)
        else:
            ids = [str(i) for i in ([sample_ids] if isinstance(sample_ids, str) else sample_ids)]
        found = self.table.vectors(ids)
        self._check_missing(set(ids) - set(found), allow_missing, warn_missing)
        kept = [i for i in ids if i in found]
        vectors = np.stack([found[i] for i in kept]) if kept else np.zeros((0, self.table.dim), np.float32)
        return vectors, np.array(kept), None

    def cleanup(self) -> None:
        """Drops the tables of the run, unless they are another dataset's, or a clone reads them."""
        run = self.run()
        readers = users_of(self.config.table_name) - {run.id}
        if readers or not self._owns(run):
            logger.info("the vectors of brain key %r are kept: others read them", self.key)
        elif not tables.drop(self.config):
            logger.warning("the vectors of brain key %r were gone already", self.key)
        self._opened = None

    def sort_by_similarity(
        self,
        query: Any,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str | None = "mean",
        dist_field: str | None = None,
        _mongo: bool = False,
    ) -> Any:
        """FiftyOne's query. ``dist_field`` gets scores, larger is better; a view of clips answers to their ids, too.

        Raises:
            QueryError: k, the aggregation or the query is none that can be answered.
        """
        samples = self.view
        k = None if k is None else checked_k(k)
        _check_aggregation(aggregation)
        vectors = self._query_vectors(self._parse_query(query))
        hits = dict(self.ranked(samples, vectors.mean(axis=0), k, reverse))
        if dist_field is not None and hits:
            samples.set_values(dist_field, hits, key_field="id")
        elif dist_field is not None:  # FiftyOne takes a field's type from its first value
            samples._root_dataset.add_sample_field(dist_field, fof.FloatField)
        stage = fos.Select(list(hits), ordered=True)
        if not _mongo:
            return samples.add_stage(stage)
        stage.validate(samples)
        return stage.to_mongo(samples)

    def _kneighbors(
        self,
        query: Any = None,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str | None = None,
        return_dists: bool = False,
    ) -> Any:
        """FiftyOne's hook: nearest videos, and their cosine distances, 0 to 2.

        Of an aggregate these are the best by score. Of single videos they are exact, without the video itself, and
        around the mean of all, as FiftyOne's own index has them; a vector that is a row's own counts as its video.
        """
        k = None if k is None else checked_k(k)
        _check_aggregation(aggregation)
        if aggregation is None:
            return self._exact(query, lambda found: _nearest(found, k, reverse), return_dists, k or 0)
        vectors = self._query_vectors(query)
        vector = vectors.mean(axis=0)
        hits = self.ranked(self.view, vector, k, reverse)
        length = float(np.linalg.norm(vector)) or 1.0
        ids, distances = [i for i, _ in hits], [max(1 - score / length, 0.0) for _, score in hits]
        return (ids, None, distances) if return_dists else (ids, None)

    def _radius_neighbors(self, query: Any = None, thresh: float | None = None, return_dists: bool = False) -> Any:
        """FiftyOne's hook: the videos within a cosine distance, by the distances of ``_kneighbors``."""
        return self._exact(query, lambda found: np.flatnonzero(found <= thresh), return_dists)

    def _exact(self, query: Any, choose: Callable[[Any], Any], return_dists: bool, least: int = 0) -> Any:
        """What ``choose`` takes of the distances to the view's videos: positions, or ids where a query was given."""
        state, known = self._state(), self._compared
        if known is None or known[0] != state:
            vectors, ids, _ = self.get_embeddings()
            self._compared = known = state, Neighbours.of(ids, vectors)
        of, here = known[1], self.current_sample_ids
        among = np.arange(len(of.ids)) if self._current_inds is None else np.asarray(self._current_inds, int)
        if query is None:
            distances = list(of.between(among, among)) if len(among) else []
        elif _is_numbers(query):
            distances = [of.of_vector(vector, among, least) for vector in self._query_vectors(query)]
        else:
            self._query_vectors(query)  # all are indexed
            rows = np.searchsorted(of.ids, self._samples_of(query))
            distances = list(of.between(rows, among))
        found = [choose(some) for some in distances]
        near: list[Any] = [some[at] for some, at in zip(distances, found, strict=True)]
        if query is None:
            return (found, near) if return_dists else found
        names: list[Any] = [[str(here[i]) for i in at] for at in found]
        near = [some.tolist() for some in near]
        if isinstance(query, str) or (_is_numbers(query) and query.ndim == 1):
            names, near = names[0], near[0]
        return (names, None, near) if return_dists else (names, None)

    def _query_vectors(self, query: Any) -> NDArray[np.float32]:
        """Query vectors [n, D]."""
        if query is None:
            raise QueryError("a query is needed: a sentence, a sample id or a vector")
        table = self.table
        if _is_numbers(query):
            vectors = np.atleast_2d(np.asarray(query, np.float32))
            if vectors.shape[1] != (dim := table.dim):
                raise QueryError(f"the query vector has {vectors.shape[1]} numbers; this index has {dim}")
            return vectors
        ids = self._samples_of(query)
        found = table.vectors(ids)
        if absent := [i for i in ids if i not in found]:
            raise QueryError(f"sample {absent[0]} is not in the index of brain key {self.key!r}; add it first")
        return np.stack([found[i] for i in ids])

    def _samples_of(self, query: Any) -> list[str]:
        """The samples of these ids, which may be of clips of the view."""
        ids = [query] if isinstance(query, str) else [str(i) for i in query]
        owners = owners_of(self.view, ids)
        return [owners.get(i, i) for i in ids]

    def ranked(
        self, samples: foc.SampleCollection, vector: NDArray[np.float32], k: int | None = None, reverse: bool = False
    ) -> list[tuple[str, float]]:
        """(id, score) of the best k among samples of this dataset, best first; of a clips view the clips of the best.

        Keeps no state, so that several users may ask at once.

        Raises:
            QueryError: the samples are frames or patches, or k is out of range.
        """
        return rank(self.table, samples, vector, k, reverse, self.dead)

    def _check_missing(self, missing: set[str], allow: bool, warn: bool) -> None:
        if missing and not allow:
            raise VideoIndexError(f"{len(missing)} ids are not in the index, the first is {min(missing)}")
        if missing and warn:
            logger.warning("%d ids are not in the index", len(missing))

    @classmethod
    def _from_dict(cls, d: Any, samples: Any, config: Any, brain_key: str) -> Clip2VideoSimilarityIndex:
        return cls(samples, config, brain_key)


def _check_aggregation(aggregation: object) -> None:
    if aggregation not in (None, "mean"):
        raise QueryError(f"aggregation is {aggregation!r}; allowed is 'mean'")


def _is_numbers(query: Any) -> bool:
    return isinstance(query, np.ndarray) and query.dtype.kind in "fiu"


def _nearest(distances: NDArray[np.float32], k: int | None, furthest: bool) -> NDArray[np.int64]:
    """Positions of the k smallest distances, or the largest; none of NaN."""
    known = np.flatnonzero(~np.isnan(distances))
    order = np.argsort(-distances[known] if furthest else distances[known], kind="stable")
    return known[order[:k]]
