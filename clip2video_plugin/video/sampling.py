"""Which frames of a video are taken: index arithmetic only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import Clip2VideoError

EXTRACTION_RATE = 5.0  # frames per second that the paper's sample_frame.py writes
REFERENCE_FPS = 2.5  # what its MSR-VTT evaluation takes of them (feature_framerate 2)
Policy = Literal["uniform", "reference", "fps", "keyframes"]
"""Which frames ``read_frames`` takes."""
Sampling = Literal["uniform", "reference", "reference-5fps", "keyframes"]
"""Which frames the vector of a video is made of; an index has one sampling."""
SAMPLINGS: dict[str, tuple[Policy, float | None]] = {  # policy of ``read_frames``, frames a second
    "uniform": ("uniform", None),
    "reference": ("reference", 2.5),
    "reference-5fps": ("reference", 5.0),
    "keyframes": ("keyframes", None),
}


def uniform_indices(n: int, count: int, rng: np.random.RandomState | None = None) -> list[int]:
    """The middle frame of each of ``count`` equal parts of ``n`` frames; min(count, n) distinct indices.

    With ``rng``, any frame of each part instead of its middle one (training).
    """
    if n <= count:
        return list(range(n))
    if rng is not None:
        edges = [i * n // count for i in range(count + 1)]
        return [int(rng.randint(low, high)) for low, high in pairwise(edges)]
    return [(2 * i + 1) * n // (2 * count) for i in range(count)]


def snapped(
    times: Sequence[float], picks: Sequence[int], keys: Sequence[int], span: tuple[int, int], end: float
) -> list[int]:
    """The picks, each moved to the key frame that is nearest in time where key frames are dense.

    They are where the two around a pick, or one and the video's beginning or end, lie less than half as far apart as
    the pick and the nearer of its neighbours. So a pick moves by less than half of that, and no two come to one frame.

    Args:
        times: seconds of all frames, ascending.
        picks: indices of frames, ascending, each once. keys: of all key frames, ascending.
        span: first and behind the last of the frames that may be picked; ``end``, in seconds, is where they end.
    """
    out, (first, last) = list[int](), (bisect_left(keys, edge) for edge in span)
    for n, pick in enumerate(picks):
        at = bisect_left(keys, pick)
        near = [keys[i] for i in (at - 1, at) if first <= i < last]
        beside = [abs(times[picks[i]] - times[pick]) for i in (n - 1, n + 1) if 0 <= i < len(picks)]
        low = times[near[0] if at > first else span[0]]
        high = times[near[-1]] if at < last else end
        if near and pick not in near and 2 * (high - low) < min(beside, default=end - times[span[0]]):
            pick = min(near, key=lambda key: round(abs(times[key] - times[pick]), 6))  # of two as near, the earlier
        out.append(pick)
    return out


def reference_indices(n: int, r: int, count: int, rng: np.random.RandomState | None = None) -> list[int]:
    """Indices that the released loader picks of ``n`` extracted frames (docs/explanation/network.md#sampling).

    Args:
        n: number of frames extracted at 5 per second.
        r: the loader's ``feature_framerate``; every r-th frame, roughly, is a candidate.
        count: most frames wanted (``max_frames``).
        rng: training jitter of the inner picks when given; not sorted again afterwards.
    """
    if n < 0 or r < 1 or count < 1:
        raise Clip2VideoError(f"n is {n}, r {r}, count {count}; expected n >= 0, r >= 1, count >= 1")
    p = n // r
    candidates = np.linspace(0, n - 1, p).astype(int)
    if p <= count:
        return [int(i) for i in candidates]
    picks = np.linspace(0, p - 1, count).astype(int)
    if rng is not None and count > 2:
        step = int(picks[1] - picks[0]) // 2
        if step > 2:
            picks[1:-1] += rng.randint(-step, step, size=count - 2)
    return [int(i) for i in candidates[picks]]


def rate_indices(times: Sequence[float], fps: float) -> list[int]:
    """For every k/fps within the clip, the frame on show at that time; distinct indices.

    ``times`` are seconds from the first frame, ascending.
    """
    steps, picks, k = int(times[-1] * fps + 1e-6) + 1, list[int](), 0
    while k < steps:
        i = bisect_right(times, times[0] + k / fps + 1e-6) - 1
        if i >= 0 and (not picks or picks[-1] != i):
            picks.append(i)
        if i + 1 == len(times):
            break
        # up to shortly before the next frame nothing else is on show, however long that is
        k = max(k + 1, int((times[i + 1] - times[0]) * fps) - 1)
    return picks


def rate_times(times: Sequence[float], picks: Sequence[int], fps: float) -> NDArray[np.float64]:
    """Of each pick of ``rate_indices``, the first k/fps at which it is on show: it stands for that time."""
    steps = np.ceil((np.array([times[i] for i in picks]) - times[0] - 1e-6) * fps)
    return np.asarray(times[0] + np.maximum(steps, 0) / fps)


NUDGE = 2**-17  # FFmpeg adds it to times, in output frames, to keep clear of midpoints


def constant_rate(times: Sequence[float], fps: float, duration: float) -> list[int]:
    """Frames that ``ffmpeg -r FPS`` writes, in order, repeats included (its constant-rate sync, as of FFmpeg 5.1).

    FFmpeg writes a frame at once while its clock is no more than 1.1 output frames late, so the
    first second holds one frame more than the rate says, and repeats frames of slow sources.
    """
    out, ahead = list[int](), 0  # `ahead`: number of frames written, the clock of the output
    for i, time in enumerate(times):
        gap = (times[i + 1] if i + 1 < len(times) else max(duration, time)) - time
        length = round(gap * fps, 6)
        length = round(length) or length  # in whole output frames where it has any
        start = time * fps + (NUDGE if time > 0 else 0) - ahead
        end = start + length
        if start < 0 < end:
            start = 0.0
        if end < -1.1:
            continue
        repeats, before = 1, 0
        if end > 1.1:
            repeats = round(end)
            if start > 1.1:
                before = round(start - 0.6)
        # the frame before fills the time up to this one
        out += [max(i - 1, 0)] * min(before, repeats) + [i] * (repeats - min(before, repeats))
        ahead += repeats
    return out
