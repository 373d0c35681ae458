"""Several writers and builders of one index: nothing lost, nothing twice, and a folder that stays small."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import lancedb
import pytest

from clip2video_plugin import embed_videos
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex, connection, open_index, upkeep, writer
from clip2video_plugin.index.schema import videos_schema

from .test_store import MADE, row, unit

FAILURE = {"id": "x", "path": "/x", "size": 0, "mtime": 0.0, "reason": "empty"}
ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1], timeout=30):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def held(folder, seconds, name=".c2v.lock"):
    """Another process that holds a lock for a while."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder / name, str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def commits(folder, table="videos"):
    return lancedb.connect(folder).open_table(table).version


def bytes_of(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("uri", ["{}", "file://{}"])
def test_writers_of_the_same_new_videos_at_once_leave_each_once(tmp_path, uri):
    uri = uri.format(tmp_path / "in dex")
    VideoIndex.create(uri, 16, MADE)
    together = threading.Barrier(3)

    def write(index):
        together.wait()
        for start in range(0, 100, 10):
            index.write([row(i, v) for i, v in enumerate(unit(10, start), start)])

    writers = [threading.Thread(target=write, args=[open_index(uri)]) for _ in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(60)
    assert sorted(open_index(uri).ids()) == sorted(f"v{i}" for i in range(100))
    assert (tmp_path / "in dex" / "videos.lance").is_dir()


def test_an_index_that_another_makes_meanwhile_is_opened(tmp_path):
    process, found = held(tmp_path, 1.5), []
    waiting = threading.Thread(target=lambda: found.append(VideoIndex.create(tmp_path, 16, MADE)))
    waiting.start()
    time.sleep(0.5)  # it has seen that there is none, and waits for the lock
    lancedb.connect(tmp_path).create_table("videos", schema=videos_schema(16, MADE))
    process.wait(30)
    waiting.join(30)
    assert [index.count() for index in found] == [0]


def test_one_writes_only_while_no_other_does(tmp_path, monkeypatch):
    index = VideoIndex.create(tmp_path, 16, MADE)
    other = held(tmp_path, 1.5)
    began = time.monotonic()
    index.write([row(1, unit(1)[0])])
    assert time.monotonic() - began > 1
    assert other.wait(10) == 0
    other = held(tmp_path, 30)
    monkeypatch.setattr(connection, "LOCK_SECONDS", 0.1)
    for change, what in (
        (index.write, [row(2, unit(1)[0])]),
        (index.delete, ["v1"]),
        (index.write_failures, [FAILURE]),
    ):
        with pytest.raises(VideoIndexError, match="another process has been writing"):
            change(what)
    other.kill()
    assert set(index.ids()) == {"v1"}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "LOCK_SECONDS", 0.2)
    for name in ("BUSY_SECONDS", "RETRY_SECONDS", "QUIET_SECONDS", "RESCUE_SECONDS"):
        monkeypatch.setattr(writer, name, 0.2)


def test_rows_of_a_waiting_writer_are_kept_and_written_in_the_end(world, model, tmp_path, impatient, caplog):
    VideoIndex.create(tmp_path, model.config.vector_dim, _made(model))
    other, told = held(tmp_path, 6), []
    report = embed_videos(
        sorted(world[0].glob("*.mp4"))[:3], index=tmp_path, model=model, progress=lambda r: told.append(r.waiting)
    )
    assert other.wait(10) == 0
    assert (report.embedded, open_index(tmp_path).count()) == (3, 3)
    assert any(told)
    assert not told[-1]
    assert "another process is writing to it; 3 videos wait" in caplog.text


def test_what_an_interrupted_run_cannot_write_is_said(world, model, tmp_path, impatient):
    VideoIndex.create(tmp_path, model.config.vector_dim, _made(model))
    other = held(tmp_path, 60)

    def interrupt(report):
        if report.embedded:
            raise KeyboardInterrupt

    with pytest.raises(VideoIndexError, match="2 embedded videos were not written and are lost"):
        embed_videos(sorted(world[0].glob("*.mp4"))[:2], index=tmp_path, model=model, progress=interrupt)
    other.kill()


def test_memory_of_a_waiting_writer_is_bounded(tmp_path, impatient, monkeypatch):
    monkeypatch.setattr(writer, "WAITING_BYTES", 10 * (16 * 4 + writer.ROW_BYTES))
    index, other, told = VideoIndex.create(tmp_path, 16, MADE), held(tmp_path, 2), []
    kept = writer.Writer(index, told.append)
    for number, vector in enumerate(unit(25)):
        kept.add(row(number, vector))
        kept.flush_when_due()
        assert len(kept.rows) <= 10
    kept.finish()
    assert (index.count(), told) == (25, [True, False])
    assert other.wait(10) == 0


def test_others_write_while_the_vector_index_is_built_and_nobody_builds_it_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2000)
    index = VideoIndex.create(tmp_path, 64, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(2500, 3, 64))])
    building, done, built = threading.Event(), threading.Event(), []
    build = upkeep.build

    def slowly(uri, table, each):
        built.append(table)
        building.set()
        assert done.wait(30)
        build(uri, table, each)

    monkeypatch.setattr(upkeep, "build", slowly)
    builders = [threading.Thread(target=open_index(tmp_path).finish) for _ in range(2)]
    for thread in builders:
        thread.start()
    assert building.wait(10)
    monkeypatch.setattr(connection, "LOCK_SECONDS", 2)
    other = open_index(tmp_path)
    for number in range(2500, 2540):
        other.write([row(number, unit(1, number, 64)[0])])
    assert other.search(unit(1, 2539, 64)[0], 1)[0].id == "v2539"
    done.set()
    for thread in builders:
        thread.join(60)
    assert len(built) == 1
    assert not index.needs_indexing()
    assert sorted(index.ids()) == sorted(f"v{i}" for i in range(2540))


