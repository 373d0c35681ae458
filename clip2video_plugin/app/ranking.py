"""Which rows of a run are searched for a view, and which sample or clip the view shows for each video found."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import fiftyone as fo
import fiftyone.core.collections as foc
import fiftyone.core.media as fom
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.app.listings import Listings
from clip2video_plugin.app.runs import living
from clip2video_plugin.app.videos import holds_groups, stages_of, videos_of
from clip2video_plugin.bounds import MAX_K, checked_k
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Hit, Keep, VideoIndex
from clip2video_plugin.query import Gallery

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Searched:
    """A view to search: the gallery of its videos, and in ``shown`` what it shows in place of each: clips, pictures.

    ``shown`` is None where it shows the videos themselves.
    """

    gallery: Gallery
    shown: dict[str, list[str]] | None
    slices: int = 1  # of a group, most that stand for one another

    @classmethod
    def of(cls, table: VideoIndex, samples: foc.SampleCollection, listings: Listings) -> Searched:
        """What of a table is searched for samples of the dataset that it is of, or for a view of them.

        Args:
            listings: those of views of this dataset.

        Raises:
            QueryError: the samples are frames or patches.
        """
        if samples._is_frames or samples._is_patches:
            raise QueryError(
                "this view shows frames or patches; CLIP2Video ranks whole videos: search the dataset instead"
            )
        if not stages_of(samples) and not holds_groups(samples):
            return cls(Gallery(table, keep=_alive(samples._root_dataset)), None)
        listed = listings.of(samples, lambda: _shown_for_videos(samples) or frozenset(samples.values("id")))
        if isinstance(listed, frozenset):
            return cls(Gallery(table, ids=listed), None)
        slices = len(samples._root_dataset.group_slices or [None])
        return cls(Gallery(table, ids=frozenset(listed)), listed, slices)

    def videos(self, k: int) -> int:
        """How many videos to ask for, so that k samples, clips or groups can be shown."""
        return k if self.shown is None else max(min(len(self.shown), k * self.slices), 1)

    def samples(self, hits: list[Hit], k: int) -> list[tuple[str, Hit]]:
        """(id, hit) of the k best of what the view shows."""
        if self.shown is None:
            return [(hit.id, hit) for hit in hits[:k]]
        best: dict[str, Hit] = {}
        for hit in hits:
            for one in self.shown[hit.id]:
                best.setdefault(one, hit)
        return list(best.items())[:k]


def rank(
    searched: Searched, vector: NDArray[np.float32], k: int | None = None, reverse: bool = False
) -> list[tuple[str, float]]:
    """(id, score) of the k best of a view, or of the worst in reverse, for a query vector [D].

    Args:
        k: all that FiftyOne can show by default.
    """
    gallery = searched.gallery
    if k is None and (size := gallery.videos.count()) > MAX_K:
        logger.warning("showing the best %d of %d videos; pass k to choose", MAX_K, size)
    k = checked_k(MAX_K if k is None else k)
    videos = searched.videos(k)
    if reverse:
        hits = gallery.videos.search(vector, videos, ids=gallery.ids, keep=gallery.keep, furthest=True)
    else:
        hits = gallery.nearest(vector[None], videos)
    return [(one, hit.score) for one, hit in searched.samples(hits, k)]


def _shown_for_videos(samples: foc.SampleCollection) -> dict[str, list[str]]:
    """Video -> what a view shows in its place: its clips, or where pictures are the active slice, that of its group."""
    pairs: list[tuple[str, str]] = []
    if samples._is_clips:
        pairs = list(zip(*samples.values(["sample_id", "id"]), strict=True))
    elif holds_groups(samples) and samples.group_media_types.get(samples.group_slice) != fom.VIDEO:
        fields = [f"{samples.group_field}.id", "id"]
        active = dict(zip(*samples.values(fields), strict=True))
        videos = zip(*videos_of(samples).values(fields), strict=True)
        pairs = [(video, active[group]) for group, video in videos if group in active]
    shown: dict[str, list[str]] = {}
    for video, one in pairs:
        shown.setdefault(video, []).append(one)
    return shown


def _alive(dataset: fo.Dataset) -> Keep:
    """Keeps the hits whose samples are still there; each is looked up once."""
    known = dict[str, bool]()

    def keep(hits: list[Hit]) -> list[Hit]:
        if new := [hit.id for hit in hits if hit.id not in known]:
            there = living(dataset, new)
            known.update((i, i in there) for i in new)
        return [hit for hit in hits if known[hit.id]]

    return keep


def check_aggregation(aggregation: object) -> None:
    """Raises QueryError for a way to put vectors of a query together that is not known here."""
    if aggregation not in (None, "mean"):
        raise QueryError(f"aggregation is {aggregation!r}; allowed is 'mean'")
