"""Videos as queries: rows of the index, files, and parts of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin import stores
from clip2video_plugin.errors import QueryError, VideoGoneError
from clip2video_plugin.index import Hit, Keep
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.places import Place, Uri, absolute, place_of
from clip2video_plugin.query.gallery import Gallery
from clip2video_plugin.query.vectors import Vectors
from clip2video_plugin.video.sampling import SAMPLINGS

if TYPE_CHECKING:
    from clip2video_plugin.query.query import Query

_SPAN = re.compile(
    r"(?P<what>.+)@(?P<start>[0-9]+\.?[0-9]*(?:e-?[0-9]+)?)-(?P<end>[0-9]+\.?[0-9]*(?:e-?[0-9]+)?)", re.S
)
CLOSE = 0.06  # seconds: the rounding of a time that is shown to a tenth


@dataclass(frozen=True)
class Examples:
    """The mean vector [D] of what a query is like, and whose hits it would be: ids of rows, and paths."""

    vector: NDArray[np.float32]
    ids: frozenset[str]
    paths: frozenset[str]

    def keep(self, others: Keep | None) -> Keep:
        """Keeps what is none of these, and of that what ``others`` keep."""

        def keep(hits: list[Hit]) -> list[Hit]:
            left = [hit for hit in hits if hit.id not in self.ids and hit.path not in self.paths]
            return left if others is None else others(left)

        return keep

    def beside(self, gallery: Gallery, vectors: Vectors) -> tuple[Gallery, Vectors]:
        """A gallery without these, and vectors that score the mean of what was wanted and being like these."""
        mean = np.float32(0.5) * (vectors.wanted + self.vector)
        wanted = mean.astype(np.float32) if len(vectors.wanted) else self.vector[None]
        return replace(gallery, keep=self.keep(gallery.keep)), replace(vectors, wanted=wanted)


def examples_of(query: Query, gallery: Gallery, model: Model) -> Examples:
    """What a query is like.

    Raises:
        QueryError: one is neither in the index nor a file.
        VideoReadError: a file cannot be read.
    """
    vectors, ids, paths = list[NDArray[np.float32]](), set[str](), set[str]()
    for text in query.like:
        vector, rows, path = _one(str(text), gallery, model)
        vectors.append(vector)
        ids |= set(rows)
        paths |= {path} if path else set()
    vector = np.mean(vectors, axis=0, dtype=np.float32)
    return Examples(_at_weight(vector, query.weight, model), frozenset(ids), frozenset(paths))


def _one(text: str, gallery: Gallery, model: Model) -> tuple[NDArray[np.float32], list[str], str | None]:
    """Its vector [D], the ids of its rows, and its path where it is a file."""
    span = _SPAN.fullmatch(text)
    names = [(text, None), *([(span["what"], (float(span["start"]), float(span["end"])))] if span else [])]
    for name, times in names:
        place = absolute(name)
        path = str(place)
        rows = gallery.videos.named([name, path])
        there = os.path.lexists(path) if isinstance(place, Path) else not rows and _in_store(place)
        if not rows and not there:
            continue
        if times is not None and not times[0] < times[1]:
            raise QueryError(f"like is {text!r}; its end must be later than its start, as in FILE@12-17")
        if times is not None:
            return _span(rows, place if there else None, times, gallery, model), rows, path if there else None
        if rows and not (there and _changed(place, gallery, rows)):
            return gallery.videos.vectors(rows[:1])[rows[0]], rows, path if there else None
        return _encoded(place, None, gallery, model), rows, path
    raise QueryError(f"like is {text!r}, which is no file and not in the index; name a file, an id, or FILE@12-17")


def _in_store(uri: Uri) -> bool:
    """Whether a store has an object; asked only for one that is not in the index."""
    try:
        stores.stamp(uri)
    except VideoGoneError:
        return False
    return True


def _changed(place: Place, gallery: Gallery, rows: list[str]) -> bool:
    """Whether a file is another than the one that was embedded."""
    from clip2video_plugin.video.files import file_stamp

    return file_stamp(place) not in gallery.videos.stamps(rows).values()


def _span(
    rows: list[str], place: Place | None, times: tuple[float, float], gallery: Gallery, model: Model
) -> NDArray[np.float32]:
    """A part of a video: one of its windows where that is it, else decoded."""
    for windows in gallery.windows_of(rows[:1]).values():
        near = np.abs(windows.spans - np.array(times)).max(axis=1)
        if len(near) and near.min() <= CLOSE:
            vector: NDArray[np.float32] = windows.vectors[int(near.argmin())]
            return vector
    if place is None:
        place = place_of(gallery.videos.entries(rows[:1])[rows[0]].path)
    return _encoded(place, times, gallery, model)


def _encoded(place: Place, times: tuple[float, float] | None, gallery: Gallery, model: Model) -> NDArray[np.float32]:
    from clip2video_plugin.video.example import read_example

    policy, fps = SAMPLINGS[gallery.videos.provenance.policy]
    start, end = times or (None, None)
    how, count = model.config.preprocessing, model.config.max_frames
    frames = read_example(place, how, start=start, end=end, policy=policy, fps=fps, count=count)
    vector: NDArray[np.float32] = _whole(model).encode_frames([frames]).vector[0].numpy()
    return vector


def _whole(model: Model) -> Model:
    """A model that was loaded for sentences alone, with what sees."""
    if model.network.image is not None:
        return model
    return _load(str(model.folder or model.name), str(model.device), model.sha256)


@lru_cache(maxsize=1)
def _load(name: str, device: str, sha256: str) -> Model:
    whole = load_model(name, device=device)
    if whole.sha256 != sha256:
        raise QueryError(f"model {name} was replaced by another meanwhile; search again")
    return whole


def _at_weight(vector: NDArray[np.float32], weight: float | None, model: Model) -> NDArray[np.float32]:
    """With the global half counting w and the aligned one 1 - w, as sentences have it; both alike by default."""
    if weight is None or len(vector) == model.config.embed_dim:
        return vector
    halves = np.repeat(np.array([2 * weight, 2 * (1 - weight)], np.float32), len(vector) // 2)
    return vector * halves
