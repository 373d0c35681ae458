"""A fingerprint of a video's content, by which a file that was moved is recognised without being read whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video.image_folder import images_in

ENDS = 64 * 1024  # bytes read at the head, and at the tail


def fingerprint(path: Path) -> str | None:
    """32 hexadecimal digits of a file's length, head and tail; None where it cannot be read.

    Of a folder of frames: of the names and lengths of all images, the head of the first and the tail of the last.
    """
    digest = hashlib.sha256()
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
