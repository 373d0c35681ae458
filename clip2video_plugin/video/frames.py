"""``read_frames``: the frames of a video that a model sees."""

from __future__ import annotations

import os
import warnings
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin import stores
from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import Clip2VideoError, VideoReadError
from clip2video_plugin.paths import printable
from clip2video_plugin.pixels import Interpolation, Preprocessing, Resize
from clip2video_plugin.places import Place, Uri, place_of
from clip2video_plugin.video import decord_reader, image_folder, indexed, pyav_reader
from clip2video_plugin.video.presentation import Decoded, Picker, Presentation
from clip2video_plugin.video.sampling import (
    EXTRACTION_RATE,
    REFERENCE_FPS,
    Policy,
    constant_rate,
    rate_indices,
    reference_indices,
    snapped,
    uniform_indices,
)
from clip2video_plugin.video.structure import is_cut_off
from clip2video_plugin.video.thumbnails import thumbnails
from clip2video_plugin.video.transform import resize_and_crop

LONGEST = 864_000.0  # seconds, ten days, of what is taken at a constant rate; damaged times go far beyond
Reader = Literal["auto", "pyav", "decord"]
"""What is to decode a video file."""
Used = Literal["pyav", "decord", "images"]
"""What decoded a video."""


class VideoReadWarning(UserWarning):
    """A video is damaged but partly readable."""


@dataclass(frozen=True)
class Frames:
    """Frames of one video.

    Attributes:
        pixels: uint8 [n, size, size, 3], RGB, valid frames only, in the order of ``timestamps``.
        timestamps: float64 [n], seconds from the first frame that a player shows; ascending, and of a frame
            that the policy ``reference`` repeats, more than once.
        width, height: of the source as a player shows it: turned as its display matrix says, its width stretched
            by its sample aspect ratio. ``pixels`` that are cropped are not stretched, as they are not in the
            paper's pipeline.
        duration: seconds from the first frame to the end of the last.
        reader: "pyav", "decord" or "images": what decoded it.
        warning: what of the video could not be read, or None.
    """

    pixels: NDArray[np.uint8]
    timestamps: NDArray[np.float64]
    width: int
    height: int
    duration: float
    reader: Used
    warning: str | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[3] != 3 or len(self.pixels) != len(self.timestamps):
            raise ValueError(f"pixels {self.pixels.shape} do not fit {len(self.timestamps)} timestamps")

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[1:3]
        span = f", {self.timestamps[0]:.2f} to {self.timestamps[-1]:.2f} s" if len(self) else ""
        source = f"{self.duration:.2f} s at {self.width}x{self.height}, {self.reader}"
        return f"Frames({len(self)} of {width}x{height}{span}, of {source}{f'; {self.warning}' * bool(self.warning)})"

    @cached_property
    def thumbnails(self) -> NDArray[np.uint8]:
        """uint8 [n, 64], as ``thumbnails.thumbnails`` makes them; made when first asked for."""
        return thumbnails(self.pixels)


def read_frames(
    path: str | Path | Uri,
    *,
    policy: Policy = "uniform",
    count: int = 12,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    size: int = 224,
    resize: Resize = "crop",
    interpolation: Interpolation = "bicubic",
    reader: Reader = "auto",
) -> Frames:
    """Reads the frames of a video file, or of a folder of frame images, that a policy picks.

    Args:
        path: of a video file or of a folder of images, or a ``Uri``.
        policy: ``uniform`` gives min(count, decodable frames) distinct frames, the middle of each
            of ``count`` equal parts; ``reference`` the frames of the paper's pipeline
            (docs/explanation/network.md#sampling: extraction at 5 a second, which repeats frames of a slower video,
            thinned to ``fps``, then ``count`` of them); ``fps`` the frame on show at every 1/fps seconds,
            whatever ``count``; ``keyframes`` those of ``uniform``, each moved to the nearest key frame where these are
            dense (``sampling.snapped``), which a long video is read much faster by.
        fps: for ``reference`` 5 divided by a whole number: 2.5 as for MSR-VTT by default, 5 for MSVD and VATEX.
        start: seconds from the first frame; frames with start <= time < end are considered,
            or the one on show at ``start`` when there is none between.
        end: see ``start``.
        size: side of the square output.
        resize: ``crop`` takes the shorter side to ``size`` and the square in the middle; ``squash`` both sides, which
            shows the whole picture (and makes its sample aspect ratio nothing).
        interpolation: of the resize, antialiased: ``bicubic`` or ``bilinear``. Those of a model are
            ``read_frames(path, **model.config.preprocessing.options)``.
        reader: ``auto`` takes the PyAV reader, measured faster than decord for the frames of an index
            (docs/sampling.md#readers); ``decord`` decodes with decord where that is proved exact.

    Raises:
        VideoReadError: the file cannot be read at all, or ends before ``start``; the message names it and the reason.
        Clip2VideoError: an argument is out of range.

    Warns:
        VideoReadWarning: only a part of the video can be read.
    """
    frames = read_quietly(
        path,
        policy=policy,
        count=count,
        fps=fps,
        start=start,
        end=end,
        size=size,
        resize=resize,
        interpolation=interpolation,
        reader=reader,
    )
    if frames.warning:
        warnings.warn(printable(f"{path}: {frames.warning}"), VideoReadWarning, stacklevel=2)
    return frames


