"""The shapes world as training data: scenes drawn and rendered instead of videos read."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.pixels import Interpolation, Preprocessing, Resize
from clip2video_plugin.shapes import Scene, captions, render, scenes
from clip2video_plugin.shapes.videos import SIZE
from clip2video_plugin.training.videos import CaptionedVideo
from clip2video_plugin.video.transform import resize_and_crop


@dataclass(frozen=True)
class SceneVideo:
    """A scene that is trained on both ways in time; with ``paraphrases`` captions each way."""

    scene: Scene
    paraphrases: int = 6
    companions: int | None = None

    @property
    def name(self) -> str:
        return captions(self.scene, 1, 0)[0]

    @property
    def source(self) -> str:
        return repr(self.scene)

    @property
    def identity(self) -> str:
        return repr(self.scene)

    @property
    def captions(self) -> Sequence[str]:
        return captions(self.scene, self.paraphrases, 0)

    @property
    def meaning(self) -> int:
        return _number(self.scene)

    @property
    def reverse_captions(self) -> Sequence[str]:
        return captions(self.scene.reversed(), self.paraphrases, 0)

    @property
    def reverse_meaning(self) -> int:
        return _number(self.scene.reversed())

    def stamp(self) -> str:
        return repr(self.scene)

    def frames(
        self,
        count: int,
        size: int,
        random: np.random.RandomState | None,
        *,
        resize: Resize = "crop",
        interpolation: Interpolation = "bicubic",
    ) -> NDArray[np.uint8]:
        """Frames as a video of the scene would give them, at evenly spaced times that ``random`` shifts together."""
        shift = 0.5 if random is None else random.random_sample()
        how = Preprocessing(size, resize=resize, interpolation=interpolation)
        drawn = render(self.scene, [(i + shift) / count for i in range(count)], SIZE)
        return np.stack([resize_and_crop(frame, how) for frame in drawn])


def scene_videos(count: int, seed: int) -> list[CaptionedVideo]:
    """``count`` scenes of the training pairs; half of those in which two things act in turn bring the other order."""
    source, random = scenes(seed), Random(f"companions:{seed}")
    out = list[CaptionedVideo]()
    while len(out) < count:
        scene, number = next(source), len(out)
        out.append(SceneVideo(scene, companions=number))
        if len(scene.phases) == 2 and len(scene.things) == 2 and random.random() < 0.5:
            out.append(SceneVideo(scene.reordered(), companions=number))
    return out[:count]


def _number(scene: Scene) -> int:
    return zlib.crc32(scene.signature.encode())
