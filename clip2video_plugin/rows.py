"""Rows of an index, and which of them are a file's: the same file, or one that was moved."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from clip2video_plugin import listing
from clip2video_plugin.captions import Told, captions_of
from clip2video_plugin.encode import Item, Stamp, Unreadable
from clip2video_plugin.index import Entry, VideoIndex, gone
from clip2video_plugin.index.schema import ADDED, FINGERPRINT, TAGS, THUMBNAILS
from clip2video_plugin.paths import printable, stored
from clip2video_plugin.places import Uri, place_of
from clip2video_plugin.places import video_id as video_id
from clip2video_plugin.video.files import NO_STAMP
from clip2video_plugin.video.fingerprint import fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LASTING = (ADDED.name, TAGS.name, THUMBNAILS.name)  # of a row, when its video is found elsewhere


def with_tags(kept: Iterable[str] | None, more: Iterable[str]) -> list[str]:
    """The tags that a row has, and others behind them, each once."""
    return list(dict.fromkeys([*(kept or ()), *more]))


def unchanged(item: Item, stamp: Stamp, entry: Entry | None) -> bool:
    """Whether a row is of what an item is now; of a server that says neither size nor time nobody knows."""
    return entry is not None and stamp != NO_STAMP and (entry.size, entry.mtime, entry.path) == (*stamp, str(item.path))


def moved_from(
    todo: list[Item], stamps: dict[str, Stamp], index: VideoIndex, taken: set[str]
) -> tuple[dict[str, str], set[str]]:
    """Id of an item -> id of the row of its video, which was indexed under another path where it is no longer.

    And the ids of items that look like such a video, but cannot be read to tell: embedded, it would be there twice.

    Asked by size for all at once, of files also by time of change, which an object does not keep when it is copied;
    then by content, and last whether the other is gone, as that may cost a request. In an index of samples a row
    belongs to its sample, under whatever path.
    """
    known = {stamps[item.id] for item in todo} - {NO_STAMP}
    objects = any(isinstance(item.path, Uri) for item in todo)
    alike = dict[int, list[Entry]]()
    for entry in index.entries_of({size for size, _ in known}) if objects else index.entries_like(known):
        if entry.id not in taken:
            alike.setdefault(entry.size, []).append(entry)
    moved, unread = dict[str, str](), set[str]()
    for item in todo:
        size, mtime = stamps[item.id]
        timeless = isinstance(item.path, Uri)
        own = [entry for entry in alike.get(size, ()) if entry.id == item.id and entry.mtime == mtime]
        others = [
            entry
            for entry in alike.get(size, ())
            if entry.id != item.id and entry.fingerprint and (timeless or entry.mtime == mtime)
        ]
        fits = own + (others if item.sample_id is None else [])
        content = fingerprint(item.path) if fits else None
        if content is None and not timeless and any(_is_gone(entry.path) for entry in fits if entry.id != item.id):
            unread.add(item.id)
            continue
        # of several with the same content, the one of the same name
        fits = sorted(fits, key=lambda entry: os.path.basename(entry.path) != item.path.name)
        for entry in fits:
            if entry.fingerprint in (content, None) and (entry.id == item.id or _is_gone(entry.path)):
                moved[item.id] = entry.id
                alike[size].remove(entry)
                break
    return moved, unread


def _is_gone(path: str) -> bool:
    place = place_of(path)
    return listing.gone(place) if isinstance(place, Uri) else gone(path)


def row_of(
    item: Item,
    stamp: Stamp,
    duration: float | None,
    vector: NDArray[np.float32],
    content: str | None,
    thumbnails: bytes | None = None,
    before: Told | None = None,
) -> dict[str, Any]:
    """The row of an item: its vector [D], the fingerprint of its file's content, and its frames' thumbnails.

    ``before`` are the captions that are known of it (``captions.captions_of``).
    """
    return {
        "id": item.id,
        "sample_id": item.sample_id,
        "path": stored(str(item.path)),
        "start": 0.0,
        "end": duration,
        "duration": duration,
        "vector": vector,
        **captions_of(item, before),
        "size": stamp[0],
        "mtime": stamp[1],
        FINGERPRINT.name: content,
        ADDED.name: time.time(),
        TAGS.name: list(item.tags),
        THUMBNAILS.name: thumbnails,
    }


def failure_of(failure: Unreadable) -> dict[str, Any]:
    item, (size, mtime) = failure.item, failure.stamp
    reason = printable(failure.reason)  # which may name a file
    return {"id": item.id, "path": stored(str(item.path)), "size": size, "mtime": mtime, "reason": reason}
