"""An index whose videos are elsewhere now: paths, the ids that are made of them, and those of windows change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clip2video_plugin.encode import Stamp, batched
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.connection import quoted
from clip2video_plugin.index.portable import target_of, text_of
from clip2video_plugin.index.schema import FINGERPRINT
from clip2video_plugin.paths import as_path, stored
from clip2video_plugin.places import Place, place_of, video_id
from clip2video_plugin.progress import Tell
from clip2video_plugin.video.files import NO_STAMP, file_stamp
from clip2video_plugin.video.fingerprint import fingerprint

ROWS = 500  # that are moved at once
LOOKS = 16  # files that are looked at at once


@dataclass
class Moved:
    """Videos and failures whose paths changed, or would.

    ``absent`` of the videos are not at their new place, and ``changed`` have another content there.
    """

    old: str
    new: str
    videos: int = 0
    failures: int = 0
    absent: int = 0
    first_absent: str | None = None
    changed: int = 0


def move_videos(
    old: str | Path,
    new: str | Path,
    index: str | Path | VideoIndex | None = None,
    *,
    dry_run: bool = False,
    progress: Tell | None = None,
) -> Moved:
    """Tells an index that what was at or below ``old`` is at ``new``: a folder, or a prefix of a store.

    Rows, windows and failures get new paths and the ids that go with them; vectors stay. Of a file that is at its new
    place with the same content the time of change is noted, which copying changes, so that ``embed_videos`` passes it
    over. A run that was stopped goes on when it is run again. Tables of FiftyOne runs keep their paths, which are those
    of their samples.

    Args:
        dry_run: change nothing, and say what would.
        progress: called with the number of videos done, and of all.

    Raises:
        VideoIndexError: there is no index, nothing in it is below ``old``, or one place is in the other.
    """
    videos = VideoIndex.open(index)
    before, after = target_of(old), target_of(new)
    source, target = (text_of(place).rstrip("/") for place in (before, after))
    if f"{target}/".startswith(f"{source}/") or f"{source}/".startswith(f"{target}/"):
        raise VideoIndexError(f"{before} and {after} are the same, or one is in the other; name two places apart")
    if not dry_run:
        videos = videos.for_writing()  # first: an earlier run that failed at its end leaves nothing to move, but files
    where = f"(path = {quoted(source)} OR starts_with(path, {quoted(source + '/')}))"
    total, noted = videos.count(where), videos.failures(where)
    if not total and not noted:
        raise VideoIndexError(f"index {videos.uri} has nothing at or below {before}; see: c2v index list")
    done = Moved(str(before), str(after), failures=len(noted))

    def moved(text: str) -> Place:
        return place_of(as_path(target + text.removeprefix(source)))

    with ThreadPoolExecutor(LOOKS) as pool:
        for ids in batched(videos.ids(where), ROWS):
            rows = videos.rows(ids)
            places = {i: moved(row["path"]) for i, row in rows.items()}
            stamps = dict(zip(rows, pool.map(partial(_look, rows, places), rows), strict=True))
            for i, stamp in stamps.items():
                if stamp == NO_STAMP:
                    done.absent, done.first_absent = done.absent + 1, done.first_absent or str(places[i])
                done.changed += stamp is None
            if not dry_run:
                _rewrite(videos, rows, places, stamps)
            done.videos += len(rows)
            if progress:
                progress(done.videos, total=total)
    if noted and not dry_run:
        there = {row["id"]: moved(stored(row["path"])) for row in noted}
        videos.write_failures([row | _named(there[row["id"]]) for row in noted])
        videos.clear_failures(list(there))
    return done


def _named(place: Place) -> dict[str, str]:
    return {"id": video_id(place), "path": stored(str(place))}


def _look(rows: dict[str, dict[str, Any]], places: dict[str, Place], video: str) -> Stamp | None:
    """Size and time of change of a video at its new place; NO_STAMP where it is not, None where it is another."""
    row, place = rows[video], places[video]
    stamp = file_stamp(place)
    if stamp in (NO_STAMP, (row["size"], row["mtime"])):
        return stamp
    known = row.get(FINGERPRINT.name)
    return stamp if stamp[0] == row["size"] and known and fingerprint(place) == known else None


def _rewrite(
    index: VideoIndex,
    rows: dict[str, dict[str, Any]],
    places: dict[str, Place],
    stamps: dict[str, Stamp | None],
) -> None:
    """Writes rows under their new names, windows first, and removes those under the old ones."""
    new = dict[str, dict[str, Any]]()
    for video, row in rows.items():
        new[video] = row | _named(places[video])
        if (stamp := stamps[video]) and stamp != NO_STAMP:
            new[video]["mtime"] = stamp[1]
    if (windows := index.windows()) is not None:
        for video in windows.windows_made(list(rows)):
            if found := windows.all_windows(video):
                windows.write_windows([found.of(new[video])])
    index.write(list(new.values()), instead_of=list(rows))
