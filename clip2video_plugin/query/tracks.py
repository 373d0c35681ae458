"""``Tracks``: the thumbnails of videos over time, and how one video lies in another."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.schema import FINGERPRINT, TAGS, THUMBNAILS, VIDEO
from clip2video_plugin.paths import as_path
from clip2video_plugin.video.thumbnails import NUMBERS, SIDE

# Fitted on generated videos of other seeds than those that benchmarks/duplicates.py reports; BLANK, MOVING and NOISE
# in grey levels, the root mean square over the pixels of a thumbnail, its mean taken out.
SAME = 0.75  # cosine from which two videos are taken for copies; above it, NOISE tells more than the cosine
BLANK = 0.7  # a frame with less in it is blank: such frames make unrelated videos equal
MOVING = 1.0  # what changes more than this over the frames must be the same in both,
MOTION = 0.4  # with this cosine, or they are two events in one place
NOISE, CHANGE = 3.0, 0.7  # how much copies differ: as encoders do, and by a share of what changes from frame to frame
LEAST = 3  # frames of both that are not blank, for a video to be known by them
SEED = 0.8  # cosine of two frames from which one may lie on the other
TRIED, OFFSETS = 24, 24  # frames whose places are looked for, and places that are tried, at most
BLOCK = 100_000  # frames that are read at once


@dataclass(frozen=True)
class Fit:
    """How a shorter video lies in a longer one: from ``start`` to ``end`` seconds of it, with which cosine.

    ``retimed`` says that it is all of it at another speed.
    """

    cosine: float
    start: float
    end: float
    retimed: bool = False


@dataclass(frozen=True)
class Track:
    """Frames [n, 64] of a video, the mean of each taken out and blank ones zero, at ``times`` [n] ascending."""

    frames: NDArray[np.float32]
    times: NDArray[np.float64]
    duration: float

    @cached_property
    def norms(self) -> NDArray[np.float32]:
        return np.asarray(np.linalg.norm(self.frames, axis=1), np.float32)

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float32]:
        """Frames [..., 64] at any times, the two nearest blended."""
        if len(self.times) == 1:
            return np.broadcast_to(self.frames[0], (*times.shape, NUMBERS))
        right = np.clip(np.searchsorted(self.times, times), 1, len(self.times) - 1)
        left = right - 1
        along = np.clip((times - self.times[left]) / (self.times[right] - self.times[left]), 0, 1)
        share = along.astype(np.float32)[..., None]
        return np.asarray(self.frames[left] * (1 - share) + self.frames[right] * share)

    def mirrored(self) -> Track:
        return Track(flipped(self.frames), self.times, self.duration)


def flipped(frames: NDArray[Any]) -> NDArray[Any]:
    """Thumbnails [n, 64], left and right exchanged."""
    return frames.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(-1, NUMBERS)


def centred(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails [n, 64] without their means; blank ones are zero."""
    frames = grey.astype(np.float32)
    frames -= frames.mean(axis=1, keepdims=True)
    frames[np.linalg.norm(frames, axis=1) < BLANK * SIDE] = 0
    return frames


