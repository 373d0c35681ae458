"""What keeps a table small and quick: folding its parts together, removing old versions, building its indexes."""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from lancedb.index import FTS, BTree, IvfFlat, IvfRq

from clip2video_plugin.errors import IndexBusyError, VideoIndexError
from clip2video_plugin.index import memory, scratch, segments
from clip2video_plugin.index.commits import unless_done
from clip2video_plugin.index.connection import connect, held, local_folder, lock_of, opened, table_names, writer_lock
from clip2video_plugin.index.marks import LEFT, left_in
from clip2video_plugin.index.tuning import BITS, WHOLE, bits_of, lists_of
from clip2video_plugin.index.versions import HOUR, fold, is_held, kept, prune
from clip2video_plugin.index.whole import in_manifest, repair, undone_if_cut

logger = logging.getLogger(__name__)

# An exact scan takes about 40 ms at 10,000 rows; above, a vector index answers in about 10 ms.
EXACT_ROWS = 10_000
SAMPLE = 64  # vectors for each list of which centroids are trained, in memory: 63 MB at a million rows, with 256 250
UNINDEXED_ROWS = 5_000  # after so many, fold new rows into the indexes
WORDS = "captions"  # the column whose words are indexed
UNINDEXED_TEXTS = 1_000  # rows whose words each query reads, 5 ms; after so many, fold them in
# Segments of the vector index: LanceDB makes one more each time that rows are folded in, and a query reads of each.
MOST_SEGMENTS = {"folded": 4, "made anew": 16}
BUILD_LOCK = ".c2v.build.lock"  # of who folds or builds: one at a time
COMMITS, MOST_COMMITS = 16, 500  # after so many, see whether folding pays; after so many, fold
SLACK = COMMITS * 72 * 1024  # bytes that so few commits take: each says twice which keys it may have added
REWRITTEN = 256 << 20  # bytes of a table up to which it may be rewritten for the sake of files that are left
# Versions are kept for an hour, or for $C2V_KEEP whatever it takes. Where nobody says how long, for less where a folder
# would be more than twice as large as its data: a commit of one row of 256 numbers takes 71 KB for its 1.1 KB, and each
# folding copies them all. What a reader holds stays in any case.
KEPT = (HOUR, timedelta(minutes=10), timedelta(minutes=1), timedelta(seconds=5), timedelta(milliseconds=1))


def tidy(uri: str, table: Any, before: int) -> None:
    """After commits on the version ``before``, with the writers' lock held: folds small parts together when it pays.

    Compacting rewrites the loose parts: when they are a quarter of the rows, so that a million cost a few rewrites.
    Left to another time while indexes are built, which read the files of their version.
    """
    version = table.version
    if version // COMMITS == before // COMMITS:
        return
    stats = table.stats()
    parts, rows = stats["fragment_stats"], stats["num_rows"]
    grown = parts["num_fragments"] > 1 and 4 * (rows - parts["lengths"]["max"]) >= rows
    due = version // MOST_COMMITS > before // MOST_COMMITS
    if not (grown or due or (kept() is None and not is_held(table) and _spare(uri, table) < SLACK)):
        return
    try:
        with held(lock_of(uri, BUILD_LOCK), uri, 0):
            ages = KEPT if (least := kept()) is None else (least,)
            fold(table, ages[0])
            for age in ages[1:]:
                if _spare(uri, table) >= 0:
                    break
                prune(table, age)
    except IndexBusyError:
        return


def sweep(uri: str, *, all_of_it: bool = False) -> None:
    """Removes files that writers and builders of an index on this machine left as they died or failed (``marks.py``).

    Where others are at it now, or are many gigabytes to be rewritten for it, that is left to another time.

    Args:
        all_of_it: large tables as well.
    """
    folder = local_folder(uri)
    if folder is None or not left_in(folder):
        return
    scratch.remove_dead()
    try:
        with writer_lock(uri, 0), held(lock_of(uri, BUILD_LOCK), uri, 0):
            if not (left := folder / LEFT).exists():
                return
            connection, later = connect(uri), False
            for name in table_names(connection):
                _sweep_files(folder / f"{name}.lance")
                if (table := opened(connection, name)) is None:  # its making failed
                    continue
                repair(table)
                stats = table.stats()
                one = stats["fragment_stats"]["num_fragments"] == 1
                if all_of_it or one or stats["total_bytes"] <= REWRITTEN:
                    fold(table, kept() or HOUR, alone=True)
                else:
                    later = True
            if not later:
                left.unlink()
    except (OSError, RuntimeError, ValueError, VideoIndexError) as error:  # which whoever writes next is told
        logger.info("index %s: %s", uri, error)


