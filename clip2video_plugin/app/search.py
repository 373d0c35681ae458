"""A search as the App shows it: a view in order of score, with the score on each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import fiftyone as fo
import fiftyone.core.collections as foc
from bson import ObjectId

from clip2video_plugin.app.filters import kept_by
from clip2video_plugin.app.similarity import Clip2VideoSimilarityIndex
from clip2video_plugin.app.videos import is_missing, owners_of, videos_of
from clip2video_plugin.bounds import MAX_K
from clip2video_plugin.errors import Clip2VideoError, QueryError, VideoIndexError
from clip2video_plugin.query import Query, SearchResult, answer
from clip2video_plugin.query.filters import parse_filter
from clip2video_plugin.query.language import fields_of

DEFAULT_K = 25
LENGTHS = {  # seconds, at least and less than
    "under 10 s": (0.0, 10.0),
    "10 s to 1 min": (10.0, 60.0),
    "1 to 10 min": (60.0, 600.0),
    "over 10 min": (600.0, math.inf),
}


@dataclass(frozen=True)
class Found:
    """Hits in order: a view of them, their ids and scores, and the number of videos searched.

    ``score_field`` holds the scores, in this view only; ``new_field``: this search added it to the dataset.
    ``missing`` are the hits whose files are not where the dataset says. ``result`` is what ``query.search`` gives, with
    one hit for each video.
    """

    view: fo.DatasetView
    ids: list[str]
    scores: list[float]
    searched: int
    missing: list[str]
    score_field: str
    new_field: bool
    result: SearchResult


def brain_keys(samples: foc.SampleCollection) -> list[str]:
    """The brain keys of a dataset's CLIP2Video runs."""
    dataset = samples._root_dataset
    return [key for key in dataset.list_brain_runs() if dataset.get_brain_info(key).config.method == "clip2video"]


def load_run(samples: foc.SampleCollection, brain_key: str | None) -> Clip2VideoSimilarityIndex:
    """Loads the run of a key; without a key, the dataset's only run.

    Raises:
        Clip2VideoError: there is none, or there are several; the message names them.
    """
    dataset, keys = samples._root_dataset, brain_keys(samples)
    if not keys:
        raise Clip2VideoError(f"dataset {dataset.name} has no CLIP2Video index; compute embeddings first")
    if brain_key is None and len(keys) > 1:
        raise Clip2VideoError(f"dataset {dataset.name} has several brain keys; name one of {', '.join(keys)}")
    key = brain_key or keys[0]
    if key not in keys:
        raise Clip2VideoError(f"dataset {dataset.name} has no brain key {key!r}; there are: {', '.join(keys)}")
    run = dataset.load_brain_results(key)
    assert isinstance(run, Clip2VideoSimilarityIndex)
    return run


def narrowed(samples: foc.SampleCollection, *, tag: str | None, length: str | None) -> foc.SampleCollection:
    """The samples with a tag, and of a length in ``LENGTHS``; every other value leaves them all in.

    Samples without metadata have no known length and are left out by one.
    """
    samples = videos_of(samples)
    if tag is not None and tag in samples._root_dataset.distinct("tags"):
        samples = samples.match_tags(tag)
    if length in LENGTHS:
        least, most = LENGTHS[length]
        duration = fo.ViewField("metadata.duration")
        samples = samples.match((duration >= least) & (duration < most))
    return samples


def score_field(brain_key: str) -> str:
    """Where the view of a search shows the scores; outside of one it is empty."""
    return f"{brain_key}_score"


