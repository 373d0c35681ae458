"""What is trained on: videos with captions, and the frames that are sampled of them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.pixels import Interpolation, Resize
from clip2video_plugin.training.config import TrainConfig
from clip2video_plugin.video.files import file_stamp
from clip2video_plugin.video.frames import read_quietly
from clip2video_plugin.video.sampling import Policy

FRAMES_FIELD = "frames_dir"  # of samples that are folders of frames


class CaptionedVideo(Protocol):
    """A video and the sentences that describe it.

    ``source`` is equal for videos that are parts of one file; ``identity`` names the part, so that a resumed run
    can tell whether it is given the same.
    ``meaning`` is a number that is equal for videos whose captions may be exchanged. ``reverse_captions``
    describe the same frames in reverse order; a video that has some is trained on both ways in time. Videos of
    one ``companions`` number come in the same batch, as rivals that are hard to tell apart.
    """

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def captions(self) -> Sequence[str]: ...
    @property
    def meaning(self) -> int: ...
    @property
    def reverse_captions(self) -> Sequence[str]: ...
    @property
    def reverse_meaning(self) -> int: ...
    @property
    def companions(self) -> int | None: ...

    def stamp(self) -> str:
        """Text that changes when the frames may have."""
        ...

    def frames(
        self,
        count: int,
        size: int,
        random: np.random.RandomState | None,
        *,
        resize: Resize = "crop",
        interpolation: Interpolation = "bicubic",
    ) -> NDArray[np.uint8]:
        """uint8 [n, size, size, 3] with 1 <= n <= count, varied by ``random``; raises VideoReadError.

        ``resize`` and ``interpolation`` are given only where they are others than these.
        """
        ...


@dataclass(frozen=True)
class VideoFile:
    """A video file, or the part of it from ``start`` to ``end`` seconds, with its captions.

    ``sample_id`` is that of the FiftyOne sample or clip that it was read from.
    """

    path: Path
    captions: Sequence[str]
    start: float | None = None
    end: float | None = None
    policy: Policy = "uniform"
    fps: float | None = None
    reverse_captions: Sequence[str] = ()
    reverse_meaning: int = -1
    companions: int | None = None
    sample_id: str | None = None

    @property
    def name(self) -> str:
        return str(self.path) if self.start is None else f"{self.path} from {self.start:g} s"

    @property
    def source(self) -> str:
        try:
            info = self.path.stat()
            if info.st_nlink > 1 and not self.path.is_dir():  # one file by several names
                return f"{info.st_dev}:{info.st_ino}"
        except (OSError, ValueError):
            pass
        return os.path.realpath(self.path)

    @property
    def identity(self) -> str:
        try:
            # Not the time of change, which a copy on another machine does not keep.
            size = 0 if self.path.is_dir() else self.path.stat().st_size
        except (OSError, ValueError):
            size = 0
        return repr((str(self.path), size, self.start, self.end))

    @property
    def meaning(self) -> int:
        return zlib.crc32(f"{self.path}|{self.start}|{self.end}".encode("utf-8", "surrogateescape"))

    def stamp(self) -> str:
        return repr((str(self.path), file_stamp(self.path), self.start, self.end, self.policy, self.fps))

    def frames(
        self,
        count: int,
        size: int,
        random: np.random.RandomState | None,
        *,
        resize: Resize = "crop",
        interpolation: Interpolation = "bicubic",
    ) -> NDArray[np.uint8]:
        return read_quietly(
            self.path,
            policy=self.policy,
            count=count,
            fps=self.fps,
            start=self.start,
            end=self.end,
            size=size,
            resize=resize,
            interpolation=interpolation,
            jitter=random,
        ).pixels


def captioned_videos(
    source: Any, *, captions_field: str = "captions", policy: Policy = "uniform", fps: float | None = None
) -> list[CaptionedVideo]:
    """The videos of a FiftyOne dataset or view with a captions field, or of any sequence of captioned videos.

    A field holds a string or a list of strings. Samples without a caption are left out; of a clips view
    each clip is a video of its own.

    Raises:
        TrainingError: there is no such field, or nothing with a caption.
    """
    if not hasattr(source, "has_field"):
        videos = list(source)
    else:
        if not source.has_field(captions_field):
            raise TrainingError(f"{source.name} has no field {captions_field!r}; name the one that holds captions")
        spans = source.values("support") if source.has_field("support") else [None] * len(source)
        rates = source.values("metadata.frame_rate") if source.has_field("support") else spans
        videos = []
        folders = source.values(FRAMES_FIELD) if source.has_field(FRAMES_FIELD) else [None] * len(source)
        paths = [folder or path for folder, path in zip(folders, source.values("filepath"), strict=True)]
        columns = source.values(["id", captions_field])
        for path, sample, texts, span, rate in zip(paths, *columns, spans, rates, strict=True):
            kept = tuple(t for t in ([texts] if isinstance(texts, str) else texts or ()) if t and t.strip())
            if span and not rate:
                raise TrainingError(
                    f"the frame rate of {path} is unknown, so its clips cannot be cut; compute metadata"
                )
            start, end = ((span[0] - 1) / rate, span[1] / rate) if span else (None, None)
            if kept:
                videos.append(VideoFile(Path(path), kept, start, end, policy, fps, sample_id=sample))
    if not videos:
        raise TrainingError("there is no video with a caption to train on")
    return videos


def name_of(source: Any) -> str | None:
    """The name of the FiftyOne dataset of a view; None of other sequences."""
    if not hasattr(source, "has_field"):
        return None
    return getattr(source, "dataset_name", None) or str(source.name)


def split(
    config: TrainConfig, train_view: Any, val_view: Any, captions_field: str
) -> tuple[list[CaptionedVideo], list[CaptionedVideo]]:
    """The videos to train on and those to validate with, none of them of a file that is trained on.

    Args:
        val_view: None holds out ``config.val_share`` of the training videos.

    Raises:
        TrainingError: the two views share a file, or there is nothing to train on.
    """

    def read(view: Any) -> list[CaptionedVideo]:
        return captioned_videos(view, captions_field=captions_field, policy=config.sampling, fps=config.fps or None)

    videos = read(train_view)
    if val_view is None:
        return hold_out(videos, config.val_share, config.seed)
    held = read(val_view)
    trained_on = {video.source for video in videos}
    if shared := [video for video in held if video.source in trained_on]:
        raise TrainingError(
            f"{len(shared)} of {len(held)} validation videos are of files that are trained on, "
            f"the first is {shared[0].name}; choose views that share no file"
        )
    return videos, held


def hold_out(
    videos: Sequence[CaptionedVideo], share: float, seed: int
) -> tuple[list[CaptionedVideo], list[CaptionedVideo]]:
    """Splits off ``share`` of the videos for validation, at most 1,000: whole files, and at least one.

    Raises:
        TrainingError: they are all of one file.
    """
    files: dict[str, list[int]] = {}
    for at, video in enumerate(videos):
        files.setdefault(video.source, []).append(at)
    if len(files) < 2:
        raise TrainingError(
            "one video file cannot be trained on and validated with; add videos, or name a validation set"
        )
    count = min(max(round(share * len(videos)), 1), 1000, len(videos) - 1)
    groups = list(files.values())
    groups = [groups[i] for i in np.random.default_rng([seed, 1]).permutation(len(groups))]
    held = set[int]()
    for group in groups:
        if len(held) + len(group) <= count:
            held.update(group)
    if not held:
        smallest = min(groups, key=len)
        held.update(smallest)
    return [v for i, v in enumerate(videos) if i not in held], [videos[i] for i in sorted(held)]
