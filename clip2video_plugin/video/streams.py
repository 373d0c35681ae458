"""Pictures of a long video one after another: each is given as soon as it is decoded, and none is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av.error
from PIL import Image

from clip2video_plugin.places import Place, Uri
from clip2video_plugin.video import image_folder
from clip2video_plugin.video.container import open_video
from clip2video_plugin.video.hollow import opened
from clip2video_plugin.video.packets import Reading, packets_with_data, read_packets
from clip2video_plugin.video.presentation import Decoded, Presentation
from clip2video_plugin.video.pyav_reader import decoding, every_frame, fetch_runs, keep, runs_of

Convert = Callable[[Image.Image], Any]


def by_plan(path: Place, plan: Presentation, wanted: list[int], convert: Convert) -> Iterator[tuple[int, Any]]:
    """The wanted frames, ascending, as the packets tell them: (index, converted picture), without those not found.

    Reading begins at the key frame of the first.
    """
    first = runs_of(plan, wanted)[0][0]
    with _opened_at(path, plan, first, wanted) as (stream, packets):
        out = Decoded({}, wanted, plan)
        for i in decoding(stream, packets, out, convert, first):
            yield i, out.pictures.pop(i)


@contextmanager
def _opened_at(path: Place, plan: Presentation, first: int, wanted: list[int]) -> Iterator[tuple[Any, Iterator[Any]]]:
    """A video's stream and its packets from the number ``first`` on, with the bytes that the wanted frames need."""
    at = None
    if first and not plan.joined:
        at = next((pts for number, pts in zip(plan.packets, plan.pts, strict=True) if number == first), None)
    if at is not None:
        with _opened(path, plan, wanted) as (container, stream):
            packets = _sought(container, stream, at)
            if packets is not None:
                yield stream, packets
                return
    with _opened(path, plan, wanted) as (container, stream):
        yield stream, islice(read_packets(container, stream, Reading()), first, None)


@contextmanager
def _opened(path: Place, plan: Presentation, wanted: list[int]) -> Iterator[tuple[Any, Any]]:
    """A video's container and stream, with the bytes that the wanted frames need."""
    source = opened(path) if isinstance(path, Uri) else None
    with open_video(path, source=source) as both:
        if source and plan.spans:
            fetch_runs(source, plan, wanted)
        yield both


def _sought(container: Any, stream: Any, pts: int) -> Iterator[Any] | None:
    """Packets from the one shown at ``pts``; None where seeking does not find it."""
    try:
        container.seek(pts, stream=stream)
        packets = packets_with_data(container, stream)
        for packet in packets:
            if packet.pts == pts:
                return chain([packet], packets)
            if packet.dts is not None and packet.dts > pts:
                break
    except av.error.FFmpegError:
        pass
    return None


def by_decoding(
    path: Place, shown: Presentation, order: list[int], wanted: list[int], convert: Convert
) -> Iterator[tuple[int, Any]]:
    """The same of a video whose packets do not tell: every frame is decoded.

    ``order`` [n] has the number, in the order of decoding, of each frame of ``shown``.
    """
    numbers, out = {order[i]: i for i in wanted}, Decoded({}, wanted, shown)
    with open_video(path, threads=0) as (container, stream):
        for number, frame in enumerate(every_frame(container, stream, Reading(), [])):
            if (i := numbers.pop(number, None)) is not None:
                keep(out, i, frame, convert)
                yield i, out.pictures.pop(i)
                if not numbers:
                    return


def of_images(images: list[Path], wanted: list[int], convert: Convert) -> Iterator[tuple[int, Any]]:
    """The same of a folder of frame images, all of which can be read."""
    for i in wanted:
        yield i, convert(image_folder.read_image(images[i]))
