"""The similarity backend: FiftyOne's queries answered by a LanceDB table of this project.

FiftyOne stores the config's class path with the run, so that any process with this package
installed, the App server included, loads the backend without having imported the project before.
The three classes must stay together in this module and keep their names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import fiftyone.brain.similarity as fbs
import fiftyone.core.collections as foc
import fiftyone.core.fields as fof
import fiftyone.core.stages as fos
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.app.listings import Listings
from clip2video_plugin.app.model import Clip2VideoModel
from clip2video_plugin.app.neighbours import Comparison, is_numbers, nearest
from clip2video_plugin.app.ranking import Searched, check_aggregation, rank
from clip2video_plugin.app.rows import RunRows
from clip2video_plugin.app.vectors import add, check_missing, computed, stored
from clip2video_plugin.app.videos import all_samples, owners_of, videos_of_clips
from clip2video_plugin.bounds import MAX_K, checked_k
from clip2video_plugin.errors import QueryError, VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.checkpoint import load_model
from clip2video_plugin.provenance import provenance

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
        self._viewed: Any = None
        self._curr_view: Any = None
        fbs.SimilarityIndex.__init__(self, samples, config, brain_key, backend=backend)
        fbs.DuplicatesMixin.__init__(self)
        # FiftyOne stores what is public
        self._rows, self._comparison, self._listings = RunRows(self), Comparison(self), Listings()
        self._model: Clip2VideoModel | None = None

    @property
    def rows(self) -> RunRows:
        """The rows as what they are: whose, and which are to be written."""
        return self._rows

    @property
    def table(self) -> VideoIndex:
        """The rows of this run, to read; raises VideoIndexError when the run was deleted, or its table is gone."""
        return self.rows.table()

    @property
    def frames_table(self) -> str:
        """Name of the table of frame vectors beside this run's table (see ``moments.py``)."""
        return self.rows.frames_table()

    @property
    def supports_prompts(self) -> bool:
        return True

    @property
    def total_index_size(self) -> int:
        return self.table.count() - len(self.rows.dead())

    @property
    def sample_ids(self) -> NDArray[np.str_]:
        """Ids of all indexed samples."""
        return np.array(sorted(set(self.table.ids()) - self.rows.dead()), dtype="<U24")

    def _apply_view_if_necessary(self) -> None:
        state = self.rows.state()
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
        """The model of the run; its towers for videos are loaded when they are needed (``Clip2VideoModel.whole``).

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
            else:
                if (source := self._model.model.source) and source.overwritten():
                    self._model = None
        if self._model is None:
            loaded = load_model(self.config.checkpoint, text_only=True)
            made.check(provenance(loaded, made.policy), where)
            self._model = Clip2VideoModel(loaded)
        return self._model

    def compute_embeddings(self, samples: foc.SampleCollection, **kwargs: Any) -> Any:
        """Vectors of samples through this project's pipeline: (array [n, D], ids [n], None).

        Videos that cannot be read are left out. Of FiftyOne's options ``batch_size``, ``num_workers`` and
        ``skip_existing`` apply.
        """
        return computed(
            samples,
            self.table,
            self.get_model().whole(),
            skip=bool(kwargs.get("skip_existing")),
            batch_size=kwargs.get("batch_size"),
            workers=kwargs.get("num_workers"),
        )

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
        add(
            self.rows.own_table(),
            all_samples(self._samples),
            dict(zip(map(str, sample_ids), np.asarray(embeddings, np.float32), strict=True)),
            overwrite=overwrite,
            allow_existing=allow_existing,
            warn_existing=warn_existing,
        )
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
        table = self.rows.own_table()
        ids = [str(i) for i in (sample_ids if sample_ids is not None else [])]
        check_missing(set(ids) - set(table.stamps(ids)), allow_missing, warn_missing)
        table.delete(ids)
        if reload:
            self.reload()

    def prune(self) -> int:
        """Removes the vectors of samples that were deleted from the dataset; returns how many."""
        if dead := self.rows.dead():
            self.rows.own_table().delete(sorted(dead))
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
        return stored(self.table, ids, allow_missing=allow_missing, warn_missing=warn_missing)

    def cleanup(self) -> None:
        """Drops the tables of the run (``RunRows.drop``)."""
        self.rows.drop()

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
        check_aggregation(aggregation)
        parsed, table = self._parse_query(query), self.table
        vectors = self._vectors_in(table, parsed)
        hits = dict(rank(self.searched(table, samples), vectors.mean(axis=0), k, reverse))
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
        check_aggregation(aggregation)
        if aggregation is None:
            return self._comparison.answer(query, lambda found: nearest(found, k, reverse), return_dists, k or 0)
        vectors = self.query_vectors(query)
        vector = vectors.mean(axis=0)
        hits = self.ranked(self.view, vector, k, reverse)
        length = float(np.linalg.norm(vector)) or 1.0
        ids, distances = [i for i, _ in hits], [max(1 - score / length, 0.0) for _, score in hits]
        return (ids, None, distances) if return_dists else (ids, None)

    def _radius_neighbors(self, query: Any = None, thresh: float | None = None, return_dists: bool = False) -> Any:
        """FiftyOne's hook: the videos within a cosine distance, by the distances of ``_kneighbors``."""
        return self._comparison.answer(query, lambda found: np.flatnonzero(found <= thresh), return_dists)

    def query_vectors(self, query: Any) -> NDArray[np.float32]:
        """Query vectors [n, D]."""
        return self._vectors_in(self.table, query)

    def _vectors_in(self, table: VideoIndex, query: Any) -> NDArray[np.float32]:
        if query is None:
            raise QueryError("a query is needed: a sentence, a sample id or a vector")
        if is_numbers(query):
            vectors = np.atleast_2d(np.asarray(query, np.float32))
            if not table.fits(vectors.shape[1]):
                raise QueryError(f"the query vector has {vectors.shape[1]} numbers; this index has {table.dim}")
            return vectors
        ids = self.samples_of(query)
        found = table.vectors(ids)
        if absent := [i for i in ids if i not in found]:
            raise QueryError(f"sample {absent[0]} is not in the index of brain key {self.key!r}; add it first")
        return np.stack([found[i] for i in ids])

    def samples_of(self, query: Any) -> list[str]:
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
        return rank(self.searched(self.table, samples), vector, k, reverse)

    def searched(self, table: VideoIndex, samples: foc.SampleCollection) -> Searched:
        """What of a table of this run is searched for samples (``Searched.of``)."""
        return Searched.of(table, samples, self._listings)

    @classmethod
    def _from_dict(cls, d: Any, samples: Any, config: Any, brain_key: str) -> Clip2VideoSimilarityIndex:
        return cls(samples, config, brain_key)
