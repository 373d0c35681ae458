"""Videos of several scenes one after another, whose moments are known: for moments, order, windows and negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query import Windows
from clip2video_plugin.shapes import Scene, caption, render, write_video
from clip2video_plugin.video.windows import WindowSize, window_picks, window_spans

RATE = 6.0  # frames a second: a grid on which windows of 2, 3, 4, 6 and 8 seconds have 12 picks each


@dataclass(frozen=True)
class Story:
    """Scenes, and how many seconds each of them takes."""

    scenes: tuple[Scene, ...]
    seconds: tuple[float, ...]

    @property
    def duration(self) -> float:
        return sum(self.seconds)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """(start, end) of each scene."""
        ends = np.cumsum(self.seconds).tolist()
        return list(zip([0.0, *ends[:-1]], ends, strict=True))

    @property
    def captions(self) -> list[str]:
        """The plainest sentence of each scene."""
        return [caption(scene) for scene in self.scenes]

    def frames(self, size: int, rate: float = RATE) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Frames [n, size, size, 3] and their times [n]."""
        parts, times = list[NDArray[np.uint8]](), list[float]()
        for scene, (start, end) in zip(self.scenes, self.spans, strict=True):
            mine = [n / rate for n in range(round(start * rate), round(end * rate))]
            parts.append(render(scene, [(time - start) / (end - start) for time in mine], size))
            times += mine
        return np.concatenate(parts), np.array(times)

    def write(self, path: Path, size: int = 96, rate: int = int(RATE)) -> None:
        """The same as an H.264 file."""
        write_video(path, self.frames(size, rate)[0], rate)

    def windows(self, model: Model, sizes: Sequence[WindowSize]) -> Windows:
        """Its windows, without a file in between."""
        frames, times = self.frames(model.config.image_size)
        spans = window_spans(self.duration, sizes)
        picks = window_picks(times, spans, model.config.max_frames)
        vectors = model.embed_picks(model.image_features(frames), picks).vector.numpy()
        return Windows(np.array(spans), vectors)
