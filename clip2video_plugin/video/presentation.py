"""What a player would show of a video, which frames of it are wanted, and their pictures."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from av.video.reformatter import VideoReformatter


@dataclass
class Presentation:
    """The frames that a player would show. ``pts`` and ``times`` (seconds from the first) ascend together."""

    pts: list[int]
    times: list[float]
    duration: float
    aspect: float = 1.0  # width of a pixel by its height
    keys: Sequence[int] = ()  # indices of the key frames, which decode alone; of image folders none
    rate: float | None = None  # of frames that `ffmpeg -r` wrote: how many a second, whatever their ``times``
    packets: list[int] = field(default_factory=list)  # of each frame: number of its packet
    starts: list[int] = field(default_factory=list)  # of each frame: number of the packet to decode from
    spans: array[int] = field(default_factory=lambda: array("q"))  # of each packet, if it may be fetched: start, end
    joined: bool = False  # of several recordings, so that the times of packets are not those of the file
    plain: bool = True  # one 8-bit 4:2:0 stream, begun by a key frame; no hidden packet, no open GOP, no new start
    problems: list[str] = field(default_factory=list)


Picker = Callable[[Presentation], list[int]]  # indices of frames, in the order shown; one may come more than once


@dataclass
class Decoded:
    """Pictures by frame index, the indices that were asked for, and what was learned on the way.

    ``width`` and ``height`` are those that a player shows: upright, of square pixels.
    """

    pictures: dict[int, Any]
    picks: list[int]
    presentation: Presentation
    width: int = 0
    height: int = 0
    colours: VideoReformatter = field(default_factory=VideoReformatter)  # one for all frames: it is dear to set up
