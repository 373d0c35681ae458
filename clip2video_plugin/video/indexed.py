"""Key frames of an MP4 or QuickTime file by its index: of a long video no packet is read that they do not need.

The index has the decoding time of every frame, and which are key frames. Encoders decode a frame when another one,
some places before it, is shown (without B-frames itself), or all of them earlier by one delay. So much is taken for
granted, and held against the first packets, all from the last key frame on, and every key frame that is looked at: one
that is shown at no such time proves it wrong. Then, and where a pick is no key frame, all packets are read
(``pyav_reader``). Of a video in a store the bytes of the picked key frames are fetched, and those of its tables.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import av.container
import av.video.stream
import numpy as np
from av.stream import Discard
from PIL import Image

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import Place, Uri
from clip2video_plugin.video.container import open_video
from clip2video_plugin.video.hollow import opened
from clip2video_plugin.video.packets import Reading, packets_with_data
from clip2video_plugin.video.presentation import Decoded, Picker, Presentation
from clip2video_plugin.video.pyav_reader import SEEKABLE, keep, timeline_of

LEADING = 32  # packets behind the first among which one that is shown before it would be
LONGEST = 1000  # packets behind the last key frame, which are all read
KEY, DISCARDED = 1, 2  # flags of FFmpeg's index

Convert = Callable[[Image.Image], Any]
Opened = tuple[av.container.InputContainer, av.video.stream.VideoStream]


class Untold(Exception):  # caught in ``decode``
    """The index does not say when frames are shown."""


def decode(path: Place, pick: Picker, convert: Convert) -> Decoded | None:
    """As the PyAV reader's ``decode``; None where the index does not tell, or not all picks are key frames."""
    try:
        if isinstance(path, Uri):
            return _decode_spared(path, pick, convert)
        with open_video(path) as video:
            plan, keys = presented(video, video)
            out = _picked(plan, keys, pick)
            return _decode(video, out, {i: keys.packets[i] for i in out.picks}, convert)
    except (Untold, VideoReadError):  # of a file that cannot be read at all, reading its packets says why
        return None


def _decode_spared(uri: Uri, pick: Picker, convert: Convert) -> Decoded:
    """Of a video in a store: where its packets are is looked up in one view of it, in which they read as zeros."""
    with opened(uri) as source, opened(uri) as tables:
        if source.boxes is None:
            raise Untold
        with open_video(uri, source=source) as video, open_video(uri, source=tables, parse=False) as told:
            tables.hollow = True
            plan, keys = presented(video, told)
            out = _picked(plan, keys, pick)
            packets = {i: keys.packets[i] for i in sorted(set(out.picks))}
            if any(packet.pos is None or packet.pos < 0 for packet in packets.values()):
                raise Untold
            source.fetched.fetch((packet.pos, packet.pos + packet.size) for packet in packets.values())
            source.hollow = True
            return _decode(video, out, {i: keys.read(i, video) for i in packets}, convert)


def _picked(plan: Presentation, keys: Keys, pick: Picker) -> Decoded:
    out = Decoded({}, pick(plan), plan)
    if not keys.packets.keys() >= set(out.picks):
        raise Untold
    return out


def _decode(video: Opened, out: Decoded, packets: dict[int, Any], convert: Convert) -> Decoded:
    """Decodes packets of key frames, by index, each for itself."""
    _, stream = video
    for i in sorted(packets):
        # None flushes the decoder: it then gives the frames that it still holds.
        for frame in chain.from_iterable(map(stream.codec_context.decode, (packets[i], None))):
            if frame.pts == out.presentation.pts[i] and frame.key_frame:
                keep(out, i, frame, convert)
        stream.codec_context.flush_buffers()
    if out.pictures.keys() != packets.keys():
        raise Untold
    return out


