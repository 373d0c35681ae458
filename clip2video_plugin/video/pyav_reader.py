"""Exact decoding with PyAV: find the wanted frames from the packets, decode no more than they need.

A first pass reads packets without decoding and lists the presentation times. From these the
sampling policy picks; then each run of packets from a key frame to the last pick that needs it is decoded,
and the decoder drops frames that nobody wants and nothing refers to. Should a pick not appear, the packets
did not tell the truth (hidden frames, damage, missing times) and every frame is decoded instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import av.video.stream
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video.container import open_video

# Codecs whose key frames are marked reliably, so that decoding may start at one.
SEEKABLE = {
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "av1",
    "mpeg4",
    "mpeg2video",
    "mpeg1video",
    "mjpeg",
    "msmpeg4v3",
    "wmv2",
    "flv1",
}
# Codecs whose decoder drops unreferenced frames on request without harm to the others.
DROPPABLE = {"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"}
KEPT_BYTES = 32 * 1024**2  # of a video's packets, kept from the first pass; of a larger video they are read again

Picker = Callable[[list[float], float], list[int]]  # (times, duration) -> indices


@dataclass
class Presentation:
    """The frames that a player would show. ``pts`` and ``times`` (seconds from the first) ascend together."""

    pts: list[int]
    times: list[float]
    duration: float
    packets: list[int] = field(default_factory=list)  # of each frame: number of its packet
    starts: list[int] = field(default_factory=list)  # of each frame: number of the packet to decode from
    plain: bool = True  # 8-bit 4:2:0, the first frame shown is a key frame, no hidden packet, no open GOP
    problems: list[str] = field(default_factory=list)


@dataclass
class Decoded:
    """Pictures by frame index, and what was learned on the way."""

    pictures: dict[int, Any]
    presentation: Presentation
    width: int
    height: int
    colours: VideoReformatter = field(default_factory=VideoReformatter)  # one for all frames: it is dear to set up


def decode(path: Path, pick: Picker, convert: Callable[[Image.Image], Any]) -> Decoded:
    """Decodes the frames that ``pick`` chooses and converts each, upright, to what ``convert`` makes of it.

    Raises:
        VideoReadError: nothing can be decoded.
    """
    kept = list[Any]()
    with open_video(path) as (container, stream):
        plan = _scan(container, stream, kept)
        wanted = pick(plan.times, plan.duration) if plan else []
        found = _decode(stream, iter(kept), plan, wanted, convert) if plan and kept else None
    if plan and wanted and not kept:
        with open_video(path) as (container, stream):
            found = _decode(stream, _packets(container, stream, plan.problems), plan, wanted, convert)
    if found and wanted and len(found.pictures) == len(set(wanted)):
        return found
    return _decode_all(path, pick, convert)


def scan(path: Path) -> tuple[Presentation | None, str, str]:
    """The presentation as the packets tell it (None where they do not), codec name and container format."""
    with open_video(path) as (container, stream):
        return _scan(container, stream), stream.codec.canonical_name, container.format.name


def _scan(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, kept: list[Any] | None = None
) -> Presentation | None:
    """None where times are missing or repeated, or the container is damaged.

    ``kept`` receives the packets, all of them or, of a video with more than KEPT_BYTES, none.
    """
    seekable, plain = stream.codec.canonical_name in SEEKABLE, True
    shown: list[tuple[int, int, int]] = []  # (pts, packet, start packet)
    keys: list[tuple[int, int]] = []  # (packet number, pts) of the key frames so far
    last_length, problems, room = 0, list[str](), KEPT_BYTES
    for number, packet in enumerate(_packets(container, stream, problems)):
        if kept is not None:
            kept.append(packet)
            room -= packet.size
            if room < 0:
                kept.clear()
                kept = None
        pts = packet.pts
        if pts is None:
            return None
        if packet.is_keyframe or not keys:
            keys.append((number, pts))
        if packet.is_discard:
            plain = False
            continue
        plain &= pts >= keys[-1][1]
        start = 0
        if seekable:
            # A picture shown before its key frame may refer to the group before.
            start = next((n for n, key in reversed(keys) if key <= pts), 0)
        shown.append((pts, number, start))
        last_length = packet.duration or last_length
    if not shown or problems:
        return None
    shown.sort()
    stamps, packets, starts = (list(column) for column in zip(*shown, strict=True))
    if len(set(stamps)) != len(stamps):
        return None
    timeline = _timeline(stamps, last_length, container, stream)
    timeline.packets, timeline.starts = packets, starts
    timeline.plain = plain and stamps[0] == keys[0][1] and stream.codec_context.pix_fmt == "yuv420p"
    return timeline


def _decode(
    stream: av.video.stream.VideoStream,
    packets: Iterator[Any],
    plan: Presentation,
    wanted: list[int],
    convert: Callable[[Image.Image], Any],
) -> Decoded:
    """Decodes the wanted frames by the plan; what does not appear is missing from the result."""
    context, index = stream.codec_context, {plan.pts[i]: i for i in wanted}
    droppable, dropping = stream.codec.canonical_name in DROPPABLE, False
    out = Decoded({}, plan, 0, 0)
    done = 0
    for start, end in _runs(plan, wanted):
        run, done = islice(packets, start - done, end - done), end
        try:
            # Told by the last that no more will come, the decoder gives what it holds back.
            for packet in chain(run, [None]):
                if droppable and dropping != (packet is not None and packet.pts not in index):
                    dropping = not dropping
                    context.skip_frame = "NONREF" if dropping else "DEFAULT"
                for frame in context.decode(packet):
                    if frame.pts in index and index[frame.pts] not in out.pictures:
                        _keep(out, index[frame.pts], frame, convert)
        except av.error.FFmpegError:
            break
        context.flush_buffers()
    return out


def _runs(plan: Presentation, wanted: list[int]) -> list[tuple[int, int]]:
    """Packets [start, end) to decode for the wanted frames, ascending and apart."""
    runs = list[tuple[int, int]]()
    for start, end in sorted((plan.starts[i], plan.packets[i] + 1) for i in wanted):
        if runs and start < runs[-1][1]:
            runs[-1] = runs[-1][0], max(end, runs[-1][1])
        else:
            runs.append((start, end))
    return runs


def _present_all(path: Path) -> Presentation:
    """The presentation as a full decode shows it."""
    stamps, problems, length = list[int](), list[str](), 0
    with open_video(path, threads=0) as (container, stream):
        for frame in _frames(container, stream, problems):
            stamps.append(_stamp(frame, len(stamps), stream))
            length = frame.duration or length
        if not stamps:
            raise VideoReadError(path, problems[0] if problems else "none of its frames can be decoded")
        plan = _timeline(stamps, length, container, stream)
    plan.problems += problems
    return plan


def _decode_all(path: Path, pick: Picker, convert: Callable[[Image.Image], Any]) -> Decoded:
    """Decodes every frame twice: first for the times, then for the picks."""
    plan = _present_all(path)
    order = sorted(range(len(plan.times)), key=lambda i: plan.times[i])
    times = [plan.times[i] for i in order]
    wanted = {order[i]: i for i in pick(times, plan.duration)}
    out = Decoded({}, plan, 0, 0)
    with open_video(path, threads=0) as (container, stream):
        for number, frame in enumerate(_frames(container, stream, [])):
            if number in wanted:
                _keep(out, wanted[number], frame, convert)
                if len(out.pictures) == len(wanted):
                    break
    plan.pts, plan.times = [plan.pts[i] for i in order], times
    return out


def _timeline(
    pts: list[int],
    last_length: int,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
) -> Presentation:
    base = float(stream.time_base or 1)
    first = min(pts)
    times = [(p - first) * base for p in pts]
    if not last_length and len(pts) > 1:
        last_length = round((max(pts) - first) / (len(pts) - 1))
    duration = max(times) + last_length * base
    problems = []
    promised = stream.duration * base if stream.duration else None
    if promised is None and len(container.streams) == 1 and container.duration:
        promised = container.duration / 1_000_000
    if promised and duration < 0.9 * promised - 0.5:
        problems.append(f"it ends after {duration:.1f} of {promised:.1f} seconds")
    return Presentation(pts, times, duration, problems=problems)


def _packets(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, problems: list[str]
) -> Iterator[Any]:
    """Packets with data; a damaged container ends early and leaves a note in ``problems``."""
    source = container.demux(stream)
    while True:
        try:
            packet = next(source)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            problems.append(f"reading stopped early: {error.strerror}")
            return
        if packet.size:
            yield packet


def _frames(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, problems: list[str]
) -> Iterator[Any]:
    """Every frame that can be decoded, in order; damaged packets are skipped and noted."""
    damaged = 0
    for packet in chain(_packets(container, stream, problems), [None]):
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            damaged += 1
    if damaged:
        problems.append(f"{damaged} damaged packets were skipped")


def _stamp(frame: Any, number: int, stream: av.video.stream.VideoStream) -> int:
    for stamp in (frame.pts, frame.dts):
        if stamp is not None:
            return int(stamp)
    return round(number / ((stream.average_rate or 25) * (stream.time_base or 1)))


def _keep(out: Decoded, index: int, frame: Any, convert: Callable[[Image.Image], Any]) -> None:
    picture = upright(frame, out.colours)
    out.height, out.width = picture.shape[:2]
    out.pictures[index] = convert(Image.fromarray(picture))


def upright(frame: Any, colours: VideoReformatter) -> NDArray[np.uint8]:
    """RGB pixels [height, width, 3] of a decoded frame, turned as its display matrix says."""
    # One thread: with many videos at once, swscale's own would only wait for each other.
    pixels = colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))
