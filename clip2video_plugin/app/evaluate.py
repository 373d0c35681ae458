"""Evaluates a brain run on the captions of its dataset; ranks and rivals become fields of the samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import fiftyone as fo
import fiftyone.core.collections as foc
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.app.search import brain_keys
from clip2video_plugin.app.similarity import Clip2VideoSimilarityIndex
from clip2video_plugin.app.videos import captions_in, field_of_captions, videos_of
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.evaluation.report import Evaluation, check_comparable, published_row, summarise
from clip2video_plugin.evaluation.retrieval import BLOCK, Ties, check_ties, products, rank_blocks
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.progress import Tell, bar

QUERIES = 256  # captions encoded at once


def evaluate(
    samples: foc.SampleCollection,
    *,
    brain_key: str,
    captions_field: str | None = None,
    ties: Ties = "strict",
    weight: float | None = None,
    allow_incomplete: bool = False,
    write_fields: bool = True,
    progress: bool | Tell = True,
) -> Evaluation:
    """Evaluates a run on the captions of a dataset or view: text-to-video and video-to-text retrieval.

    The samples are the gallery; every caption is a query. Scores are computed and ranked in blocks, to save memory.
    With ``write_fields`` each sample gets ``<brain_key>_ranks`` and ``<brain_key>_rivals`` (per caption: the rank of
    this video, and the id of the best other one) and ``<brain_key>_worst_rank``.

    Args:
        samples: the dataset or view whose videos are the gallery.
        brain_key: of a ``compute_clip2video`` run.
        captions_field: a string or a list of strings per sample; by default ``query`` where a protocol of
            single captions was imported, else ``captions``.
        ties: "strict", or "reference" for the published arithmetic.
        weight: w of the queries, the model's own by default.
        allow_incomplete: evaluate although videos of the protocol are missing.
        progress: whether to show a progress bar; or a function that is called with the number of different captions
            encoded, and of all.

    Raises:
        Clip2VideoError: there is no such run or field, or no captions.
        NotComparableError: videos of the imported protocol are missing from the gallery.
    """
    check_ties(ties)
    dataset, samples = samples._root_dataset, videos_of(samples)
    if not dataset.has_brain_run(brain_key):
        keys = ", ".join(dataset.list_brain_runs()) or "none"
        raise Clip2VideoError(f"dataset {dataset.name} has no brain key {brain_key!r}; there are: {keys}")
    run = dataset.load_brain_results(brain_key)
    if not isinstance(run, Clip2VideoSimilarityIndex):
        raise Clip2VideoError(f"brain key {brain_key!r} is no CLIP2Video run")
    field = captions_field or field_of_captions(samples)
    ids, videos, captions, column = _gallery(samples, run, field)
    problem, info = None, dataset.info
    if info.get("expected") and not isinstance(info.get("split"), list):
        expected = info["expected"]["videos"], info["expected"]["captions"]
        problem = check_comparable(len(ids), len(captions), expected, allow=allow_incomplete)

    model = run.get_model().model
    rivals = np.empty(len(captions), np.int64)

    place = {text: n for n, text in enumerate(dict.fromkeys(captions))}  # equal captions are encoded once, and tie
    which = np.array([place[text] for text in captions])
    queries, gallery = _encoded(model, list(place), weight, progress), videos.astype(np.float64)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(captions), BLOCK):
            rows = slice(start, start + BLOCK)
            scores = products(queries[which[rows]], gallery)  # [block, V]
            others = scores.copy()
            others[np.arange(len(others)), column[rows]] = -np.inf
            rivals[rows] = others.argmax(axis=1)
            yield scores

    ranking = rank_blocks(blocks(), column, len(ids))
    if write_fields:
        _write(dataset, brain_key, ids, column, ranking.t2v, rivals)
    return summarise(
        ranking,
        column,
        name=brain_key,
        model=model.name,
        videos=len(ids),
        ties=ties,
        protocol=info.get("protocol"),
        not_comparable=problem,
        published=published_row(info.get("protocol")) if info.get("split") == "test" else None,
    )


def _encoded(model: Model, texts: list[str], weight: float | None, progress: bool | Tell) -> NDArray[np.float32]:
    """Vectors [T, D] of captions."""
    parts = list[NDArray[np.float32]]()
    with bar("Encoding", len(texts), unit="captions", quiet=progress is not True) as shown:
        tell = progress if callable(progress) else shown
        for start in range(0, len(texts), QUERIES):
            found = model.encode_captions(texts[start : start + QUERIES])
            parts.append((found.vector if weight is None else found.at_weight(weight)).numpy())
            tell(min(start + QUERIES, len(texts)), total=len(texts))
    return np.concatenate(parts)


def worst_failures(samples: foc.SampleCollection, brain_key: str, count: int = 50) -> fo.DatasetView:
    """The samples that their captions find last, the worst first; ``evaluate`` must have written its fields."""
    samples, field = videos_of(samples), f"{brain_key}_worst_rank"
    if not samples.has_field(field):
        raise Clip2VideoError(
            f"{samples._root_dataset.name} has no field {field}; evaluate brain key {brain_key!r} first"
        )
    return samples.exists(field).sort_by(field, reverse=True).limit(count)


def _gallery(
    samples: foc.SampleCollection, run: Clip2VideoSimilarityIndex, field: str
) -> tuple[list[str], NDArray[np.float32], list[str], NDArray[np.int64]]:
    """Ids and vectors of the indexed videos, all captions, and the column of each caption's video."""
    if not samples.has_field(field):
        raise Clip2VideoError(f"{samples._root_dataset.name} has no field {field!r}; name the one that holds captions")
    order = "gallery_index" if samples.has_field("gallery_index") else "id"
    rows = sorted(zip(*samples.values([order, "id", field]), strict=True), key=lambda row: (row[0] is None, row[0]))
    vectors, found, _ = run.get_embeddings([i for _, i, _ in rows])
    position = {i: n for n, i in enumerate(found.tolist())}
    captions, column = list[str](), list[int]()
    for _, sample, texts in rows:
        if sample in position:
            kept = captions_in(texts)
            captions += kept
            column += [position[sample]] * len(kept)
    if not captions:
        raise Clip2VideoError(f"no indexed sample has a caption in the field {field!r}")
    return list(position), vectors, captions, np.asarray(column)