def test_a_folder_is_at_most_twice_its_data_after_a_thousand_commits_and_readers_go_on(tmp_path):
    VideoIndex.create(tmp_path, 256, MADE).write([row("first", unit(1, 1, 256)[0])])
    reader, streamed = open_index(tmp_path), open_index(tmp_path).ids()
    assert next(streamed) == "vfirst"
    index = open_index(tmp_path)
    for number, vector in enumerate(unit(1000, 2, 256)):
        index.write([row(number, vector)])
        if number % 100 == 0:
            assert reader.search(vector, 1, ids={f"v{number}"})[0].id == f"v{number}"
    assert list(streamed) == []
    table = lancedb.connect(tmp_path).open_table("videos")
    assert table.count_rows() == 1001
    data = table.stats()["total_bytes"]
    assert data < 1.3 * table.to_arrow().nbytes
    assert bytes_of(tmp_path) <= 2 * data + upkeep.SLACK


def test_versions_of_the_last_hour_stay_as_long_as_they_fit(tmp_path):
    index = VideoIndex.create(tmp_path, 256, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(3000, 2, 256))])
    pinned = lancedb.connect(tmp_path).open_table("videos")  # stays on its version
    for number in range(20):
        index.write([row(number, unit(1, number, 256)[0])])
    assert len(pinned.to_arrow()) == 3000
    assert bytes_of(tmp_path) <= 2 * lancedb.connect(tmp_path).open_table("videos").stats()["total_bytes"]


def test_an_unchanged_run_commits_nothing(world, model, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "good.mp4").write_bytes((world[0] / "00000.mp4").read_bytes())
    (videos / "broken.mp4").write_text("no video")
    embed_videos(videos, index=tmp_path / "index", model=model)
    before = commits(tmp_path / "index"), commits(tmp_path / "index", "failures")
    report = embed_videos(videos, index=tmp_path / "index", model=model)
    assert (report.skipped, len(report.failed)) == (1, 1)
    assert (commits(tmp_path / "index"), commits(tmp_path / "index", "failures")) == before


def test_clearing_no_failures_and_deleting_no_rows_commit_nothing(tmp_path):
    index = VideoIndex.create(tmp_path, 16, MADE)
    index.write_failures([FAILURE])
    before = commits(tmp_path), commits(tmp_path, "failures")
    index.clear_failures(["y", "z"])
    index.delete(["v1"])
    assert (commits(tmp_path), commits(tmp_path, "failures")) == before


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the peak of memory is Linux's to tell")
@pytest.mark.parametrize("what", ["vectors", "rows"])
def test_vectors_are_read_in_little_more_memory_than_they_take(wide, what):
    code = (
        "import sys\n"
        "from clip2video_plugin.index import open_index\n"
        "def peak():\n"
        "    return int(next(line for line in open('/proc/self/status') if line[:5] == 'VmHWM').split()[1]) / 1024\n"
        "read = getattr(open_index(sys.argv[1]), sys.argv[2])\n"
        "ids = list(open_index(sys.argv[1]).ids()); read(ids[:10])\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        "before = peak(); found = read(ids); print(peak() - before, len(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, wide, what], capture_output=True, text=True, timeout=60)
    megabytes, found = map(float, done.stdout.split())
    assert found == 2500
    assert megabytes < 45  # 10 MB of vectors


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    uri = tmp_path_factory.mktemp("wide")
    VideoIndex.create(uri, 1024, MADE).write([row(i, v) for i, v in enumerate(unit(2500, 1, 1024))])
    return uri


def _made(model):
    from clip2video_plugin.provenance import provenance

    return provenance(model)


def test_writers_of_whom_some_are_killed_leave_each_row_once(tmp_path):
    command = ["benchmarks/writers.py", "--places", "folder", "--kills", "2", "--rows", "200", "--step", "20"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert "2 kills: 200 rows, 0 doubled, 0 lost, 0 others failed" in done.stdout, done.stderr
