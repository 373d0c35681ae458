"""Whether a file is as long as its own outermost structure says."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from clip2video_plugin import stores
from clip2video_plugin.places import Place, Uri

MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_cut_off(path: Place) -> bool:
    """True when a Matroska, AVI or MP4 file promises more bytes than there are, or an MPEG-TS ends within a packet."""
    with stores.opened(path) if isinstance(path, Uri) else path.open("rb") as file:
        there = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(205)
        if head.startswith(MATROSKA):
            return _segment_end(file) > there
        if head.startswith(b"RIFF"):
            said = int.from_bytes(head[4:8], "little")
            return there < said + 8 < 2**32  # written at the end: else still all zeros or all ones
        if re.match(rb".{4}(ftyp|styp|moov|mdat|wide|free|skip)", head, re.DOTALL):
            return _boxes_end(file, there) > there
        packet = next((length for length in (188, 204) if head[::length] == b"GG"), there)
        return bool(packet and there % packet)


def _segment_end(file: BinaryIO) -> int:
    """Of a Matroska file: where its only large element ends, 0 when it does not say."""
    file.seek(len(MATROSKA))
    length = _number(file)
    if length is None:
        return 0
    file.seek(length, os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        return 0
    length = _number(file)
    return 0 if length is None else file.tell() + length


def _number(file: BinaryIO) -> int | None:
    """An EBML length: as many bytes as the first has leading zero bits, and one; None for unknown."""
    first = int.from_bytes(file.read(1))
    more = 8 - first.bit_length()
    value = (first & (0x7F >> more)) << 8 * more | int.from_bytes(file.read(more))
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def _boxes_end(file: BinaryIO, there: int) -> int:
    """Of an MP4 file: where its last box ends."""
    at = 0
    while at < there:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # up to the end, or no box
            return there
        at += length
    return at
