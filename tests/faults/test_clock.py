"""A clock that is set back, or is another machine's: no row is lost or doubled, and nobody waits for it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clip2video_plugin import embed_videos, search
from clip2video_plugin.index import VideoIndex, open_index, versions
from clip2video_plugin.index.lease import Lease

from ..index.test_store import DIM, MADE, row, unit

DAY = 86_400
WRITER = """
import sys, time
from clip2video_plugin.index import open_index
from tests.index.test_store import row, unit
index = open_index(sys.argv[1])
for turn in range(20):
    index.write([row(i, v, added=time.time()) for i, v in enumerate(unit(30, 50 + turn), 30 * turn)])
index.delete(["v3"])
print(time.time())
"""
READER = """
import sys
from clip2video_plugin.index import open_index
index = open_index(sys.argv[1])
print(sum(len(ids) for ids, _ in index.vector_batches()), len(index.search(index.vectors(["v7"])["v7"], 3)))
"""


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Runs Python in a process whose clock is wrong by so many seconds; its output."""
    made = tmp_path_factory.mktemp("clock") / "clock.so"
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc), which makes the wrong clock")
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)

    def run(seconds, code, *arguments):
        environment = {**os.environ, "LD_PRELOAD": str(made), "CLOCK_WRONG": str(seconds)}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_clock_is_wrong_for_python_and_for_lancedb(at, tmp_path):
    said = float(at(-DAY, "import time; print(time.time())"))
    assert DAY - 600 < time.time() - said < DAY + 600
    code = (
        "import lancedb, sys; t = lancedb.connect(sys.argv[1]).create_table('t', [{'a': 1}]); "
        "print(t.list_versions()[0]['timestamp'].timestamp())"
    )
    assert DAY - 600 < time.time() - float(at(-DAY, code, tmp_path)) < DAY + 600


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_rows_of_a_writer_with_another_clock_stand_there_once_and_old_versions_go(at, tmp_path, seconds):
    index = VideoIndex.create(tmp_path, DIM, MADE)
    index.write([row(i, v, added=time.time()) for i, v in enumerate(unit(40))])
    slow = open_index(tmp_path).vector_batches()
    first, _ = next(slow)
    at(seconds, WRITER, tmp_path)
    assert sorted([*first, *(i for ids, _ in slow for i in ids)]) == sorted(f"v{i}" for i in range(40))
    index.write([row(700, unit(1, 9)[0], added=time.time())])
    expected = {f"v{i}" for i in range(600)} - {"v3"} | {"v700"}
    assert sorted(index.ids()) == sorted(expected)
    vectors = index.vectors(["v7", "v599"])
    np.testing.assert_array_equal(vectors["v599"], unit(30, 69)[29])
    found = at(seconds, READER, tmp_path)
    assert found.split() == ["600", "3"]
    versions.fold(index._table)
    index.write([row(701, unit(1, 8)[0])])
    assert sorted(index.ids()) == sorted(expected | {"v701"})
    assert index.check() != []  # files that are not there, and nothing else
    assert all("gone" in problem for problem in index.check())


def test_versions_from_the_future_are_kept_and_no_trouble(at, tmp_path):
    """Written before the clock was set back: they go when their time has come."""
    VideoIndex.create(tmp_path, DIM, MADE)
    at(DAY, WRITER, tmp_path)
    index = open_index(tmp_path)
    for turn in range(20):
        index.write([row(i, v) for i, v in enumerate(unit(20, turn), 20 * turn)])
    assert index.count() == 600
    slow = index.vector_batches()
    count = len(next(slow)[0])
    index.write([row(1, unit(1)[0])])
    assert count + sum(len(ids) for ids, _ in slow) == 600
    assert at(DAY * 2, READER, tmp_path).split() == ["600", "3"]


def test_a_lease_goes_by_no_clock_that_can_be_set(tmp_path, monkeypatch):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + DAY)
    owner, waiting = Lease(str(tmp_path), "x"), Lease(str(tmp_path), "x")
    assert owner.acquire(5) == ""
    monkeypatch.setattr(time, "time", lambda: now() - DAY)
    assert f"process {os.getpid()}" in waiting.acquire(0.5)
    owner.release()
    assert waiting.acquire(20) == ""
    waiting.release()


def test_a_file_that_was_changed_while_the_clock_was_back_is_embedded_again(world, model, tmp_path):
    """What counts is whether size and time are others, not which is later."""
    videos = sorted(world[0].glob("*.mp4"))[:3]
    for video in videos:
        shutil.copy2(video, tmp_path)
    names = [tmp_path / video.name for video in videos]
    embed_videos([tmp_path], index=tmp_path / "index", model=model)
    shutil.copyfile(videos[1], names[0])
    os.utime(names[0], (1e9, 1e9))  # long before it was embedded
    os.utime(names[2], (4e9, 4e9))  # in the future
    report = embed_videos([tmp_path], index=tmp_path / "index", model=model)
    assert (report.embedded + report.moved, report.skipped) == (2, 1)
    again = embed_videos([tmp_path], index=tmp_path / "index", model=model)
    assert (again.embedded, again.skipped) == (0, 3)
    vectors = {
        row["path"]: row["vector"] for row in open_index(tmp_path / "index").rows(list(ids_of(tmp_path))).values()
    }
    np.testing.assert_allclose(vectors[str(names[0])], vectors[str(names[1])], atol=1e-5)
    assert len(search("a red square", index=tmp_path / "index", model=model)) == 3


def ids_of(folder):
    return open_index(folder / "index").ids()
