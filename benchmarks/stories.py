"""Videos of several scenes one after another, whose moments are known: for moments, order, windows and negatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query import Windows
from clip2video_plugin.shapes import Scene, caption, render, scenes, write_video
from clip2video_plugin.shapes.scene import Thing, actions_of, pairs_of, scene_of
from clip2video_plugin.video.windows import WindowSize, window_picks, window_spans

RATE = 6.0  # frames a second: a grid on which windows of 2, 3, 4, 6 and 8 seconds have 12 picks each
RARE = 10  # things that only the planted scenes of a film show


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

    def parts(self, size: int, rate: float = RATE) -> Iterator[tuple[NDArray[np.uint8], list[float]]]:
        """Frames [n, size, size, 3] and their times of each scene."""
        for scene, (start, end) in zip(self.scenes, self.spans, strict=True):
            times = [n / rate for n in range(round(start * rate), round(end * rate))]
            yield render(scene, [(time - start) / (end - start) for time in times], size), times

    def frames(self, size: int, rate: float = RATE) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Frames [n, size, size, 3] and their times [n]."""
        parts, times = zip(*self.parts(size, rate), strict=True)
        return np.concatenate(parts), np.concatenate(times)

    def write(self, path: Path, size: int = 96, rate: int = int(RATE)) -> None:
        """The same as an H.264 file, of which memory holds a scene."""
        write_video(path, chain.from_iterable(frames for frames, _ in self.parts(size, rate)), rate)

    def windows(self, model: Model, sizes: Sequence[WindowSize]) -> Windows:
        """Its windows, without a file in between."""
        frames, times = self.frames(model.config.image_size)
        spans = window_spans(self.duration, sizes)
        picks = window_picks(times, spans, model.config.max_frames)
        vectors = model.embed_picks(model.image_features(frames), picks).vector.numpy()
        return Windows(np.array(spans), vectors)


# Sets. Each scene has a place and a background of its own, and each caption fits one scene of its story alone.


def set_a(count: int, seed: int) -> list[Story]:
    """Stories of three 4 s scenes of different things."""
    random = Random(f"stories a:{seed}")
    return [Story(tuple(different_things(3, random)), (4.0,) * 3) for _ in range(count)]


def set_b(count: int, seed: int) -> list[Story]:
    """Stories of three 4 s scenes of the same thing, which does something else in each."""
    random = Random(f"stories b:{seed}")
    return [Story(tuple(same_thing(3, random)), (4.0,) * 3) for _ in range(count)]


def set_c(count: int, seed: int) -> list[Story]:
    """Stories of five scenes of different things, of 2 to 6 s each in steps of half a second."""
    random = Random(f"stories c:{seed}")
    return [
        Story(tuple(different_things(5, random)), tuple(random.randint(4, 12) / 2 for _ in range(5)))
        for _ in range(count)
    ]


def twice(count: int, seed: int) -> list[Story]:
    """Stories of five 4 s scenes of different things, of which the second happens again, elsewhere, as the fourth."""
    random = Random(f"stories twice:{seed}")
    out = list[Story]()
    for _ in range(count):
        a, b, c, d = different_things(4, random)
        out.append(Story((a, b, c, b.redrawn(random), d), (4.0,) * 5))
    return out


def film(seconds: float, planted: int, seed: int) -> tuple[Story, list[int]]:
    """A story of hours, of scenes of 4 to 16 s of every kind, and the places of the planted ones.

    These take 10 s each, and show things that no other scene does.
    """
    random = Random(f"stories film:{seed}")
    pairs = random.sample(_pairs(), len(_pairs()))
    rare = set(pairs[:RARE])
    every = [(thing, action) for thing in pairs[:RARE] for action in actions_of(thing)]
    events = [(_alone(*one, random), 10.0) for one in random.sample(every, planted)]
    others = (scene for scene in scenes(seed) if rare.isdisjoint(scene.things))
    while sum(length for _, length in events) < seconds:
        events.append((next(others), random.randint(8, 32) / 2))
    order = random.sample(range(len(events)), len(events))
    told, lengths = zip(*(events[n] for n in order), strict=True)
    return Story(told, lengths), [place for place, n in enumerate(order) if n < planted]


def different_things(count: int, random: Random) -> list[Scene]:
    """Scenes of one thing each, of which no two show the same, that does one thing."""
    return [_alone(thing, random.choice(actions_of(thing)), random) for thing in random.sample(_pairs(), count)]


def same_thing(count: int, random: Random) -> list[Scene]:
    """Scenes of one thing that does something else in each."""
    thing = random.choice(_pairs())
    return [_alone(thing, action, random) for action in random.sample(actions_of(thing), count)]


def _pairs() -> list[Thing]:
    return pairs_of(held_out=False)


def _alone(thing: Thing, action: str, random: Random) -> Scene:
    return scene_of((thing,), (((0, action),),), random)
