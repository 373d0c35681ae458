"""What of a video in a store must be fetched: of an MP4 its structure and the packets that are decoded.

The tables of MP4 and QuickTime say when every frame is shown, where it lies and which are key frames, so the frames to
read are picked without any picture's bytes. Only the formats of `BOXES` do: in all others (Matroska, WebM, MPEG-TS,
AVI, FLV) what the packets are lies between them, and the whole file is fetched, once.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import Uri
from clip2video_plugin.stores.ranges import Fetched, ObjectFile, Span

BOXES = re.compile(rb".{4}(ftyp|styp|moov|mdat|wide|free|skip|pnot)", re.DOTALL)
WHOLE_BOX = 64 * 1024**2  # bytes of a table that are fetched at once
# Bytes that are fetched where payload ends: of a fragmented file, more tables
LEAST_HEADER, HEADER = 1024, 16 * 1024
TAIL = 1024 * 1024  # bytes behind the payload that are fetched at once: mostly the tables


class VideoFile(ObjectFile):
    """A video in a store as a file. ``hollow``: payload of boxes that was not fetched reads as zeros."""

    def __init__(self, fetched: Fetched) -> None:
        super().__init__(fetched)
        self.hollow = False
        self.boxes = Boxes(fetched) if BOXES.match(fetched.read(0, 8)) else None

    def between(self, start: int, end: int) -> bytes:
        if self.boxes is None:
            return super().between(start, end)
        end = min(end, self.fetched.size)
        for low, high in self.boxes.structure(start, end):
            self.fetched.read(low, high, min(self.boxes.end_of(low) - low, WHOLE_BOX))
            if low == start and not self.hollow:  # payload behind it is read when somebody asks for just that
                return self.fetched.there(start, high)
        return self.fetched.there(start, end) if self.hollow else super().between(start, end)


class Boxes:
    """The outermost boxes of a file, as far as somebody asked for them."""

    def __init__(self, fetched: Fetched) -> None:
        self._fetched = fetched
        self._walked = 0  # where the next box begins
        self._in_parts, self._tables = False, HEADER  # whether tables follow payload, and how long they are
        self._ends = list[int]()
        self._payload_starts, self._payload_ends = list[int](), list[int]()

    def structure(self, start: int, end: int) -> list[Span]:
        """What of a span is no payload."""
        self._walk(end)
        out = list[Span]()
        for i in range(bisect_right(self._payload_ends, start), len(self._payload_ends)):
            low, high = self._payload_starts[i], self._payload_ends[i]
            if low >= end:
                break
            if low > start:
                out.append((start, low))
            start = high
        if start < end:
            out.append((start, end))
        return out

    def end_of(self, at: int) -> int:
        """Where the box around a byte ends."""
        return self._ends[bisect_right(self._ends, at)]

    def _walk(self, to: int) -> None:
        size = self._fetched.size
        while self._walked < to:
            start = self._walked
            behind = self._payload_ends and not self._in_parts and size - start <= TAIL
            head = self._fetched.read(start, start + 16, size - start if behind else self._tables)
            length, begins = int.from_bytes(head[:4]), 8
            if length == 1:
                length, begins = int.from_bytes(head[8:16]), 16
            if length < begins or start + length > size:  # up to the end, or no box
                length = size - start
            self._walked = start + length
            self._ends.append(self._walked)
            if head[4:8] == b"mdat" and length > begins:
                self._payload_starts.append(start + begins)
                self._payload_ends.append(self._walked)
            elif self._payload_ends:  # the next will not be much larger
                self._in_parts = True
                self._tables = max(LEAST_HEADER, min(length + length // 4 + 16, HEADER))


def opened(uri: Uri) -> VideoFile:
    """A video in a store, to be read by FFmpeg.

    Raises:
        VideoReadError: it is not there, is empty, or may not be read.
    """
    fetched = stores.fetched(uri)
    assert fetched is not None
    if not fetched.size:
        raise VideoReadError(uri, "the file is empty")
    return VideoFile(fetched)
