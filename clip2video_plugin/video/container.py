"""Opening video files with PyAV: errors in plain words; only local files and containers of video are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import av.logging
import av.stream
import av.video.stream

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import Place, Uri
from clip2video_plugin.video.hollow import VideoFile, opened

# Containers only. Without the list, FFmpeg would follow playlists (HLS, concat) to other files
# and hosts, and show text files as ANSI art.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,gif,ogg,h264,hevc,obu,ivf,mxf,nut,m4v,dv,rm,yuv4mpegpipe"
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}

# What goes wrong is said by our own errors and warnings; FFmpeg's lines would break a progress bar.
av.logging.set_level(av.logging.PANIC)


def check_readable(path: Path) -> None:
    """Raises VideoReadError for what the file system already rules out."""
    try:
        info = path.stat()
        if stat.S_ISREG(info.st_mode):
            with path.open("rb") as file:
                file.read(1)
    except FileNotFoundError:
        raise VideoReadError(path, "no such file") from None
    except PermissionError:
        raise VideoReadError(path, "permission denied") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise VideoReadError(path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(info.st_mode):
        raise VideoReadError(path, "not a regular file")
    if info.st_size == 0:
        raise VideoReadError(path, "the file is empty")


@contextmanager
def open_video(
    path: Place, threads: int = 1, *, source: VideoFile | None = None, parse: bool = True
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """The container and its video stream: the one flagged as default, else the first; no cover picture.

    ``threads`` decode it, 0 for FFmpeg's choice. Many videos at once are faster with one thread
    each; a damaged video decodes as PyAV does by default only with its choice. ``source`` is the object of a URI where
    it was opened before. Without ``parse`` packets are what the container says of them, whatever their bytes.

    Raises:
        VideoReadError: the file is missing, empty, no video, or damaged beyond opening.
    """
    options = OPTIONS if parse else OPTIONS | {"fflags": "+noparse"}
    if isinstance(path, Uri):
        source = source or opened(path)
        source.seek(0)
        file: Any = source
    else:
        check_readable(path)
        file = "file:" + os.path.abspath(path)
    try:
        container = av.open(file, options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise (source and source.error) or VideoReadError(path, _plain(error)) from None
    with container:
        pictures = container.streams.video
        streams = [s for s in pictures if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            instead = " (only a cover picture)" if pictures else " (audio only)" if container.streams.audio else ""
            raise VideoReadError(path, "it has no video stream" + instead)
        known = [s for s in streams if s.codec_context is not None]
        if not known:
            raise VideoReadError(path, "its video codec is not supported by this build of FFmpeg")
        stream = max(known, key=lambda s: bool(s.disposition & av.stream.Disposition.default))
        if threads == 1:
            stream.thread_type = "NONE"
        stream.codec_context.thread_count = threads
        try:
            yield container, stream
        except (av.error.FFmpegError, MemoryError) as error:
            raise (source and source.error) or VideoReadError(path, _plain(error)) from None
        if source and source.error:  # FFmpeg may have taken it for the end
            raise source.error


def _plain(error: BaseException) -> str:
    if isinstance(error, av.error.ArgumentError):  # a format that is not on the list
        return "not a video"
    if isinstance(error, av.error.InvalidDataError):
        return "not a video, or cut off or damaged where its index should be"
    return str(getattr(error, "strerror", None) or error)
