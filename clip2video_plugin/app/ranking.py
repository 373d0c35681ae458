"""The best of a view, of its samples that are still there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Set

import fiftyone.core.collections as foc
import fiftyone.core.media as fom
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.app.runs import living
from clip2video_plugin.app.videos import videos_of
from clip2video_plugin.bounds import MAX_K, checked_k
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import VideoIndex

logger = logging.getLogger(__name__)


def rank(
    table: VideoIndex,
    samples: foc.SampleCollection,
    vector: NDArray[np.float32],
    k: int | None,
    reverse: bool,
    dead: Callable[[], Set[str]],
) -> list[tuple[str, float]]:
    """(id, score) of the k best among samples, best first; of a clips view the clips of the best videos.

    Of groups that show pictures, those of the groups with the best videos.

    Args:
        k: all that FiftyOne can show by default.
        dead: gives the ids of rows whose samples were deleted; asked for only where they are in the way.
    """
    if samples._is_frames or samples._is_patches:
        raise QueryError("this view shows frames or patches; CLIP2Video ranks whole videos: search the dataset instead")
    size = table.count()
    if k is None and size > MAX_K:
        logger.warning("showing the best %d of %d videos; pass k to choose", MAX_K, size)
    k = checked_k(MAX_K if k is None else k)
    if shown := _shown_for_videos(samples):
        most = min(len(shown), k * len(samples._root_dataset.group_slices or [None]))
        best: dict[str, float] = {}
        for hit in table.search(vector, most, ids=list(shown), furthest=reverse):
            for one in shown[hit.id]:
                best.setdefault(one, hit.score)
        return list(best.items())[:k]
    if samples.view() == samples._root_dataset.view() and samples.media_type != fom.GROUP:
        return _best_living(table, samples, vector, k, reverse, size, dead)
    return [(hit.id, hit.score) for hit in table.search(vector, k, ids=set(samples.values("id")), furthest=reverse)]


def _shown_for_videos(samples: foc.SampleCollection) -> dict[str, list[str]]:
    """Video -> what a view shows in its place: its clips, or where pictures are the active slice, that of its group."""
    pairs: list[tuple[str, str]] = []
    if samples._is_clips:
        pairs = list(zip(*samples.values(["sample_id", "id"]), strict=True))
    elif samples.media_type == fom.GROUP and samples.group_media_types.get(samples.group_slice) != fom.VIDEO:
        fields = [f"{samples.group_field}.id", "id"]
        active = dict(zip(*samples.values(fields), strict=True))
        videos = zip(*videos_of(samples).values(fields), strict=True)
        pairs = [(video, active[group]) for group, video in videos if group in active]
    shown: dict[str, list[str]] = {}
    for video, one in pairs:
        shown.setdefault(video, []).append(one)
    return shown


def _best_living(
    table: VideoIndex,
    dataset: foc.SampleCollection,
    vector: NDArray[np.float32],
    k: int,
    reverse: bool,
    size: int,
    dead: Callable[[], Set[str]],
) -> list[tuple[str, float]]:
    """Of the whole table: as many as are asked for, and more where samples of them were deleted."""
    asked = min(k, max(size, 1))
    while asked <= MAX_K:
        hits = table.search(vector, asked, furthest=reverse)
        alive = living(dataset._root_dataset, [hit.id for hit in hits])
        kept = [(hit.id, hit.score) for hit in hits if hit.id in alive]
        if len(kept) >= k or asked >= size:
            return kept[:k]
        asked = min(2 * asked, size)
    ids = set(table.ids()) - dead()
    return [(hit.id, hit.score) for hit in table.search(vector, k, ids=ids, furthest=reverse)]
