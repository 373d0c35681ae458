"""Rows that go from an index as their files are named, or are gone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clip2video_plugin import listing
from clip2video_plugin.index import upkeep
from clip2video_plugin.index.contents import at_or_below, lost, missing
from clip2video_plugin.places import Uri, place_of

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex


@dataclass(frozen=True)
class Removed:
    """Paths whose rows went: of videos, and of noted failures. ``unknown`` are those asked for that have no row."""

    videos: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pruned:
    """Paths whose rows went, or would go, as their files are gone: of videos, and of noted failures.

    ``kept`` are folders that are gone or empty as a whole, and how many videos were in each: a disk may be away.
    ``unasked`` counts objects that were kept as their store said nothing of them, by the reason.
    """

    videos: list[str]
    failures: list[str]
    kept: dict[str, int]
    unasked: dict[str, int] = field(default_factory=dict)


def remove(index: VideoIndex, paths: Iterable[str | Path]) -> Removed:
    """``VideoIndex.remove``."""
    upkeep.sweep(index.uri)
    videos, failed, unknown = dict[str, str](), dict[str, str](), list[str]()
    for path, where in at_or_below(paths):
        found = {entry.id: entry.path for entry in index.entries_where(where)}
        noted = {row["id"]: row["path"] for row in index.failures(where)}
        unknown += [] if found or noted else [path]
        videos |= found
        failed |= noted
    index.delete(list(videos))
    index.clear_failures(list(failed))
    return Removed(sorted(videos.values()), sorted(failed.values()), unknown)


def prune(index: VideoIndex, *, folders: bool, dry_run: bool) -> Pruned:
    """``VideoIndex.prune``."""
    unasked = Counter[str]()
    if not dry_run:
        upkeep.sweep(index.uri)
    videos = {entry.id: entry.path for entry in missing(index, None, unasked)}
    failed = dict(lost((((row["id"], row["path"]), row["path"]) for row in index.failures()), Counter()))
    single, whole = _split_by_folder(sorted({*videos.values(), *failed.values()}))
    if folders:
        whole = {}
    else:
        videos = {i: path for i, path in videos.items() if path in single}
        failed = {i: path for i, path in failed.items() if path in single}
    if not dry_run:
        index.delete(list(videos))
        index.clear_failures(list(failed))
    return Pruned(sorted(videos.values()), sorted(failed.values()), whole, dict(unasked))


def _split_by_folder(paths: list[str]) -> tuple[set[str], dict[str, int]]:
    """Of files that are gone, those missed one by one, and folders in which two or more went with everything else."""
    folders = dict[str, str | None]()
    tops = [folders.setdefault(home, _gone_folder(home)) for home in map(os.path.dirname, paths)]
    whole = {top: count for top, count in Counter(tops).items() if top is not None and count > 1}
    return {path for path, top in zip(paths, tops, strict=True) if top not in whole}, whole


def _gone_folder(folder: str) -> str | None:
    """The highest folder at or above this one that is not there or has nothing in it; on a web server none is known."""
    top, place = None, place_of(folder)
    if isinstance(place, Uri):
        while "/" in place.text.partition("://")[2] and listing.is_empty(place):
            top, place = place.text, Uri(place.text.rpartition("/")[0])
        return top
    while True:
        try:
            with os.scandir(folder) as there:
                if next(there, None) is not None:
                    return top
        except FileNotFoundError:
            pass
        except OSError:
            return top
        top, above = folder, os.path.dirname(folder)
        if above == folder:
            return top
        folder = above
