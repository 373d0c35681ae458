"""The packets of a video stream on one timeline, and what they tell of a file that was cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av.container
import av.error
import av.video.stream

# In these formats parts of several recordings are joined by plain concatenation, and a counter may wrap.
JOINABLE = {"mpegts", "mpeg"}
JUMP = 10.0  # seconds ahead that are no pause but another recording, as FFmpeg takes them
RESTART = 0.5  # seconds that a key frame of any other format lies behind what came before it


@dataclass
class Reading:
    """What reading every packet of a file showed.

    Attributes:
        error: why reading stopped early.
        joined: timestamps started anew on the way.
        torn: the last packet is incomplete.
        others_end: seconds, by the file's clock, at which the last packet of another stream ends.
    """

    error: str | None = None
    joined: bool = False
    torn: bool = False
    others_end: float = 0.0


def packets_with_data(container: av.container.InputContainer, *streams: av.video.stream.VideoStream) -> Iterator[Any]:
    """Packets from where the file stands, of some streams or of all."""
    try:
        yield from (packet for packet in container.demux(*streams) if packet.size)
    except IndexError:  # PyAV asks at the end for streams that began on the way
        return


def read_packets(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, seen: Reading
) -> Iterator[Any]:
    """Packets of ``stream`` with data. Where timestamps start anew, the rest is moved behind what came before."""
    base = float(stream.time_base or 1)
    joinable = container.format.name in JOINABLE
    ahead, back = round(JUMP / base), round(RESTART / base)
    others = dict[int, Any]()
    before: int | None = None  # decoding time of the packet before, as the file says
    last, step, shift = -(2**63), 1, 0  # last: the latest time shown so far
    source = packets_with_data(container)
    while True:
        try:
            packet = next(source)
        except StopIteration:
            break
        except av.error.FFmpegError as error:
            seen.error = f"reading stopped early: {error.strerror}"
            break
        seen.torn = packet.is_corrupt
        if packet.stream_index != stream.index:
            others[packet.stream_index] = packet
            continue
        dts, pts = packet.dts, packet.pts
        shown = dts if pts is None else pts
        if shown is not None:
            if joinable and before is not None and dts is not None:
                anew = not before <= dts <= before + ahead
            else:
                anew = packet.is_keyframe and shown + shift < last - back
            if anew:
                shift, seen.joined = last + step - shown, True
            elif before is not None and dts is not None:
                step = packet.duration or dts - before or step
            before = dts
            if shift:
                packet.dts, packet.pts = (None if time is None else time + shift for time in (dts, pts))
            last = max(last, shown + shift)
        yield packet
    for other in others.values():
        if other.pts is not None and other.time_base:
            seen.others_end = max(seen.others_end, float((other.pts + (other.duration or 0)) * other.time_base))


def shortfall(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    seen: Reading,
    first: float,
    duration: float,
) -> str | None:
    """What of the video is not there although the file promises it, in words.

    ``first`` is the time of its first frame by the file's clock, ``duration`` what it lasts, in seconds.
    """
    has = max(duration, first + duration)  # files count from either
    if seen.joined:  # what the file says is then not of all its parts
        promised = 0.0
    elif container.format.name == "avi" and stream.frames and stream.average_rate:
        promised = float(stream.frames / stream.average_rate)  # the duration is corrected to the file's size
    elif stream.duration and stream.time_base:
        promised = float(stream.duration * stream.time_base)
    elif tagged := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", "")):  # of Matroska
        hours, minutes, seconds = map(float, tagged.groups())
        promised = hours * 3600 + minutes * 60 + seconds
    else:  # the file's: another stream may be the longest
        promised = (container.duration or 0) / 1_000_000
        has = max(has, seen.others_end)
    if promised - has > max(0.5, 0.05 * promised):
        return f"it ends after {has:.1f} of {promised:.1f} seconds"
    return "it was cut off: its last packet is incomplete" if seen.torn else None
