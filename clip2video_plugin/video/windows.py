"""Windows of a video, and which frames of one grid each of them is made of: arithmetic of times only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.video.sampling import uniform_indices

LEAST, CLOSE = 0.1, 1e-6  # seconds: of a stride, and what counts as equal
MOST_RATE = 1000.0  # frames a second of a grid, as of ``read_frames``
SHORTEST = 0.5  # seconds of a window; a shorter one has but a few frames at usual rates


@dataclass(frozen=True)
class WindowSize:
    """Windows of so many seconds, one every ``stride`` seconds."""

    seconds: float
    stride: float

    def __str__(self) -> str:
        return f"{self.seconds:g}/{self.stride:g}"


def parse_windows(text: str) -> tuple[WindowSize, ...]:
    """``5/2.5,10/5``: windows of 5 s every 2.5 s, and of 10 s every 5 s.

    Raises:
        Clip2VideoError: it is not written so, a window is too short, or a stride is longer than its window.
    """
    sizes = list[WindowSize]()
    for part in text.split(","):
        try:
            seconds, stride = (float(number) for number in part.split("/"))
        except ValueError:
            seconds = stride = math.nan
        if not (LEAST <= stride <= seconds < math.inf):
            raise Clip2VideoError(
                f"windows are {text!r}; write seconds/stride, as 5/2.5,10/5, with strides of {LEAST} s or more "
                "that are no longer than their windows, or auto, or none"
            )
        if seconds < SHORTEST:
            raise Clip2VideoError(
                f"windows are {text!r}; one of {seconds:g} s has but a few frames: make them {SHORTEST} s or more"
            )
        sizes.append(WindowSize(seconds, stride))
    return tuple(dict.fromkeys(sizes))


AUTO, NONE = "auto", "none"
# Of videos of at most so many seconds, windows of these sizes. The longer a video, the fewer to a minute.
BY_LENGTH = ((60.0, "2/0.5,4/1,8/2"), (600.0, "3/1.5,6/3,12/6"), (math.inf, "5/2.5,10/2.5,15/5"))


@dataclass(frozen=True)
class WindowPlan:
    """Which windows videos get: those of ``text``, as ``parse_windows`` reads it; of "auto", by a video's length."""

    text: str

    @classmethod
    def of(cls, windows: str | Sequence[WindowSize] | None) -> WindowPlan | None:
        """What a user asks for; None for "none".

        Raises:
            Clip2VideoError: it is neither sizes nor "auto" nor "none".
        """
        text = windows if isinstance(windows, str | None) else ",".join(map(str, windows))
        if text is None or text.strip().lower() == NONE:
            return None
        if text.strip().lower() == AUTO:
            return cls(AUTO)
        return cls(",".join(map(str, parse_windows(text))))

    def sizes(self, duration: float) -> tuple[WindowSize, ...]:
        """Of the windows of a video of so many seconds."""
        text = self.text
        if text == AUTO:
            text = next(sizes for longest, sizes in BY_LENGTH if duration <= longest + CLOSE)
        return parse_windows(text)

    def spans(self, duration: float) -> list[tuple[float, float]]:
        """``window_spans``."""
        return window_spans(duration, self.sizes(duration))

    def rate(self, duration: float, count: int) -> float:
        """Frames a second of the grid on which the shortest windows have ``count`` frames, and longer ones more.

        0 for a video that is one window as a whole.
        """
        shortest = min(size.seconds for size in self.sizes(duration))
        return 0.0 if shortest >= duration - CLOSE else min(count / shortest, MOST_RATE)


def window_spans(duration: float, sizes: Sequence[WindowSize]) -> list[tuple[float, float]]:
    """(start, end) of the windows of a video of so many seconds, by size and start, no two alike.

    The last of a size ends where the video does; one as long as the video or longer is the whole of it.
    """
    spans = dict[tuple[float, float], None]()
    for size in sizes:
        if size.seconds >= duration - CLOSE:
            spans[0.0, duration] = None
            continue
        count = math.floor((duration - size.seconds + CLOSE) / size.stride) + 1
        for n in range(count):
            spans[n * size.stride, n * size.stride + size.seconds] = None
        if (count - 1) * size.stride + size.seconds < duration - CLOSE:
            spans[duration - size.seconds, duration] = None
    return list(spans)


def window_picks(times: NDArray[np.float64], spans: Sequence[tuple[float, float]], count: int) -> NDArray[np.int64]:
    """Rows [W, count] of the frames at ``times`` (ascending) that each span is made of, -1 where there are no more.

    Of the frames in [start, end) those that the policy ``uniform`` takes; of none, the one that is on show then.
    """
    picks = np.full((len(spans), count), -1, np.int64)
    for row, (start, end) in enumerate(spans):
        low, high = np.searchsorted(times, [start - CLOSE, end - CLOSE])
        if low == high:
            low, high = max(low - 1, 0), max(low, 1)
        chosen = [low + i for i in uniform_indices(int(high - low), count)]
        picks[row, : len(chosen)] = chosen
    return picks
