"""Old versions go when nobody needs them: readers of a whole table keep theirs, however many commits come."""

import subprocess
import sys
import time
from datetime import timedelta

import lancedb
import pytest

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex, open_index, versions
from clip2video_plugin.index.upkeep import HOUR

from .test_store import MADE, row, unit

# Replaces every row twice over, a hundred commits in all, so that all files of the first version are of no more use.
WRITER = """
import sys
from clip2video_plugin.index import open_index
from tests.index.test_store import row, unit
index = open_index(sys.argv[1])
for turn in range(100):
    index.write([row(i, v) for i, v in zip(range(turn % 50 * 60, turn % 50 * 60 + 60), unit(60, 99 + turn, 64))])
    print(turn, flush=True)
"""


@pytest.fixture
def filled(tmp_path):
    index = VideoIndex.create(tmp_path / "index", 64, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(3000, 1, 64))])
    return index


def replace_all(index):
    for start in range(0, 3000, 150):
        index.write([row(i, v) for i, v in enumerate(unit(150, start + 5, 64), start)])


def tags(index):
    return lancedb.connect(index.uri).open_table("videos").tags.list()


def test_a_slow_reader_gets_all_of_its_version_while_another_process_commits_a_hundred_times(filled):
    first = dict(zip(*next(open_index(filled.uri).vector_batches()), strict=True))
    slow = open_index(filled.uri).vector_batches()
    found = dict(zip(*next(slow), strict=True))
    assert found.keys() == first.keys()
    command = [sys.executable, "-c", WRITER, filled.uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["99"], done.stderr
    for ids, vectors in slow:
        found |= zip(ids, vectors, strict=True)
    expected = {f"v{i}": v for i, v in enumerate(unit(3000, 1, 64))}
    assert found.keys() == expected.keys()
    assert all((found[i] == v).all() for i, v in expected.items())
    assert tags(filled) == {}
    versions.fold(filled._table, timedelta(milliseconds=1))
    assert len(lancedb.connect(filled.uri).open_table("videos").list_versions()) == 1


def test_without_a_reader_the_same_versions_go(filled):
    pinned = lancedb.connect(filled.uri).open_table("videos")  # of nobody that says so
    replace_all(filled)
    versions.fold(filled._table, timedelta(milliseconds=1))
    with pytest.raises(RuntimeError, match=r"(?i)not found"):
        pinned.to_arrow()


def test_a_tag_of_a_reader_that_was_killed_counts_until_its_time_is_over(filled, monkeypatch):
    monkeypatch.setattr(versions, "HELD", 1.5)
    code = (
        "import os, sys\nfrom clip2video_plugin.index import open_index, versions\nversions.HELD = 1.5\n"
        "next(open_index(sys.argv[1]).vector_batches()); b = open_index(sys.argv[1]).vector_batches(); next(b)\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, filled.uri], timeout=60)
    assert killed.returncode == -9
    assert len(tags(filled)) == 1
    filled.write([row(1, unit(1, 5, 64)[0])])
    held = filled._table.version - 1
    versions.fold(filled._table, timedelta(milliseconds=1))
    assert held in [one["version"] for one in filled._table.list_versions()]
    time.sleep(2)
    versions.fold(filled._table, timedelta(milliseconds=1))
    assert tags(filled) == {}
    assert len(filled._table.list_versions()) == 1


def test_a_reader_that_goes_on_renews_its_tag(filled, monkeypatch):
    monkeypatch.setattr(versions, "RENEWED", -1.0)
    slow, seen = open_index(filled.uri).vector_batches(), set()
    for _ in slow:
        assert len(tags(filled)) == 1
        seen |= set(tags(filled))
    assert len(seen) > 1
    assert tags(filled) == {}


def test_an_index_that_may_not_be_written_to_is_read_all_the_same(filled, monkeypatch):
    monkeypatch.setattr(versions, "_tag", lambda pinned: None)
    assert sum(len(ids) for ids, _ in filled.vector_batches()) == 3000


def test_what_is_kept_by_a_setting_stays_whatever_it_takes(filled, monkeypatch):
    monkeypatch.setenv("C2V_KEEP", "30m")
    pinned = lancedb.connect(filled.uri).open_table("videos")
    replace_all(filled)
    assert len(pinned.to_arrow()) == 3000


def test_how_long_to_keep_is_said_with_a_unit(monkeypatch):
    monkeypatch.delenv("C2V_KEEP", raising=False)
    assert versions.kept() is None
    for text, seconds in (("90s", 90), ("1.5h", 5400), ("7d", 7 * 86400), ("30m", 1800)):
        monkeypatch.setenv("C2V_KEEP", text)
        assert versions.kept().total_seconds() == seconds
    for text in ("soon", "-1h", "5", "1e9h", "99999999d"):
        monkeypatch.setenv("C2V_KEEP", text)
        with pytest.raises(VideoIndexError, match=r"C2V_KEEP is .*; write how long, as 90s, 30m, 2h or 7d"):
            versions.kept()
    assert HOUR.total_seconds() == 3600


def test_a_version_is_held_in_a_store_as_well(s3):
    index = VideoIndex.create(s3.uri("index"), 64, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(3000, 1, 64))])
    slow = open_index(s3.uri("index")).vector_batches()
    found = len(next(slow)[0])
    index.write([row(i, v) for i, v in enumerate(unit(3000, 2, 64))])
    versions.fold(index._table, timedelta(milliseconds=1))
    assert found + sum(len(ids) for ids, _ in slow) == 3000
    versions.fold(index._table, timedelta(milliseconds=1))
    assert len(index._table.list_versions()) == 1
    assert index._table.tags.list() == {}
