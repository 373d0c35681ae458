"""Published weights: OpenAI's CLIP, which can be fetched, and the paper's, which are named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clip2video_plugin.download import Progress, download
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.installed import models_folder


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
    progress: Progress | None = None,
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
    target = models_folder() / "downloads" / known.file
    return download(url or known.url, sha256 or known.sha256, target, progress=progress, error=CheckpointError)
