"""Which samples of a collection are videos, and where their files are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import fiftyone as fo
import fiftyone.core.collections as foc
import fiftyone.core.media as fom
import fiftyone.core.stages as fos
import fiftyone.core.view as fov

from clip2video_plugin.encode import Item
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.places import Place, Uri, place_of

FRAMES_FIELD = "frames_dir"


def items_of(samples: foc.SampleCollection, captions_field: str | None = None) -> list[Item]:
    """The videos of a collection, each once; clips count as the videos they are of.

    A sample with a folder in ``frames_dir``, as imported with ``media="frames"``, is the video of these frames.

    Args:
        captions_field: where their captions are, a string or a list of strings each; by default nobody asks for them.
    """
    fields = ["sample_id" if samples._is_clips else "id", "filepath"]
    if samples.has_field(FRAMES_FIELD):
        fields.append(FRAMES_FIELD)
    ids, paths, *more = samples.values(fields)
    folders = more[0] if more else paths
    videos = dict(zip(ids, (folder or path for path, folder in zip(paths, folders, strict=True)), strict=True))
    said: dict[str, list[str]] = {}
    if captions_field:
        own = videos_of_clips(samples)
        ids, values = own.values(["id", captions_field])
        said = {i: captions_in(value) for i, value in zip(ids, values, strict=True)}
    return [
        Item(place_of(path), sample, sample_id=sample, captions=said.get(sample)) for sample, path in videos.items()
    ]


def field_of_captions(samples: foc.SampleCollection) -> str:
    """The field to take captions from when nobody names one: a protocol's single ones, else all."""
    return "query" if samples.has_field("query") else "captions"


def captions_in(value: Any) -> list[str]:
    """The captions of a field's value: a string or a list of strings; empty ones, and all else, are left out."""
    texts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [text for text in texts if isinstance(text, str) and text.strip()]


def path_of(sample: fo.Sample) -> Place:
    """The file of a video sample, or its folder of frames."""
    folder = sample[FRAMES_FIELD] if sample.has_field(FRAMES_FIELD) else None
    return place_of(folder or sample.filepath)


def name_of(path: str) -> str:
    """The name of a sample's file, which may be a URI."""
    return place_of(path).name


def is_missing(path: str) -> bool:
    """Whether a sample's file is not there; of one in a store nobody asks."""
    return not isinstance(place_of(path), Uri) and not os.path.exists(path)


def add_uris(dataset: fo.Dataset, uris: Sequence[str | Uri]) -> list[str]:
    """Adds a video sample for each URI; returns their ids.

    FiftyOne makes an absolute path of what a new sample is given, so the URIs are written afterwards, without
    credentials.

    Raises:
        Clip2VideoError: one is no URI; nothing is added.
    """
    places = [place_of(uri) for uri in uris]
    if wrong := [place for place in places if not isinstance(place, Uri)]:
        raise Clip2VideoError(f"{wrong[0]} is no URI; add files with FiftyOne itself")
    ids: list[str] = dataset.add_samples([fo.Sample(filepath="uri.mp4") for _ in places], progress=False)
    dataset.set_values("filepath", dict(zip(ids, map(str, places), strict=True)), key_field="id")
    return ids


def video_of(samples: foc.SampleCollection, sample_id: str) -> fo.Sample:
    """The video of an id, of whichever slice; raises Clip2VideoError when the dataset has no such video."""
    dataset = samples._root_dataset
    if not len(videos_of(dataset).select(sample_id)):
        raise Clip2VideoError(f"sample {sample_id} is no video of dataset {dataset.name}; select another")
    return dataset[sample_id]


def videos_of(samples: foc.SampleCollection) -> foc.SampleCollection:
    """The collection itself, or of one with grouped slices those that are videos, one by one."""
    if not holds_groups(samples):
        return samples
    return samples.select_group_slices(media_type=fom.VIDEO, _allow_mixed=True)


def holds_groups(samples: foc.SampleCollection) -> bool:
    """Whether the samples are in groups with slices, not only grouped by a field in this view."""
    return bool(samples.media_type == fom.GROUP and not samples._is_dynamic_groups)


def stages_of(samples: foc.SampleCollection) -> list[fos.ViewStage]:
    """The stages of a view; a dataset has none. ``view()`` would copy them, with all ids that were chosen."""
    return samples._all_stages if isinstance(samples, fov.DatasetView) else []


def all_samples(samples: foc.SampleCollection) -> foc.SampleCollection:
    """Every sample of the dataset that a collection is of, one by one: those of all group slices, active or not."""
    dataset = samples._root_dataset
    return dataset.select_group_slices(_allow_mixed=True) if dataset.media_type == fom.GROUP else dataset


def videos_of_clips(samples: foc.SampleCollection) -> foc.SampleCollection:
    """The videos that a view of clips is of; other collections themselves."""
    if not samples._is_clips:
        return samples
    return all_samples(samples).select(samples.distinct("sample_id"))


def owners_of(samples: foc.SampleCollection, ids: Sequence[str]) -> dict[str, str]:
    """Clip -> its sample, for those of these ids that are of clips of a view."""
    if not samples._is_clips:
        return {}
    return dict(zip(*samples.select(list(ids)).values(["id", "sample_id"]), strict=True))


def holds_videos(samples: foc.SampleCollection) -> bool:
    """Whether the samples are video files, clips of them, or folders of frames."""
    if samples._is_frames:
        return False
    return bool(samples.media_type == fom.VIDEO or samples.has_field(FRAMES_FIELD))
