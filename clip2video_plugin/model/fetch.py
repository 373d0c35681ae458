"""Downloads that resume and are checked: OpenAI's CLIP from its published address."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.checkpoint import models_folder

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Download:
    url: str
    sha256: str
    file: str


_CLIP_SHA = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
DOWNLOADS = {
    "clip-vit-b32": Download(
        f"https://openaipublic.azureedge.net/clip/models/{_CLIP_SHA}/ViT-B-32.pt", _CLIP_SHA, "ViT-B-32.pt"
    )
}


@dataclass(frozen=True)
class Released:
    """A checkpoint that the paper's authors published, with its text-to-video R@1 in percent."""

    name: str
    file: str
    recall: float


RELEASED = (
    Released("MSR-VTT 1k-A", "pytorch_model.bin.2", 45.6),
    Released("MSVD", "pytorch_model.bin.2", 47.0),
    Released("VATEX", "pytorch_model.bin.22", 57.3),
)
RELEASED_AT = "https://github.com/CryhanFang/CLIP2Video"


def fetch(
    name: str,
    *,
    url: str | None = None,
    sha256: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Downloads a published weight file to the models folder and returns its path.

    An interrupted download goes on where it stopped. A file that is there and whole is kept.

    Args:
        name: one of ``DOWNLOADS``.
        url, sha256: a mirror, and what the file must hash to, instead of the published ones.
        progress: called with the bytes there and the bytes in all.

    Raises:
        CheckpointError: the name is unknown, the server cannot be reached, or the file is not the published one.
    """
    if name not in DOWNLOADS:
        raise CheckpointError(f"no download {name!r}; there is {', '.join(DOWNLOADS)}")
    known = DOWNLOADS[name]
    url, sha256 = url or known.url, sha256 or known.sha256
    target = models_folder() / "downloads" / known.file
    if target.is_file() and _sha256(target) == sha256:
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part, progress)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(f"{url} cannot be downloaded: {reason}; run the same command again to resume") from None
    if (found := _sha256(part)) != sha256:
        part.unlink()
        raise CheckpointError(f"{url} gave a file with SHA-256 {found}, expected {sha256}; it was deleted")
    os.replace(part, target)
    return target


def _download(url: str, part: Path, progress: Callable[[int, int | None], None] | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing left to send: the part is whole, or its hash will tell
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
