"""Exact decoding with PyAV: find the wanted frames from the packets, decode no more than they need.

A first pass reads packets without decoding and lists the presentation times. From these the
sampling policy picks; then each run of packets from a key frame to the last pick that needs it is decoded,
and the decoder drops frames that nobody wants and nothing refers to. Should a pick not appear, the packets
did not tell the truth (hidden frames, damage, missing times) and every frame is decoded instead.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import av
import av.container
import av.error
import av.video.stream
import numpy as np
from PIL import Image

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import Place, Uri
from clip2video_plugin.video.container import open_video
from clip2video_plugin.video.hollow import VideoFile, opened
from clip2video_plugin.video.packets import Reading, read_packets, shortfall
from clip2video_plugin.video.presentation import Decoded, Picker, Presentation
from clip2video_plugin.video.transform import turned

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


def decode(path: Place, pick: Picker, convert: Callable[[Image.Image], Any]) -> Decoded:
    """Decodes the frames that ``pick`` chooses and converts each, upright, to what ``convert`` makes of it.

    Raises:
        VideoReadError: nothing can be decoded.
    """
    if isinstance(path, Uri) and (spared := _decode_spared(path, pick, convert)):
        return spared
    kept = list[Any]()
    with open_video(path) as (container, stream):
        plan = _scan(container, stream, kept)
        wanted = pick(plan) if plan else []
        found = _decode(stream, iter(kept), plan, wanted, convert) if plan and kept else None
    if plan and wanted and not kept:
        with open_video(path) as (container, stream):
            found = _decode(stream, read_packets(container, stream, Reading()), plan, wanted, convert)
    if found and wanted and len(found.pictures) == len(set(wanted)):
        return found
    return _decode_all(path, pick, convert)


def _decode_spared(uri: Uri, pick: Picker, convert: Callable[[Image.Image], Any]) -> Decoded | None:
    """Fetches of a video in a store what its picks need; None where the whole must be fetched for them."""
    with opened(uri) as source, opened(uri) as tables:
        if source.boxes is None:
            return None
        with open_video(uri, source=source) as (container, stream):
            with open_video(uri, source=tables, parse=False) as packets:
                tables.hollow = True
                plan = _scan(container, stream, told_by=packets)
            if plan is None or plan.joined or not (wanted := pick(plan)):
                return None
            fetch_runs(source, plan, wanted)
            found = _decode(stream, read_packets(container, stream, Reading()), plan, wanted, convert)
    return found if len(found.pictures) == len(set(wanted)) else None


def fetch_runs(source: VideoFile, plan: Presentation, wanted: list[int]) -> None:
    """Fetches the packets to decode for the wanted frames; all other payload reads as zeros from then on."""
    runs = runs_of(plan, wanted)
    source.fetched.fetch((plan.spans[2 * n], plan.spans[2 * n + 1]) for start, end in runs for n in range(start, end))
    source.hollow = True


def scan(path: Place) -> tuple[Presentation | None, str, str]:
    """The presentation as the packets tell it (None where they do not), codec name and container format."""
    with open_video(path) as (container, stream):
        return _scan(container, stream), stream.codec.canonical_name, container.format.name


def _scan(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    kept: list[Any] | None = None,
    told_by: tuple[av.container.InputContainer, av.video.stream.VideoStream] | None = None,
) -> Presentation | None:
    """None where times are missing or repeated, or the container is damaged.

    ``kept`` receives the packets, all of them or, of a video with more than KEPT_BYTES, none. ``told_by`` is the same
    video opened once more, whose packets are read instead, and their places noted.
    """
    seekable, plain = stream.codec.canonical_name in SEEKABLE, True
    shown: list[tuple[int, int, int]] = []  # (pts, packet, start packet)
    keys: list[tuple[int, int]] = []  # (packet number, pts) of the key frames so far
    alone = set[int]()  # numbers of packets that decode alone
    last_length, seen, room, spans = 0, Reading(), KEPT_BYTES, array("q")
    for number, packet in enumerate(read_packets(*(told_by or (container, stream)), seen)):
        if told_by:
            if packet.pos is None or packet.pos < 0:
                return None
            spans.extend((packet.pos, packet.pos + packet.size))
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
            if packet.is_keyframe and seekable:
                alone.add(number)
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
    if not shown or seen.error:
        return None
    shown.sort()
    stamps, packets, starts = (list(column) for column in zip(*shown, strict=True))
    if len(set(stamps)) != len(stamps):
        return None
    timeline = timeline_of(stamps, last_length, container, stream, seen)
    timeline.keys = [i for i, number in enumerate(packets) if number in alone]
    timeline.packets, timeline.starts, timeline.joined, timeline.spans = packets, starts, seen.joined, spans
    timeline.plain = (
        plain
        and stamps[0] == keys[0][1]
        and stream.codec_context.pix_fmt == "yuv420p"
        and len(container.streams.video) == 1
        and not seen.joined
    )
    return timeline


def _decode(
    stream: av.video.stream.VideoStream,
    packets: Iterator[Any],
    plan: Presentation,
    wanted: list[int],
    convert: Callable[[Image.Image], Any],
) -> Decoded:
    """Decodes the wanted frames by the plan; what does not appear is missing from the result."""
    out = Decoded({}, wanted, plan)
    for _ in decoding(stream, packets, out, convert, 0):
        pass
    return out


def decoding(
    stream: av.video.stream.VideoStream,
    packets: Iterator[Any],
    out: Decoded,
    convert: Callable[[Image.Image], Any],
    done: int,
) -> Iterator[int]:
    """Decodes the picks of ``out`` and gives the index of each when its picture is there.

    ``packets`` begin with that of number ``done``.
    """
    plan, context, index = out.presentation, stream.codec_context, {out.presentation.pts[i]: i for i in out.picks}
    droppable, dropping = stream.codec.canonical_name in DROPPABLE, False
    for start, end in runs_of(plan, out.picks):
        run, done, at_start = islice(packets, start - done, end - done), end, True
        try:
            # The None at the end flushes the decoder: it then gives the frames that it still holds.
            for packet in chain(run, [None]):
                if at_start and plan.spans and start and packet is not None and not packet.is_keyframe:
                    return  # the tables said that it is one
                at_start = False
                if droppable and dropping != (packet is not None and packet.pts not in index):
                    dropping = not dropping
                    context.skip_frame = "NONREF" if dropping else "DEFAULT"
                for frame in context.decode(packet):
                    if frame.pts in index:
                        i = index.pop(frame.pts)
                        keep(out, i, frame, convert)
                        yield i
        except av.error.FFmpegError:
            break
        context.flush_buffers()


def runs_of(plan: Presentation, wanted: list[int]) -> list[tuple[int, int]]:
    """Packets [start, end) to decode for the wanted frames, ascending and apart."""
    runs = list[tuple[int, int]]()
    for start, end in sorted((plan.starts[i], plan.packets[i] + 1) for i in wanted):
        if runs and start < runs[-1][1]:
            runs[-1] = runs[-1][0], max(end, runs[-1][1])
        else:
            runs.append((start, end))
    return runs


def _present_all(path: Place) -> Presentation:
    """The presentation as a full decode shows it."""
    stamps, keys, problems, length, seen = list[int](), list[int](), list[str](), 0, Reading()
    with open_video(path, threads=0) as (container, stream):
        seekable = stream.codec.canonical_name in SEEKABLE
        for frame in every_frame(container, stream, seen, problems):
            if frame.key_frame and seekable:
                keys.append(len(stamps))
            stamps.append(_stamp(frame, len(stamps), stream))
            length = frame.duration or length
        if seen.error:
            problems.insert(0, seen.error)
        if not stamps:
            raise VideoReadError(path, problems[0] if problems else "none of its frames can be decoded")
        plan = timeline_of(stamps, length, container, stream, seen)
    plan.keys = keys
    plan.problems += problems
    return plan


def shown_in_full(path: Place) -> tuple[Presentation, list[int]]:
    """The presentation as a full decode shows it, and the number, in the order of decoding, of each frame."""
    plan = _present_all(path)
    order = sorted(range(len(plan.times)), key=lambda i: plan.times[i])
    plan.pts, plan.times = [plan.pts[i] for i in order], [plan.times[i] for i in order]
    marked = set(plan.keys)
    plan.keys = [i for i, number in enumerate(order) if number in marked]
    return plan, order


def _decode_all(path: Place, pick: Picker, convert: Callable[[Image.Image], Any]) -> Decoded:
    """Decodes every frame twice: first for the times, then for the picks."""
    plan, order = shown_in_full(path)
    picks = pick(plan)
    wanted = {order[i]: i for i in picks}
    out = Decoded({}, picks, plan)
    with open_video(path, threads=0) as (container, stream):
        for number, frame in enumerate(every_frame(container, stream, Reading(), [])):
            if number in wanted:
                keep(out, wanted[number], frame, convert)
                if len(out.pictures) == len(wanted):
                    break
    return out


def timeline_of(
    pts: list[int],
    last_length: int,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    seen: Reading,
) -> Presentation:
    base = float(stream.time_base or 1)
    first = min(pts)
    times = [(p - first) * base for p in pts]
    if not last_length and len(pts) > 1:
        last_length = round((max(pts) - first) / (len(pts) - 1))
    duration = max(times) + last_length * base
    missing = shortfall(container, stream, seen, first * base, duration)
    aspect = float(stream.sample_aspect_ratio or 1)
    return Presentation(pts, times, duration, aspect, problems=[missing] if missing else [])


def every_frame(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, seen: Reading, problems: list[str]
) -> Iterator[Any]:
    """Every frame that can be decoded, in order; damaged packets are skipped and noted."""
    damaged = 0
    for packet in chain(read_packets(container, stream, seen), [None]):
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


def keep(out: Decoded, index: int, frame: Any, convert: Callable[[Image.Image], Any]) -> None:
    # One thread: with many videos at once, swscale's own would only wait for each other.
    pixels: Any = out.colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
    out.width, out.height = max(round(frame.width * out.presentation.aspect), 1), frame.height
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        pixels, sideways = turned(pixels, np.frombuffer(matrix, np.int32).reshape(3, 3))
        if sideways:
            out.width, out.height = out.height, out.width
    out.pictures[index] = convert(Image.fromarray(pixels))
