"""A fingerprint of a video's content, by which a file that was moved is recognised without being read whole."""

from __future__ import annotations

import hashlib
import os

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import Place, Uri
from clip2video_plugin.video.image_folder import images_in

ENDS = 64 * 1024  # bytes read at the head, and at the tail


def fingerprint(path: Place) -> str | None:
    """32 hexadecimal digits of a file's length, head and tail; None where it cannot be read.

    Of a folder of frames: of the names and lengths of all images, the head of the first and the tail of the last.
    """
    digest = hashlib.sha256()
    if isinstance(path, Uri):
        return _of_object(path)
    try:
        parts = images_in(path) if path.is_dir() else [path]
        for part in parts:
            name = part.name if path.is_dir() else ""
            digest.update(f"{len(os.fsencode(name))} {part.stat().st_size} ".encode() + os.fsencode(name))
        if parts:
            with parts[0].open("rb") as head, parts[-1].open("rb") as tail:
                digest.update(head.read(ENDS))
                tail.seek(max(0, os.fstat(tail.fileno()).st_size - ENDS))
                digest.update(tail.read(ENDS))
    except (OSError, ValueError, VideoReadError):
        return None
    return digest.hexdigest()[:32]


def fingerprint_read(path: Place) -> str | None:
    """``fingerprint`` of a video that was just read; None of an object whose store gives no parts of it.

    Raises:
        VideoReadError: a file of this machine cannot be read any more, so that it would not be known again when moved.
    """
    found = fingerprint(path)
    if found is None and not isinstance(path, Uri):
        raise VideoReadError(path, "it could be read once, and then no more; embed it again")
    return found


def _of_object(uri: Uri) -> str | None:
    """As of a file with the same content."""
    try:
        size, _ = stores.stamp(uri)
        digest = hashlib.sha256(f"0 {size} ".encode())
        with stores.opened(uri) as file:
            digest.update(file.read(ENDS))
            file.seek(max(0, size - ENDS))
            digest.update(file.read(ENDS))
    except (OSError, VideoReadError):
        return None
    return digest.hexdigest()[:32]
