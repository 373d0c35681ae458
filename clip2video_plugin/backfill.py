"""Thumbnails of videos that an earlier version indexed: of the same frames, read again and not encoded."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clip2video_plugin.bounds import checked_count
from clip2video_plugin.encode import batched
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.index.contents import Entry
from clip2video_plugin.index.schema import THUMBNAILS
from clip2video_plugin.places import place_of
from clip2video_plugin.progress import Tell
from clip2video_plugin.report import Failure
from clip2video_plugin.video.files import NO_STAMP, file_stamp
from clip2video_plugin.video.frames import read_quietly
from clip2video_plugin.video.sampling import SAMPLINGS

AT_ONCE = 256  # videos of one commit
SIZE = 64  # pixels a side that frames are read with


def add_thumbnails(
    index: str | Path | VideoIndex | None = None, *, workers: int | None = None, progress: Tell | None = None
) -> list[Failure]:
    """Gives each row without thumbnails those of its video; returns the videos that it could not give any.

    These are gone, unreadable, or have changed since they were embedded. Takes as long as decoding does; what was
    done is kept when it is stopped.

    Args:
        workers: decoding threads; by default one per CPU core.
        progress: called with the number of videos done, and of all.

    Raises:
        VideoIndexError: there is no index, or it cannot be written.
    """
    workers = checked_count("workers", workers) or os.cpu_count() or 1
    opened = index if isinstance(index, VideoIndex) else open_index(index)
    rows = opened.columns(["id", THUMBNAILS.name])
    without = rows.filter(rows[THUMBNAILS.name].is_null())["id"].to_pylist()
    policy, fps = SAMPLINGS[opened.provenance.policy]
    resize = json.loads(opened.provenance.network or "{}").get("resize", "crop")

    def read(entry: Entry) -> bytes | str:
        place = place_of(entry.path)
        if (stamp := file_stamp(place)) != (entry.size, entry.mtime):
            return "it is gone" if stamp == NO_STAMP else "it has changed since it was embedded"
        try:
            count = opened.provenance.count
            return read_quietly(
                place, policy=policy, fps=fps, count=count, size=SIZE, resize=resize
            ).thumbnails.tobytes()
        except VideoReadError as error:
            return error.reason
        except Exception as error:  # one strange file must not end a run over a million
            return f"{type(error).__name__}: {error}"

    failed, done = list[Failure](), 0
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for part in batched(without, AT_ONCE):
            entries = list(opened.entries(part).values())
            made = dict(zip((entry.id for entry in entries), pool.map(read, entries), strict=True))
            failed += [Failure(entry.path, str(made[entry.id])) for entry in entries if isinstance(made[entry.id], str)]
            with opened.writing():  # rows that another process renews meanwhile bring their own
                now = opened.rows([i for i, value in made.items() if isinstance(value, bytes)]).values()
                opened.write([{**row, THUMBNAILS.name: made[row["id"]]} for row in now if not row.get(THUMBNAILS.name)])
            done += len(part)
            if progress:
                progress(done, total=len(without))
    return failed