@dataclass(frozen=True)
class Tracks:
    """The tracks of N videos in one piece: those of video i are rows ``first[i]`` to ``first[i + 1]``.

    ``grey`` uint8 [F, 64] at ``times`` [F]; the rest as lists of N. ``without`` are the ids of the videos that have no
    thumbnails.
    """

    grey: NDArray[np.uint8]
    times: NDArray[np.float64]
    first: NDArray[np.int64]
    ids: list[str]
    paths: list[str]
    durations: list[float]
    sizes: list[int | None]
    fingerprints: list[str | None]
    tags: list[list[str]]
    without: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """The video of each row of ``grey``."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @cached_property
    def shown(self) -> NDArray[np.int64]:
        """How many frames of each video are not blank [N]."""
        blocks = [self.grey[start : start + BLOCK] for start in range(0, len(self.grey), BLOCK)]
        seen = [centred(block).any(axis=1) for block in blocks]
        return np.bincount(self.owners[np.concatenate(seen)], minlength=len(self)) if seen else np.zeros(0, np.int64)

    def __getitem__(self, number: int) -> Track:
        rows = slice(self.first[number], self.first[number + 1])
        return Track(centred(self.grey[rows]), self.times[rows], self.durations[number])

    @classmethod
    def of(cls, index: VideoIndex, ids: Collection[str] | None = None) -> Tracks:
        """Those of all videos of an index, or of some; with its windows, which show more of a long video."""
        rows = index.columns(["id", "path", "duration", "size", FINGERPRINT.name, TAGS.name, THUMBNAILS.name], ids)
        known = pc.and_(pc.is_valid(rows["duration"]), _there(rows[THUMBNAILS.name]))
        without = rows.filter(pc.invert(known))["id"].to_pylist()
        rows = rows.filter(known)
        names, durations = rows["id"].to_pylist(), rows["duration"].to_numpy()
        uniform = index.provenance.policy in ("uniform", "keyframes")  # of the latter nearly
        grey, lengths = _grey(rows[THUMBNAILS.name])
        times = _times(lengths, np.zeros(len(rows)), durations, uniform)
        owners = np.repeat(np.arange(len(rows)), lengths)
        if (windows := index.windows()) is not None:
            grey, times, owners = _with_windows(windows, names, grey, times, owners)
        return cls(
            grey=grey,
            times=times,
            first=np.searchsorted(owners, np.arange(len(rows) + 1)),
            ids=names,
            paths=[as_path(path) for path in rows["path"].to_pylist()],
            durations=durations.tolist(),
            sizes=rows["size"].to_pylist(),
            fingerprints=rows[FINGERPRINT.name].to_pylist(),
            tags=[tags or [] for tags in rows[TAGS.name].to_pylist()],
            without=without,
        )


def _there(column: pa.ChunkedArray) -> Any:
    return pc.greater(pc.fill_null(pc.binary_length(column), 0), 0)


def _grey(column: pa.ChunkedArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Thumbnails of all rows [F, 64], and how many each row has."""
    parts, lengths = [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
    for chunk in column.chunks:  # by chunk, as one array of them ends at 2 GB
        if len(chunk):
            _, offsets, data = chunk.buffers()
            at = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
            parts.append(np.frombuffer(data, np.uint8)[at[0] : at[-1]])
            lengths.append(np.diff(at) // NUMBERS)
    return np.concatenate(parts).reshape(-1, NUMBERS), np.concatenate(lengths)


def _times(
    lengths: NDArray[np.int64], starts: NDArray[np.float64], ends: NDArray[np.float64], uniform: bool
) -> NDArray[np.float64]:
    """When the frames of each row are on show: in the middles of equal parts, or from its start to its end."""
    count = np.repeat(lengths, lengths)
    number = np.arange(len(count)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    share = (number + 0.5) / count if uniform else number / np.maximum(count - 1, 1)
    return np.asarray(np.repeat(starts, lengths) + share * np.repeat(ends - starts, lengths))


def _with_windows(
    windows: VideoIndex,
    names: list[str],
    grey: NDArray[np.uint8],
    times: NDArray[np.float64],
    owners: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Frames of videos and of their windows, in order of video and time, one for each tenth of a second."""
    rows = windows.columns([VIDEO.name, "start", "end", THUMBNAILS.name])
    place = pc.index_in(rows[VIDEO.name], value_set=pa.array(names, pa.string()))
    kept = pc.and_(pc.is_valid(place), _there(rows[THUMBNAILS.name]))
    rows, place = rows.filter(kept), place.filter(kept)
    more, lengths = _grey(rows[THUMBNAILS.name])
    grey = np.concatenate([grey, more])
    times = np.concatenate([times, _times(lengths, rows["start"].to_numpy(), rows["end"].to_numpy(), uniform=True)])
    owners = np.concatenate([owners, np.repeat(place.to_numpy(), lengths)])
    order = np.lexsort((times, owners))
    tenth = np.round(10 * times[order])
    new = np.r_[True, (np.diff(owners[order]) != 0) | (np.diff(tenth) != 0)][: len(order)]
    order = order[new]
    return grey[order], times[order], owners[order]


def fit(clip: Track, whole: Track) -> Fit | None:
    """The best place of a video in one that is as long or longer; None where they share too little to tell.

    Frames of the one that has more of them are blended to the times of the other's. Where both move, what moves must
    be the same, too: two events in front of one camera are no copies.
    """
    best = None
    for offset in _offsets(clip, whole):
        inside = np.flatnonzero((whole.times >= offset - 1e-6) & (whole.times <= offset + clip.duration + 1e-6))
        if len(inside) < len(clip.times):
            a, b = clip.at(whole.times[inside] - offset), whole.frames[inside]
        else:
            a, b = clip.frames, whole.at(clip.times + offset)
        cosine = _cosine(a, b)
        if cosine is not None and (best is None or cosine > best.cosine):
            best = Fit(cosine, offset, min(offset + clip.duration, whole.duration))
    if len(clip.times) == len(whole.times):
        cosine = _cosine(clip.frames, whole.frames)
        if cosine is not None and (best is None or cosine > best.cosine):
            best = Fit(cosine, 0.0, whole.duration, retimed=whole.duration - clip.duration > near(whole.duration))
    return best


def near(duration: float) -> float:
    """Seconds by which the length of a copy may differ, as other containers round it."""
    return max(0.25, 0.03 * duration)


def _offsets(clip: Track, whole: Track) -> list[float]:
    """Where the clip may begin: at either end, and where two frames are alike."""
    room, step = max(whole.duration - clip.duration, 0.0), clip.duration / len(clip.times) / 4
    some = np.linspace(0, len(clip.times) - 1, min(len(clip.times), TRIED)).astype(int)
    products = clip.frames[some] @ whole.frames.T
    products /= np.maximum(clip.norms[some, None] * whole.norms, 1e-6)
    at = whole.times - clip.times[some, None]
    alike = (products > SEED) & (at > -2 * step) & (at < room + 2 * step)
    at = np.round(np.clip(at, 0, room) / step) * step
    if alike.sum() > 8 * OFFSETS:
        alike &= products >= np.partition(products[alike], -8 * OFFSETS)[-8 * OFFSETS]
    places, votes = np.unique(at[alike], return_counts=True)
    return [0.0, room, *places[np.argsort(-votes, kind="stable")[:OFFSETS]].tolist()]


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """Of two sequences of frames [n, 64]; None where too few of both show anything.

    0 where they move otherwise, or differ by more than copies do: strong contrasts have large cosines by chance.
    """
    seen = (np.einsum("ij,ij->i", a, a) > 0) & (np.einsum("ij,ij->i", b, b) > 0)
    if seen.sum() < LEAST:
        return None
    moved, other = a - a.mean(axis=0), b - b.mean(axis=0)
    energy, others = float(np.linalg.norm(moved)), float(np.linalg.norm(other))
    if min(energy, others) > MOVING * np.sqrt(a.size) and float((moved * other).sum()) < MOTION * energy * others:
        return 0.0
    first, second = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = float((a * b).sum()) / (first * second)
    rest = np.sqrt(max(1 - cosine * cosine, 0.0)) * min(first, second)  # when contrasts are made equal
    step = min(float(np.linalg.norm(np.diff(a, axis=0))), float(np.linalg.norm(np.diff(b, axis=0))))
    return 0.0 if rest > NOISE * np.sqrt(a.size) + CHANGE * step else cosine
