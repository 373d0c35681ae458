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
import fiftyone.core.media as fom
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.app.model import Clip2VideoModel
from clip2video_plugin.app.videos import all_samples, items_of
from clip2video_plugin.encode import Embedded, encode_items
from clip2video_plugin.errors import QueryError, VideoIndexError
from clip2video_plugin.index import Hit, VideoIndex
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.model.checkpoint import load_model
from clip2video_plugin.paths import printable
from clip2video_plugin.provenance import provenance
from clip2video_plugin.video.files import file_stamp

logger = logging.getLogger(__name__)


# FiftyOne selects the hits in one MongoDB pipeline, which has a size limit and slows down long before it.
MAX_K = 10_000


class Clip2VideoSimilarityConfig(fbs.SimilarityConfig):  # type: ignore[misc]
    """What a run remembers: its table and its checkpoint. Stored in MongoDB, so it holds no secret."""

    def __init__(
        self,
        uri: str | None = None,
        table_name: str | None = None,
        checkpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.uri = uri
        self.table_name = table_name
        self.checkpoint = checkpoint
        self.supports_prompts = True  # fob.compute_similarity() passes False

    @property
    def method(self) -> str:
        return "clip2video"

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


class Clip2VideoSimilarityIndex(fbs.SimilarityIndex):  # type: ignore[misc]
    """One row per video sample, ``id`` being the sample's id."""

    def __init__(self, samples: Any, config: Any, brain_key: str, backend: Any = None) -> None:
        super().__init__(samples, config, brain_key, backend=backend)
        self._model: Clip2VideoModel | None = None
        self._opened: VideoIndex | None = None

    @property
    def table(self) -> VideoIndex:
        """The rows of this run.

        Raises:
            VideoIndexError: its table is gone.
        """
        if self._opened is None:
            try:
                self._opened = VideoIndex.open(self.config.uri, table=self.config.table_name)
            except VideoIndexError as error:
                raise VideoIndexError(
                    f"the vectors of brain key {self.key!r} are gone ({error}); "
                    "delete_brain_run() it and compute it again"
                ) from None
        return self._opened

    @property
    def frames_table(self) -> str:
        """Name of the table of frame vectors beside this run's table (see ``moments.py``)."""
        return str(self.config.table_name).replace("brain_", "frames_", 1)

    @property
    def supports_prompts(self) -> bool:
        return True

    @property
    def total_index_size(self) -> int:
        return self.table.count()

    @property
    def sample_ids(self) -> NDArray[np.str_]:
        """Ids of all indexed samples."""
        return np.array(sorted(self.table.ids()))

    def get_model(self) -> Clip2VideoModel:
        """The model of the run.

        Raises:
            VideoIndexError: its checkpoint has changed since.
            CheckpointError: it is not installed here.
        """
        if self._model is None:
            loaded = load_model(self.config.checkpoint)
            made = self.table.provenance
            made.check(provenance(loaded, made.policy), f"brain key {self.key!r}")
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
        ids = [str(i) for i in sample_ids]
        vectors = dict(zip(ids, np.asarray(embeddings, np.float32), strict=True))
        if len(vectors) and np.asarray(embeddings).shape[1:] != (self.table.dim,):
            raise VideoIndexError(f"vectors have shape {np.asarray(embeddings).shape}; expected [n, {self.table.dim}]")
        existing = set(self.table.stamps(ids))
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
        self.table.write(rows)
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
        ids = [str(i) for i in (sample_ids if sample_ids is not None else [])]
        self._check_missing(set(ids) - set(self.table.stamps(ids)), allow_missing, warn_missing)
        self.table.delete(ids)
        if reload:
            self.reload()

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
            ids = [sample_ids] if isinstance(sample_ids, str) else [str(i) for i in sample_ids]
        found = self.table.vectors(ids)
        self._check_missing(set(ids) - set(found), allow_missing, warn_missing)
        kept = [i for i in ids if i in found]
        vectors = np.stack([found[i] for i in kept]) if kept else np.zeros((0, self.table.dim), np.float32)
        return vectors, np.array(kept), None

    def cleanup(self) -> None:
        """Drops the tables of the run."""
        try:
            self.table.drop()
            if (frames := FrameIndex.open(self.config.uri, self.frames_table)) is not None:
                frames.drop()
        except VideoIndexError:
            logger.warning("the vectors of brain key %r were gone already", self.key)
        self._opened = None

    def _kneighbors(
        self,
        query: Any = None,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str | None = None,
        return_dists: bool = False,
    ) -> Any:
        """FiftyOne's query hook; the "distances" it returns are scores, larger is better."""
        if aggregation not in (None, "mean"):
            raise QueryError(f"aggregation is {aggregation!r}; allowed is 'mean'")
        vectors, single = self._query_vectors(query)
        if aggregation == "mean" or single:
            answer = self._search(vectors.mean(axis=0), k, reverse)
            ids, scores = [i for i, _ in answer], [s for _, s in answer]
        else:
            answers = [self._search(vector, k, reverse) for vector in vectors]
            ids, scores = [[i for i, _ in a] for a in answers], [[s for _, s in a] for a in answers]  # type: ignore[misc]
        return (ids, None, scores) if return_dists else (ids, None)

    def _query_vectors(self, query: Any) -> tuple[NDArray[np.float32], bool]:
        """Query vectors [n, D], and whether one alone was asked."""
        if query is None:
            raise QueryError("a query is needed: a sentence, a sample id or a vector")
        if isinstance(query, np.ndarray) and query.dtype.kind in "fiu":
            vectors = np.atleast_2d(np.asarray(query, np.float32))
            if vectors.shape[1] != self.table.dim:
                raise QueryError(f"the query vector has {vectors.shape[1]} numbers; this index has {self.table.dim}")
            return vectors, query.ndim == 1
        ids = [query] if isinstance(query, str) else [str(i) for i in query]
        found = self.table.vectors(ids)
        if absent := [i for i in ids if i not in found]:
            raise QueryError(f"sample {absent[0]} is not in the index of brain key {self.key!r}; add it first")
        return np.stack([found[i] for i in ids]), isinstance(query, str)

    def _search(self, vector: NDArray[np.float32], k: int | None, reverse: bool) -> list[tuple[str, float]]:
        return self.ranked(self.view, vector, k, reverse)

    def ranked(
        self, samples: foc.SampleCollection, vector: NDArray[np.float32], k: int | None = None, reverse: bool = False
    ) -> list[tuple[str, float]]:
        """(id, score) of the best k among samples of this dataset, best first; of a clips view the clips of the best.

        Keeps no state, so that several users may ask at once.

        Raises:
            QueryError: the samples are frames or patches.
        """
        size = self.table.count()
        if k is None and size > MAX_K:
            logger.warning("showing the best %d of %d videos; pass k to choose", MAX_K, size)
        k = min(k if k is not None else size, MAX_K, max(size, 1))
        if samples._is_clips:
            clips: dict[str, list[str]] = {}
            for clip, sample in zip(*samples.values(["id", "sample_id"]), strict=True):
                clips.setdefault(sample, []).append(clip)
            hits = self.table.search(vector, k, ids=list(clips), furthest=reverse)
            return [(clip, hit.score) for hit in hits for clip in clips[hit.id]][:k]
        if samples._is_frames or samples._is_patches:
            raise QueryError(
                "this view shows frames or patches; CLIP2Video ranks whole videos: search the dataset instead"
            )
        whole = samples.view() == samples._root_dataset.view() and samples.media_type != fom.GROUP
        ids = None if whole else set(samples.values("id"))
        hits = self.table.search(vector, k, ids=ids, furthest=reverse)
        return [(hit.id, hit.score) for hit in self._alive(hits)]

    def _alive(self, hits: list[Hit]) -> list[Hit]:
        """Without videos whose samples were deleted from the dataset after indexing."""
        alive = set(all_samples(self._samples).select([hit.id for hit in hits]).values("id"))
        return [hit for hit in hits if hit.id in alive]

    def _check_missing(self, missing: set[str], allow: bool, warn: bool) -> None:
        if missing and not allow:
            raise VideoIndexError(f"{len(missing)} ids are not in the index, the first is {min(missing)}")
        if missing and warn:
            logger.warning("%d ids are not in the index", len(missing))

    @classmethod
    def _from_dict(cls, d: Any, samples: Any, config: Any, brain_key: str) -> Clip2VideoSimilarityIndex:
        return cls(samples, config, brain_key)
