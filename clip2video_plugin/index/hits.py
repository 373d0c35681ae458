"""What a search gives: videos found, their moments, and whether their files are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from clip2video_plugin.listing import absent
from clip2video_plugin.places import Uri, place_of

Keep = Callable[[list["Hit"]], list["Hit"]]  # of hits, in order, those that may be shown


@dataclass(frozen=True)
class Span:
    """A moment of a video, in seconds, and its score."""

    start: float
    end: float
    score: float


@dataclass(frozen=True)
class Hit:
    """A video found. ``score`` is the fused cosine, about -1 to 1; times in seconds; ``path`` is what open() takes.

    ``start`` and ``end`` are those of its best window where the index has windows of it, else of all of it.
    ``confidence`` is the probability that it is right, None where the index is not calibrated; ``matched`` says which
    side found it: "vector", "captions" or "both". ``moments`` are the spans that fit, the best first, where asked for.
    ``id`` is that of its row; of a row of windows, ``video`` is that of the video.
    """

    rank: int
    id: str
    path: str
    score: float
    start: float | None
    end: float | None
    duration: float | None
    sample_id: str | None = None
    confidence: float | None = None
    matched: Literal["vector", "captions", "both"] = "vector"
    moments: tuple[Span, ...] = ()
    video: str | None = None

    @property
    def missing(self) -> bool:
        """Whether the file is gone, looked up when asked; an object in a store is not asked for, and False."""
        return gone(self.path)

    @property
    def missing_file(self) -> bool:
        """``missing``."""
        return self.missing


def gone(path: str) -> bool:
    """Whether a file or folder is not there. One that only cannot be reached, or lies elsewhere, is not gone."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "://" not in path
    except (OSError, ValueError):
        return False
    return False


def existing() -> Keep:
    """Keeps the hits whose files and objects are there; looks each up once."""
    known = dict[str, bool]()

    def keep(hits: list[Hit]) -> list[Hit]:
        new = {hit.path: hit for hit in hits if hit.path not in known}
        places = [place for path in new if isinstance(place := place_of(path), Uri)]
        lost = {str(uri) for uri in absent(places).gone} if places else set[str]()
        known.update((path, hit.missing or path in lost) for path, hit in new.items())
        return [hit for hit in hits if not known[hit.path]]

    return keep