def find(
    samples: foc.SampleCollection,
    query: str | Query | None = None,
    *,
    like: str | Sequence[str] = (),
    brain_key: str | None = None,
    k: int | None = None,
    weight: float | None = None,
) -> Found:
    """Finds the k videos that fit a query best; their view has the scores as ``<brain_key>_score``.

    Args:
        query: what happens in the video, in words, as ``Query.parse`` reads them, or a ``Query``. Its filter is asked
            of the dataset's fields (``filters.py``).
        like: id of a sample, or ids of several, that the videos are to be like; they are no hits themselves.
        k, weight: instead of the query's own; 25 of a query in words.

    Raises:
        QueryError: there is no query, a value of it is out of range, or a sample of ``like`` is not indexed.
        Clip2VideoError: there is no such index, or its vectors are gone.
    """
    asked = _query(query, like, k, weight)
    run = load_run(samples, brain_key)
    try:
        searched = run.total_index_size
    except VideoIndexError as error:
        raise VideoIndexError(
            f"the vectors of brain key {run.key!r} are gone ({error}); delete the index and compute it again"
        ) from None
    samples = videos_of(samples)
    if asked.where is not None:
        samples, asked = kept_by(samples, parse_filter(asked.where)), replace(asked, where=None)
    looked, model = run.searched(run.table, samples), run.get_model().model
    if owners := owners_of(
        samples, [str(one) for one in asked.like if ObjectId.is_valid(str(one))]
    ):  # other clips of the same videos are hits
        vector = run.query_vectors(sorted(set(owners.values()))).mean(axis=0, keepdims=True)
        near = looked.gallery.nearest(vector, looked.videos(min(asked.k + len(owners), MAX_K)))
        result = SearchResult(asked.line(), model.name, searched, near, model.warning)
    else:
        result = answer(replace(asked, k=looked.videos(asked.k)), looked.gallery, model)
    shown = looked.samples(result.hits, asked.k + len(owners))
    hits = [hit for hit in shown if hit[0] not in owners][: asked.k]
    ids, scores = [one for one, _ in hits], [hit.score for _, hit in hits]
    view, field, new = _scored(samples.select(ids, ordered=True), run.key, ids, scores)
    paths = view.values("filepath")
    gone = [path for path in paths if is_missing(path)]
    return Found(view, ids, scores, searched, gone, field, new, result)


def _query(query: str | Query | None, like: str | Sequence[str], k: int | None, weight: float | None) -> Query:
    given: dict[str, Any] = {"like": (like,) if isinstance(like, str) else tuple(like)} if like else {}
    given |= {name: value for name, value in (("k", k), ("weight", weight)) if value is not None}
    if isinstance(query, Query):
        return replace(query, **given)
    if not given.get("like") and not (query and query.strip()):
        raise QueryError("type what happens in the video")
    return query_of(query or "", **given)


def query_of(line: str, **given: Any) -> Query:
    """``Query.parse``, with 25 hits where neither the line nor ``given`` says how many."""
    usual = {} if "k" in fields_of(line) else {"k": DEFAULT_K}
    return Query.parse(line, **{**usual, **given})


def view_of(result: SearchResult, samples: foc.SampleCollection) -> fo.DatasetView:
    """The samples of a dataset or view that are a search's hits, in order, with the scores as ``clip2video_score``.

    Found by the ids that the index has of them, else by their files; hits that are none of the samples are left out.
    """
    samples = videos_of(samples)
    wanted = [hit.sample_id for hit in result.hits if hit.sample_id and ObjectId.is_valid(hit.sample_id)]
    by_id = set(samples.select(wanted).values("id")) if wanted else set()
    rest = [hit.path for hit in result.hits if hit.sample_id not in by_id]
    found = samples.select_by("filepath", rest) if rest else None
    by_path = dict(zip(*found.values(["filepath", "id"]), strict=True)) if found is not None else {}
    scores = dict[str, float]()
    for hit in result.hits:
        one = hit.sample_id if hit.sample_id in by_id else by_path.get(hit.path)
        if one is not None:
            scores.setdefault(one, hit.score)
    ids = list(scores)
    return _scored(samples.select(ids, ordered=True), "clip2video", ids, list(scores.values()))[0]


def _scored(
    view: fo.DatasetView, brain_key: str, ids: list[str], scores: list[float]
) -> tuple[fo.DatasetView, str, bool]:
    """The view with the scores on its samples or clips, their field, and whether that was made now.

    The scores are in the view and not in the database, so that no search writes over another's, or for ever.
    """
    field, dataset = score_field(brain_key), view._dataset  # of clips, the one that FiftyOne keeps them in
    if not dataset.has_sample_field(field):
        dataset.reload()  # another process may have made it
    if new := not dataset.has_sample_field(field):
        dataset.add_sample_field(field, fo.FloatField, description="how well a search's hits fit; shown in its view")
    if ids:
        number = {"$indexOfArray": [ids, {"$toString": "$_id"}]}
        view = view.set_field(field, {"$arrayElemAt": [scores, number]}, _allow_missing=True)
    return view, field, new