def presented(video: Opened, told_by: Opened) -> tuple[Presentation, Keys]:
    """When frames are shown, as the index tells. ``told_by`` is the same video, whose packets are looked at.

    Raises:
        Untold: it does not.
    """
    (container, stream), (_, told) = video, told_by
    if not container.format.name.startswith("mov") or stream.codec.canonical_name not in SEEKABLE:
        raise Untold
    entries = [(entry.timestamp, entry.size, entry.flags) for entry in told.index_entries]
    if not entries or len(entries) != stream.frames:  # of a file in fragments only some are known
        raise Untold
    decoding, sizes, flags = np.array(entries, np.int64).T
    if (sizes <= 0).any() or (flags & DISCARDED).any() or (np.diff(decoding) <= 0).any():
        raise Untold
    for one in dict.fromkeys((video, told_by)):
        for other in one[0].streams:
            if other.index != stream.index:
                other.discard = Discard.all
    keys = Keys(told_by, decoding.tolist(), np.flatnonzero(flags & KEY).tolist())
    plan = timeline_of(keys.pts, keys.last_length, container, stream, Reading())
    plan.keys = keys
    return plan, keys


class Keys(Sequence[int]):
    """Indices of the key frames, ascending: each is found when it is asked for, by looking at its packet.

    Attributes:
        packets: those that were looked at, by index.
        pts: [n], the times of all frames as the index tells them. last_length: of the last packet.
    """

    def __init__(self, video: Opened, decoding: list[int], numbers: list[int]) -> None:
        if numbers[:1] != [0] or len(decoding) - numbers[-1] > LONGEST:
            raise Untold
        self._video = video
        self._decoding, self._numbers = (
            decoding,
            numbers,
        )  # of all packets their times; of the key frames which they are
        head = list(islice(_read(video), LEADING))
        times = [packet.pts for packet in head]
        if None in times or head[0].dts != decoding[0] or times[0] != min(times):
            raise Untold
        delay = times[0] - decoding[0]
        tail = [_sought(video, decoding[-1] + delay), *_read(video)]
        ends = [packet.pts for packet in tail]
        if None in ends or tail[-1].dts != decoding[-1] or tail[-1].is_corrupt:
            raise Untold
        ends.sort()
        places = bisect_left(decoding, times[0])
        by_places = decoding[places:] + ends[len(ends) - places :]
        by_delay = [time + delay for time in decoding]
        told = [pts for pts in (by_places, by_delay) if pts[0] == times[0] and pts[-len(ends) :] == ends]
        if not told or len(told[0]) != len(decoding):
            raise Untold
        self.pts, self.last_length = told[0], tail[-1].duration or 0
        self.packets = dict[int, Any]()
        self._delay, self._found, self._until = delay, dict[int, int](), dict[int, int]()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: Any) -> Any:
        if key not in self._found:
            self._found[key] = self._find(key)
        return self._found[key]

    def _find(self, key: int) -> int:
        number, after = self._numbers[key], self._numbers[key + 1 : key + 2]
        until = self._decoding[after[0]] - 1 if after else self._decoding[-1]
        packet = _sought(self._video, until + self._delay)
        if packet.dts != self._decoding[number] or not packet.is_keyframe or packet.pts is None:
            raise Untold
        place = bisect_left(self.pts, packet.pts, number)
        if place == len(self.pts) or self.pts[place] != packet.pts:
            raise Untold
        self.packets[place], self._until[place] = packet, until + self._delay
        return place

    def read(self, place: int, video: Opened) -> Any:
        """The packet of a key frame that was looked at, in another view of the video."""
        packet = _sought(video, self._until[place])
        if packet.dts != self.packets[place].dts or not packet.is_keyframe:
            raise Untold
        return packet


def _sought(video: Opened, until: int) -> Any:
    """The packet of the last key frame whose decoding time, delayed as that of the first, is no later."""
    container, stream = video
    container.seek(until, stream=stream)
    packet = next(_read(video), None)
    if packet is None:
        raise Untold
    return packet


def _read(video: Opened) -> Iterator[Any]:
    container, stream = video
    return packets_with_data(container, stream)