def read_quietly(
    path: str | Path | Uri,
    *,
    policy: Policy,
    count: int,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    size: int,
    resize: Resize = "crop",
    interpolation: Interpolation = "bicubic",
    reader: Reader = "auto",
    jitter: np.random.RandomState | None = None,
) -> Frames:
    """As ``read_frames``; what is damaged stands in ``warning`` only (Python's warnings are not thread-safe).

    ``jitter`` varies the picks of ``uniform`` and ``reference``, as for training
    (docs/explanation/network.md#sampling).
    """
    pick = picker(path, policy, count=count, fps=fps, start=start, end=end, jitter=jitter)
    how = Preprocessing(size, resize=resize, interpolation=interpolation)
    by_keys = policy == "keyframes"
    decoded, used = decode(place_of(path), pick, lambda image: resize_and_crop(image, how), reader, by_keys=by_keys)
    indices = sorted(i for i in decoded.picks if i in decoded.pictures)
    if not indices:
        raise VideoReadError(path, "none of its frames can be decoded")
    times = decoded.presentation.times
    return Frames(
        pixels=np.stack([decoded.pictures[i] for i in indices]),
        timestamps=np.asarray([times[i] for i in indices], np.float64),
        width=decoded.width,
        height=decoded.height,
        duration=decoded.presentation.duration,
        reader=used,
        warning="; ".join(decoded.presentation.problems) or None,
    )


def decode(
    path: Place,
    pick: Picker,
    convert: Callable[[Image.Image], Any],
    reader: Reader = "auto",
    *,
    by_keys: bool = False,
) -> tuple[Decoded, Used]:
    """Decodes the picked frames with the reader asked for; returns also which one it was.

    ``by_keys`` says that picks are mostly key frames, which may be found without reading all packets.
    """
    check_choice("reader", reader, Reader)
    if isinstance(path, Path) and os.path.isdir(path):  # also of a path that may not be looked at
        return image_folder.decode(path, pick, convert), "images"
    with stores.held(path):
        decoded: Decoded | None = None
        used: Used = "decord"
        if reader == "decord" and isinstance(path, Path):
            decoded = decord_reader.decode(path, pick, convert)
        if decoded is None:
            used = "pyav"
            decoded = (by_keys and indexed.decode(path, pick, convert)) or pyav_reader.decode(path, pick, convert)
        if not decoded.presentation.problems and is_cut_off(path):
            decoded.presentation.problems.append("it was cut off: the file is shorter than it says")
    return decoded, used


def picker(
    path: str | Path | Uri,
    policy: Policy | Literal["extract"],
    *,
    count: int,
    fps: float | None,
    start: float | None,
    end: float | None,
    jitter: np.random.RandomState | None = None,
) -> Picker:
    """The function from a video's presentation to the frames that the policy takes; ``extract`` is ``ffmpeg -r``."""
    if policy != "extract":
        check_choice("policy", policy, Policy)
    if count < 1:
        raise Clip2VideoError(f"count is {count}; it must be at least 1")
    if policy in ("fps", "extract") and fps is None:
        raise Clip2VideoError(f"policy {policy!r} needs fps, the frames per second to take")
    if fps is not None and not 0 < fps <= 1000:
        raise Clip2VideoError(f"fps is {fps}; it must lie in (0, 1000]")
    if start is not None and not 0 <= start < float("inf"):
        raise Clip2VideoError(f"start is {start}; it must be 0 seconds or more")
    if end is not None and not (start or 0) < end:
        raise Clip2VideoError(f"end is {end}; it must be later than start, {start or 0}")

    step = EXTRACTION_RATE / (fps or REFERENCE_FPS)
    if policy == "reference" and abs(step - max(round(step), 1)) > 0.01:
        raise Clip2VideoError(
            f"fps is {fps:g}; the policy 'reference' takes every, every second, third ... of 5 frames a second: "
            "allowed are 5, 2.5, 1.667, 1.25, 1 and so on; for any other rate take the policy 'fps'"
        )

    def pick(video: Presentation) -> list[int]:
        times, duration = video.times, video.duration
        low = bisect_left(times, start - 1e-9) if start else 0
        high = bisect_left(times, end - 1e-9) if end is not None else len(times)
        if start and start >= duration:
            raise VideoReadError(path, f"start is {start:g}; it ends after {duration:.3f} seconds")
        if low >= high:  # between two frames: the earlier one is on show
            low, high = max(low - 1, 0), max(low, 1)
        span = times[low:high]
        if policy in ("uniform", "keyframes"):
            picks = uniform_indices(len(span), count, jitter)
        elif policy == "fps":
            assert fps is not None
            picks = rate_indices(span, fps)
        else:
            if video.rate:
                due, length = [i / video.rate for i in range(len(span))], len(span) / video.rate
            else:
                until = min(duration, end) if end is not None else duration
                due, length = [time - span[0] for time in span], until - span[0]
            if length > LONGEST:
                raise VideoReadError(
                    path,
                    f"it lasts {length:.0f} seconds by its times, and a constant rate is taken of {LONGEST:.0f} "
                    "at most; take the policy 'uniform'",
                )
            picks = constant_rate(due, fps if policy == "extract" and fps else EXTRACTION_RATE, length)
            if policy == "reference":
                # The reference has no frame at all, and NaN, for a clip of fewer files than a step.
                picks = [picks[i] for i in reference_indices(len(picks), round(step), count, jitter)] or [0]
        picks = [low + i for i in picks]
        if policy == "keyframes":
            picks = snapped(times, picks, video.keys, (low, high), duration if end is None else min(duration, end))
        return picks

    return pick
