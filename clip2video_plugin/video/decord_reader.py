"""Decoding with decord, only where it is proved exact.

decord gives wrong frames without an error for edit lists, dropped first key frames, MPEG-TS and
some AVI files. So its frame count and timestamps are held against the packets', and any doubt
sends the file to the PyAV reader instead.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from PIL import Image

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.video.container import open_video
from clip2video_plugin.video.presentation import Decoded, Picker
from clip2video_plugin.video.pyav_reader import scan


def decode(path: Path, pick: Picker, convert: Callable[[Image.Image], Any]) -> Decoded | None:
    """As the PyAV reader's ``decode``; None for files where decord is not proved exact.

    Proved is 8-bit 4:2:0 H.264 in the mp4 and Matroska families, one stream of it, without hidden packets,
    open groups of pictures or a display matrix.
    """
    plan, codec, family = scan(path)
    if plan is None or codec != "h264" or not family.startswith(("mov", "matroska")):
        return None
    if not plan.plain or _has_matrix(path):
        return None
    check_installation()
    import decord

    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    except (decord.DECORDError, RuntimeError, UnicodeEncodeError):  # the last: it takes names in UTF-8 only
        return None
    try:
        picks = pick(plan)
        wanted = list(dict.fromkeys(picks))
        if len(reader) != len(plan.times) or not wanted:
            return None
        stamps = reader.get_frame_timestamp(wanted)[:, 0]
        shift = reader.get_frame_timestamp([0])[0, 0]
        if np.abs(stamps - shift - np.asarray([plan.times[i] for i in wanted])).max() > 1e-3:
            return None
        batch = reader.get_batch(wanted).asnumpy()  # [n, height, width, 3]
    except (decord.DECORDError, RuntimeError):
        return None
    finally:
        del reader  # else it goes on decoding in the background
    pictures = {i: convert(Image.fromarray(frame)) for i, frame in zip(wanted, batch, strict=True)}
    return Decoded(pictures, picks, plan, round(batch.shape[2] * plan.aspect), batch.shape[1])


def _has_matrix(path: Path) -> bool:
    with open_video(path) as (container, stream):
        try:
            return any("DISPLAYMATRIX" in frame.side_data for frame in islice(container.decode(stream), 1))
        except av.error.FFmpegError:  # damaged: not for decord either
            return True


def check_installation() -> None:
    """Raises Clip2VideoError when the unmaintained decord is installed beside decord2: both own ``import decord``."""
    if conflict := conflicting_decord():
        raise Clip2VideoError(conflict)


def conflicting_decord() -> str | None:
    """One line that names an old decord beside decord2, or None."""
    try:
        old = importlib.metadata.version("decord")
        new = importlib.metadata.version("decord2")
    except importlib.metadata.PackageNotFoundError:
        return None
    return (
        f"decord {old} is installed beside decord2 {new} and shadows it; "
        "run: pip uninstall -y decord decord2 && pip install decord2"
    )
