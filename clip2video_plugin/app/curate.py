"""Copies of videos, wrong captions and captions that fit, as views and fields of a FiftyOne dataset."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import fiftyone as fo
import fiftyone.core.collections as foc
import numpy as np

from clip2video_plugin.app.evaluate import evaluate, worst_failures
from clip2video_plugin.app.search import load_run
from clip2video_plugin.app.videos import (
    all_samples,
    captions_in,
    field_of_captions,
    video_of,
    videos_of,
    videos_of_clips,
)
from clip2video_plugin.backfill import add_thumbnails
from clip2video_plugin.bounds import checked_k
from clip2video_plugin.errors import Clip2VideoError, QueryError
from clip2video_plugin.progress import Tell
from clip2video_plugin.query.audit import Fitting, fitting
from clip2video_plugin.query.curate import Duplicates, duplicates
from clip2video_plugin.query.curate import Tell as Compared
from clip2video_plugin.query.tracks import SAME


@dataclass(frozen=True)
class Copies:
    """Copies of videos: a view of them, group by group with the original first, and what was found.

    Three fields of each sample are written: ``<brain_key>_group`` is the number of its group, ``<brain_key>_copy`` the
    kind of copy ("original" for the first of the group), ``<brain_key>_leak`` whether another split has a copy.
    """

    view: fo.DatasetView
    found: Duplicates


def fields_of_copies(brain_key: str) -> tuple[str, str, str]:
    """The fields that ``find_duplicates`` writes: number of the group, kind of copy, leak."""
    return f"{brain_key}_group", f"{brain_key}_copy", f"{brain_key}_leak"


def find_duplicates(
    samples: foc.SampleCollection,
    *,
    brain_key: str | None = None,
    by: str | None = None,
    least: float = SAME,
    read: bool = False,
    progress: Compared | None = None,
) -> Copies:
    """Finds copies among the videos of a dataset or view (``query.curate.duplicates``), and writes them to its fields.

    The fields that an earlier call wrote are cleared first.

    Args:
        by: what the splits are: "tags", "folder", or a field; none by default.
        read: first decode the videos that an earlier version indexed, as their rows have no thumbnails.

    Raises:
        Clip2VideoError: there is no such index.
        QueryError: there is no such field, or ``least`` is not allowed.
    """
    samples = videos_of(videos_of_clips(samples))
    run = load_run(samples, brain_key)
    if read:
        add_thumbnails(run.rows.own_table())
    ids = samples.values("id")
    splits = "folder" if by == "folder" else None if by is None else _splits(samples, by)
    found = duplicates(run.table, ids=ids, by=splits, least=least, progress=progress)
    _write(samples._root_dataset, run.key, found)
    order = [video.id for group in found.groups for video in group.videos]
    return Copies(samples.select(order, ordered=True), found)


def _splits(samples: foc.SampleCollection, by: str) -> dict[str, list[str]]:
    if not samples.has_field(by):
        raise QueryError(f"by is {by!r}; allowed are tags, folder, and a field of {samples._root_dataset.name}")
    values = zip(*samples.values(["id", by]), strict=True)
    return {
        i: [str(v) for v in (value if isinstance(value, list) else [value]) if v is not None] for i, value in values
    }


def _write(dataset: fo.Dataset, key: str, found: Duplicates) -> None:
    names = fields_of_copies(key)
    for name, kind in zip(names, (fo.IntField, fo.StringField, fo.BooleanField), strict=True):
        if dataset.has_sample_field(name):
            dataset.clear_sample_field(name)
        else:
            dataset.add_sample_field(name, kind)
    group, copy, leak = dict[str, int](), dict[str, str](), dict[str, bool]()
    for number, one in enumerate(found.groups, start=1):
        leaky = {place for pair in one.leaks for place in (pair.first, pair.second)}
        for place, video in enumerate(one.videos):
            group[video.id] = number
            copy[video.id] = str(one.pair_of[place]) if place else "original"
            leak[video.id] = place in leaky
    for name, values in zip(names, (group, copy, leak), strict=True):
        if values:
            all_samples(dataset).set_values(name, values, key_field="id")


@dataclass(frozen=True)
class LowCaption:
    """A caption, its sample, the rank of its video by it, and the best other sample."""

    caption: str
    id: str
    rank: float
    rival: str


@dataclass(frozen=True)
class CaptionAudit:
    """Samples with a caption that finds another video first, the worst first; and these captions."""

    view: fo.DatasetView
    captions: list[LowCaption]


def audit_captions(
    samples: foc.SampleCollection,
    *,
    brain_key: str | None = None,
    captions_field: str | None = None,
    k: int = 50,
    progress: bool | Tell = True,
) -> CaptionAudit:
    """Finds the captions whose own video ranks lowest, and their samples; at most k of each.

    Writes the fields of ``evaluate``.

    Raises:
        Clip2VideoError: there is no such index or field, or no captions.
    """
    k, samples = checked_k(k), videos_of(videos_of_clips(samples))
    key, field = load_run(samples, brain_key).key, captions_field or field_of_captions(samples)
    evaluate(samples, brain_key=key, captions_field=field, allow_incomplete=True, progress=progress)
    rows = zip(*samples.values(["id", field, f"{key}_ranks", f"{key}_rivals"]), strict=True)
    low = [
        LowCaption(text, sample, rank, rival)
        for sample, texts, ranks, rivals in rows
        if ranks is not None
        for text, rank, rival in zip(captions_in(texts), ranks, rivals, strict=True)
        if rank >= 2
    ]
    low.sort(key=lambda caption: -caption.rank)
    worst = worst_failures(samples, key, k)
    return CaptionAudit(worst.match(fo.ViewField(f"{key}_worst_rank") >= 2), low[:k])


def nearest_captions(
    samples: foc.SampleCollection,
    sample_id: str,
    *,
    brain_key: str | None = None,
    k: int = 10,
    captions_field: str | None = None,
    captions: Collection[str] | None = None,
    progress: Tell | None = None,
) -> list[Fitting]:
    """Finds the k captions that fit the video of a sample best, among those of a dataset or view, or among others.

    Raises:
        Clip2VideoError: there is no such index, sample or field, or no captions.
    """
    k, samples = checked_k(k), videos_of(videos_of_clips(samples))
    run, sample = load_run(samples, brain_key), video_of(samples, sample_id)
    field = captions_field or field_of_captions(samples)
    there = samples.has_field(field)
    if captions is None and not there:
        raise Clip2VideoError(f"{samples._root_dataset.name} has no field {field!r}; name the one that holds captions")
    texts = [text for value in samples.values(field) for text in captions_in(value)] if captions is None else captions
    if not texts:
        raise Clip2VideoError(f"no sample has a caption in the field {field!r}")
    vector = np.asarray(run.get_embeddings([sample_id], allow_missing=False)[0][0], np.float32)
    return fitting(vector, texts, captions_in(sample[field]) if there else [], run.get_model().model, k, progress)
