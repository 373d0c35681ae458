"""Files that the disk cut off, and what writers leave that were killed: nothing of a table is lost by either."""

import os
import subprocess
import sys
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest
from lancedb.index import BTree

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex, open_index, upkeep, versions
from clip2video_plugin.index.connection import writer_lock
from clip2video_plugin.index.scratch import remove_dead
from clip2video_plugin.index.whole import repair, undone_if_cut
from clip2video_plugin.index.writer import Writer

from .test_store import MADE, row, unit

KILLED = """
import os, signal, sys, tempfile
from clip2video_plugin.index.scratch import scratch
with scratch():
    os.mkdir(os.path.join(os.environ["TMPDIR"], ".tmpAbCdEf"))
    print("made", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def table(tmp_path):
    found = lancedb.connect(tmp_path).create_table("videos", pa.table({"id": [f"v{i}" for i in range(100)]}))
    found.create_index("id", config=BTree())
    return found


def cut(folder, pattern):
    """Takes the end of the newest file, as a write that fails does."""
    newest = max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    os.truncate(newest, newest.stat().st_size // 2)


@pytest.mark.parametrize(
    ("step", "pattern"),
    [
        (lambda table: table.add(pa.table({"id": ["more"]})), "data/*.lance"),
        (lambda table: table.delete("id = 'v3'"), "_deletions/*.arrow"),
        (lambda table: table.create_index("id", config=BTree(), replace=True), "_indices/*/page_data.lance"),
    ],
    ids=["rows", "removed rows", "index"],
)
def test_a_commit_whose_file_is_cut_off_is_undone(table, tmp_path, step, pattern):
    before = sorted(table.to_arrow()["id"].to_pylist())

    def half() -> None:
        with undone_if_cut(table):
            step(table)
            cut(tmp_path / "videos.lance", pattern)

    with pytest.raises(OSError, match="not written to its end"):
        half()
    again = lancedb.connect(tmp_path).open_table("videos")
    assert sorted(again.to_arrow()["id"].to_pylist()) == before
    assert again.search().where("id = 'v7'").limit(1).to_list() == [{"id": "v7"}]


@pytest.mark.parametrize("n", range(4))  # the numbers of files of removed rows are random
def test_what_came_after_a_cut_file_stays(table, tmp_path, n):
    """The file stays for a while; only what needs it is undone."""

    def half() -> None:
        with undone_if_cut(table):
            table.delete(f"id = 'v{n}'")
            cut(tmp_path / "videos.lance", "_deletions/*.arrow")

    with pytest.raises(OSError, match="not written to its end"):
        half()
    table.delete("id = 'v7'")
    table.add(pa.table({"id": ["more"]}))
    before = table.to_arrow()["id"].to_pylist()
    repair(lancedb.connect(tmp_path).open_table("videos"))
    assert lancedb.connect(tmp_path).open_table("videos").to_arrow()["id"].to_pylist() == before
    assert len(before) == 100


@pytest.mark.parametrize(
    ("step", "pattern"),
    [
        (lambda table: table.add(pa.table({"id": ["more"]})), "data/*.lance"),
        (lambda table: table.delete("id = 'v3'"), "_deletions/*.arrow"),
    ],
    ids=["rows", "removed rows"],
)
def test_what_could_not_be_undone_then_is_undone_later(table, tmp_path, step, pattern):
    step(table)
    cut(tmp_path / "videos.lance", pattern)
    with pytest.raises(Exception, match="lance error"):
        lancedb.connect(tmp_path).open_table("videos").to_arrow()
    repair(lancedb.connect(tmp_path).open_table("videos"))
    assert lancedb.connect(tmp_path).open_table("videos").count_rows() == 100


@pytest.mark.parametrize("deleted", [0, 5])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_nothing_is_folded_while_old_versions_are_removed(tmp_path, monkeypatch, deleted, parts):
    """A file that is cut off then could not be undone, with all rows in it and nothing else left."""
    index, seen = VideoIndex.create(tmp_path, 16, MADE), []
    vectors = unit(10 * parts)
    for start in range(0, 10 * parts, 10):
        rows = [row(i, vectors[i]) | {"captions": [f"caption number {i}"]} for i in range(start, start + 10)]
        index._table.add(pa.Table.from_pylist(rows, schema=index._table.schema))
        if not start:
            index.text.make()
    if deleted:
        index._table.delete(f"id in ({', '.join(repr(f'v{i}') for i in range(deleted))})")
    data, real = Path(index.uri) / "videos.lance" / "data", type(index._table).optimize

    def optimize(table, **how):
        before = set(data.iterdir())
        real(table, **how)
        if how["cleanup_older_than"] < versions.FOREVER:
            seen.append(set(data.iterdir()) - before)

    monkeypatch.setattr(type(index._table), "optimize", optimize)
    versions.fold(index._table, versions.LEAST)
    assert seen == [set()]
    assert len(list(data.iterdir())) == 1
    assert sorted(open_index(tmp_path).ids()) == sorted(f"v{i}" for i in range(deleted, 10 * parts))


def left(index):
    """Files as Lance leaves them, and others: those, and these."""
    home = Path(index.uri) / "videos.lance"
    whole = next((home / "data").iterdir()).read_bytes()
    lance = ["data/" + "01" * 24 + "ab.lance", "_versions/18446744073709551000.manifest#1", "_versions/.tmpA1b2C3"]
    lance += ["_transactions/7-0c6c1f2e-4ad9-4a45-a9cb-2f6f5d5d1234.txn", "data/.tmpZZZZZZ"]
    lance += ["_deletions/0-1-1234567890123456789.arrow"]
    others = ["notes.txt", "data/notes.txt", "data/.tmp"]
    index.delete(["v9"])
    for name in [*lance, *others]:
        (home / name).write_bytes(whole)
    return [home / name for name in lance], [home / name for name in others]


def test_what_a_writer_left_that_failed_goes_with_the_next_run_and_nothing_else(tmp_path):
    index = VideoIndex.create(tmp_path, 16, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(10))])
    lance, others = left(index)
    index.for_writing()
    assert all(path.exists() for path in lance), "nobody failed: they may be of a commit that is underway"
    with pytest.raises(VideoIndexError), index.writing():
        raise VideoIndexError("as on a full disk")
    with writer_lock(index.uri):  # another writes: it is left to later
        upkeep.sweep(index.uri)
        assert all(path.exists() for path in lance)
    index.for_writing()
    assert [path for path in lance if path.exists()] == []
    assert all(path.exists() for path in others)
    assert sorted(open_index(tmp_path).ids()) == sorted(f"v{i}" for i in range(9))
    assert not (tmp_path / ".c2v.left").exists()


def test_temporary_files_of_a_killed_process_go_and_those_of_a_living_one_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == b"made\n"
    (tmp_path / ".tmpOthers").mkdir()
    processes[0].kill()
    processes[0].wait()
    assert len(list(tmp_path.iterdir())) == 3
    remove_dead()
    living = [path for path in tmp_path.iterdir() if path.name != ".tmpOthers"]
    assert [sorted(path.name for path in folder.iterdir()) for folder in living] == [[".tmpAbCdEf"]]
    processes[1].communicate()
    assert [path.name for path in tmp_path.iterdir()] == [".tmpOthers"]


def test_a_failure_is_forgotten_before_its_row_is_there_so_that_none_outlives_a_kill_between(tmp_path):
    index = VideoIndex.create(tmp_path, 16, MADE)
    mended = row(1, unit(1)[0])
    index.write_failures([{"id": mended["id"], "path": "/x", "size": 0, "mtime": 0.0, "reason": "empty"}])
    writer = Writer(index, lambda waiting: None)
    writer.add(mended)

    def killed(*_, **__):
        raise KeyboardInterrupt

    index.write = killed
    with pytest.raises(KeyboardInterrupt):
        writer.finish()
    assert open_index(tmp_path).failures() == []