def _sweep_files(home: Path) -> None:
    """Removes what Lance itself leaves: files not renamed yet, notes and lists of rows of commits that failed."""
    manifests = [path.read_bytes() for path in (home / "_versions").glob("*.manifest")]
    for path in home.rglob("*"):
        staged = re.fullmatch(r"\.tmp\w{6}|.*#\d+", path.name) is not None
        name = b"" if staged else _commit_in_manifest(path)
        stray = bool(name) and not any(name in manifest for manifest in manifests)
        if (staged or stray) and path.is_file():
            path.unlink(missing_ok=True)


def _commit_in_manifest(path: Path) -> bytes:
    """By what manifests name the note of a commit, its name, or a list of removed rows, a number; of others nothing."""
    if path.parent.name == "_deletions" and re.fullmatch(r"\d+-\d+-\d+\.(?:arrow|bin)", path.name):
        return in_manifest(path)
    return path.name.encode() if path.suffix == ".txn" else b""


def _spare(uri: str, table: Any) -> float:
    """Bytes until a local table's folder, without its indexes, is twice as large as its data."""
    folder = local_folder(uri)
    if folder is None:
        return float("inf")
    home = folder / f"{table.name}.lance"
    return 2 * int(table.stats()["total_bytes"]) - (folder_bytes(home) - folder_bytes(home / "_indices"))


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in and below a folder; files that go away meanwhile do not count."""
    total = 0
    for home, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(home, name)).st_size
    return total


def needs_indexing(table: Any) -> bool:
    """Whether so many rows came that building or renewing indexes pays."""
    return _vectors_due(table) or _words_due(table)


def _vectors_due(table: Any) -> bool:
    if not has_index(table, "vector"):
        return int(table.count_rows()) > EXACT_ROWS
    known = table.index_stats(segments.NAME)
    return bool(known.num_unindexed_rows > UNINDEXED_ROWS or known.num_indices > _most_segments())


def _most_segments() -> int:
    return MOST_SEGMENTS["folded" if segments.possible() else "made anew"]


def _words_due(table: Any) -> bool:
    if "video" in table.schema.names:  # what is said in windows is asked of their videos
        return False
    if not has_index(table, WORDS):
        return bool(table.count_rows(f"array_length({WORDS}) > 0"))
    return bool(table.index_stats(f"{WORDS}_idx").num_unindexed_rows > UNINDEXED_TEXTS)


def build(uri: str, table: Any, each: segments.Each | None = None) -> None:
    """Folds all parts together, and the rows that came into the indexes; makes those that pay and are not there.

    Args:
        each: runs the parts of a vector index (``segments.build``); without, only a large one is made in parts.
    """
    in_parts = segments.possible() and bits_of(table) != WHOLE and _vectors_due(table)
    if in_parts and (each or segments.unindexed(table) > segments.PART_ROWS):
        with memory.given_back():
            segments.build(uri, table, bits=BITS, each=each or map)
    fold(table, kept() or HOUR)  # few large parts are read faster than many small
    if not has_index(table, "vector"):
        if _vectors_due(table):
            index_vectors(table, BITS)
    elif table.index_stats(segments.NAME).num_indices > _most_segments():
        if segments.possible():
            with memory.given_back():
                segments.fold(table)
        else:
            index_vectors(table, bits_of(table))
    if _words_due(table):
        index_words(table)


def index_vectors(table: Any, bits: int) -> None:
    """Makes the vector index, in place of one that there is: inverted lists of codes, ``bits`` for each number.

    Of ``tuning.WHOLE`` bits, the numbers themselves: a second copy of the vectors.
    """
    how: dict[str, Any] = {
        "distance_type": "dot",
        "num_partitions": lists_of(int(table.count_rows())),
        "sample_rate": SAMPLE,
    }
    config = IvfFlat(**how) if bits == WHOLE else IvfRq(**how, num_bits=bits)
    with memory.given_back(), undone_if_cut(table):
        table.create_index("vector", config=config, replace=True)


def index_column(table: Any, column: str) -> None:
    """Without it, each question for ids reads those of the whole table."""
    if not has_index(table, column) and table.count_rows() > EXACT_ROWS:
        with memory.given_back():
            _made(table, column, BTree())


def index_words(table: Any, column: str = WORDS) -> None:
    """Makes the index of a column's words where there is none; those of rows that come later are found at once."""
    if not has_index(table, column):
        with memory.given_back():
            _made(table, column, FTS())


def _made(table: Any, column: str, config: BTree | FTS) -> None:
    def make() -> None:
        with undone_if_cut(table):
            table.create_index(column, config=config)

    unless_done(lambda: has_index(table, column), make)


def has_index(table: Any, column: str) -> bool:
    return any(index.columns == [column] for index in table.list_indices())