def _write(
    dataset: fo.Dataset,
    brain_key: str,
    ids: list[str],
    column: NDArray[np.int64],
    ranks: NDArray[np.float64],
    rivals: NDArray[np.int64],
) -> None:
    of_sample: dict[str, tuple[list[float], list[str]]] = {}
    for at, rank, rival in zip(column.tolist(), ranks.tolist(), rivals.tolist(), strict=True):
        mine = of_sample.setdefault(ids[at], ([], []))
        mine[0].append(rank)
        mine[1].append(ids[rival])
    dataset.set_values(f"{brain_key}_ranks", {i: r for i, (r, _) in of_sample.items()}, key_field="id")
    dataset.set_values(f"{brain_key}_rivals", {i: r for i, (_, r) in of_sample.items()}, key_field="id")
    dataset.set_values(f"{brain_key}_worst_rank", {i: max(r) for i, (r, _) in of_sample.items()}, key_field="id")


def find_dataset(name: str | None, protocol: str | None, asked: list[str] | None) -> tuple[fo.Dataset, list[str]]:
    """The dataset of a name, or the only one imported for a protocol, and the runs to evaluate.

    Raises:
        Clip2VideoError: there is none, or more than one, or it has no CLIP2Video run.
    """
    if name is None and protocol is None:
        raise Clip2VideoError("name a dataset, or a --protocol")
    if name is None:
        fitting = [n for n in fo.list_datasets() if fo.load_dataset(n).info.get("protocol") == protocol]
        if len(fitting) != 1:
            found = ", ".join(fitting) or "none"
            raise Clip2VideoError(f"datasets imported for protocol {protocol!r}: {found}; name the one to evaluate")
        name = fitting[0]
    if not fo.dataset_exists(name):
        raise Clip2VideoError(f"no dataset {name!r}; there are: {', '.join(fo.list_datasets()) or 'none'}")
    dataset = fo.load_dataset(name)
    keys = asked or brain_keys(dataset)
    if not keys:
        raise Clip2VideoError(f"dataset {name} has no CLIP2Video run; make one with compute_clip2video() or in the App")
    return dataset, keys


def tagged(dataset: fo.Dataset, tags: Sequence[str]) -> foc.SampleCollection:
    """The samples that have one of the tags, or all without any; raises Clip2VideoError when there are none."""
    if not tags:
        return dataset
    view = dataset.match_tags(list(tags))
    if not len(view):
        there = ", ".join(dataset.distinct("tags")) or "none"
        raise Clip2VideoError(
            f"dataset {dataset.name} has no samples tagged {' or '.join(tags)}; its tags are: {there}"
        )
    return view
