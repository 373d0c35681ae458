"""Downloads that resume and are checked."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from clip2video_plugin.alone import alone_in
from clip2video_plugin.errors import Clip2VideoError

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without an answer

Progress = Callable[[int, int | None], None]  # (bytes there, bytes in all)


def download(
    url: str,
    sha256: str,
    target: Path,
    *,
    progress: Progress | None = None,
    error: type[Clip2VideoError] = Clip2VideoError,
) -> Path:
    """Downloads a file to ``target``, unless it is there and whole.

    An interrupted download goes on where it stopped; ``target`` appears only when its SHA-256 is right.

    Raises:
        error: the server cannot be reached, or gives another file.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(target.parent):  # two processes would write into one part
            if target.is_file() and digest(target) == sha256:
                return target
            _fill(url, part, progress)
            if (found := digest(part)) != sha256:
                part.unlink()
                raise error(f"{url} gave a file with SHA-256 {found}, expected {sha256}; it was deleted")
            os.replace(part, target)
    except (urllib.error.URLError, OSError, ValueError) as failure:
        reason = getattr(failure, "reason", None) or failure
        raise error(f"{url} cannot be downloaded: {reason}; run the same command again to resume") from None
    return target


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(url: str, part: Path, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as failure:
        if failure.code == 416 and have:  # nothing left to send: the part is whole, or its hash will tell
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, total)
    if total is not None and have < total:
        raise OSError(f"the connection ended after {have} of {total} bytes")
