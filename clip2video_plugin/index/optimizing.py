"""An index brought in order on request: few large parts, complete indexes, no versions that nobody needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clip2video_plugin.index import choosing, upkeep, versions
from clip2video_plugin.index.commits import patiently
from clip2video_plugin.index.connection import (
    connect,
    held,
    local_folder,
    lock_of,
    plain_errors,
    read,
    tables_of,
    uri_of,
)
from clip2video_plugin.index.contents import no_index
from clip2video_plugin.index.schema import check_form
from clip2video_plugin.index.segments import Each
from clip2video_plugin.index.store import VideoIndex
from clip2video_plugin.progress import Tell


@dataclass(frozen=True)
class State:
    """Of a table: parts that its rows lie in, versions, bytes on disk with all of them, rows that no index knows."""

    parts: int
    versions: int
    bytes: int
    unindexed: int


@dataclass(frozen=True)
class Optimized:
    """A table before and after."""

    name: str
    rows: int
    before: State
    after: State


def optimize(
    index: str | Path | VideoIndex | None = None,
    *,
    keep: str | None = None,
    seconds: float | None = None,
    each: Each | None = None,
    progress: Tell | None = None,
) -> list[Optimized]:
    """Folds the parts of every table together, brings its indexes up to date, and removes old versions.

    Done again at once it finds nothing to do. Others may read and write meanwhile; of two who optimize or build
    indexes, one waits.

    Args:
        keep: how old versions must be to go, as 90s, 30m, 2h or 7d; $C2V_KEEP or an hour by default. Those that a
            reader holds stay (``versions.py``).
        seconds: how long to wait for another; ten minutes by default, below 0 as long as it takes.
        each: runs the parts of a large vector index (``VideoIndex.finish``).
        progress: called with the number of tables done, and of all.

    Raises:
        IndexBusyError: another process was folding or building all that time.
        VideoIndexError: there is no index, or ``keep`` is no such time.
    """
    uri = uri_of(index)
    age = versions.duration_of(keep, "keep") if keep else versions.kept() or versions.HOUR
    if (folder := local_folder(uri)) is not None and not folder.is_dir():
        raise no_index(uri)
    upkeep.sweep(uri, all_of_it=True)
    connection = connect(uri)
    with plain_errors(uri):
        tables = list(tables_of(connection).values())
        for table in tables:
            check_form(table.schema.metadata, f"index {uri}")
    if not tables:
        raise no_index(uri)
    out = list[Optimized]()
    for table in tables:
        with plain_errors(uri):
            before = _state(uri, table)
            with held(lock_of(uri, upkeep.BUILD_LOCK), uri, seconds):
                pass  # nobody else is at it
            if "captions" in table.schema.names:  # of videos or windows, whose vectors have an index
                _index(uri, table, seconds, each)
            with held(lock_of(uri, upkeep.BUILD_LOCK), uri, seconds):
                patiently(partial(versions.fold, table, age))
                out.append(Optimized(str(table.name), int(table.count_rows()), before, _state(uri, table)))
        if progress:
            progress(len(out), total=len(tables))
    return out


def _index(uri: str, table: Any, seconds: float | None, each: Each | None) -> None:
    """Brings the indexes of a table up to date, and has its vector index asked anew where it finds too little."""
    opened = VideoIndex.open(uri, table=table.name)
    if opened.needs_indexing():
        opened.finish(each=each)
    elif upkeep.has_index(table, "vector"):
        with held(lock_of(uri, upkeep.BUILD_LOCK), uri, seconds):
            choosing.hold(uri, table)


def _state(uri: str, table: Any) -> State:
    def ask() -> State:
        stats, folder = table.stats(), local_folder(uri)
        size = int(stats["total_bytes"]) if folder is None else upkeep.folder_bytes(folder / f"{table.name}.lance")
        known = [table.index_stats(index.name).num_unindexed_rows for index in table.list_indices()]
        parts = int(stats["fragment_stats"]["num_fragments"])
        return State(parts, len(table.list_versions()), size, max(known, default=0))

    return read(uri, ask)
