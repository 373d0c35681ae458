"""Whether a resumed run is given the data that it began with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from clip2video_plugin.training.videos import CaptionedVideo


def fingerprint(training: Sequence[CaptionedVideo], validation: Sequence[CaptionedVideo]) -> dict[str, str]:
    """A digest of everything that makes the data: which videos, their captions, and the order of both."""
    found = dict[str, str]()
    for name, videos in (("training", training), ("validation", validation)):
        captioned = [repr((video.identity, tuple(video.captions), tuple(video.reverse_captions))) for video in videos]
        found[f"{name} videos"] = _digest(sorted(video.identity for video in videos))
        found[f"captions of the {name} videos"] = _digest(sorted(captioned))
        found[f"order of the {name} videos"] = _digest(captioned)
    return found


def changed(was: dict[str, str], now: dict[str, str]) -> str:
    """What differs between two fingerprints, in words: of each set the first thing that does; or nothing."""
    different = [what for what in now if was.get(what) != now[what]]
    firsts = [next((d for d in different if name in d), "") for name in ("training", "validation")]
    return " and the ".join(first for first in firsts if first)


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
