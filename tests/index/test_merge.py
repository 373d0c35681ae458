"""Rows that several processes write at once, without any lock: each id is there once."""

import importlib
import subprocess
import sys
from collections import Counter

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import BTree

from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.calibration import read_bank, write_bank
from clip2video_plugin.index.connection import connect
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.index.schema import ADDED, LATER, PRIMARY_KEY, videos_schema

from .test_store import MADE, row, unit

WRITE = """
import sys, time
import numpy as np, pyarrow as pa
from clip2video_plugin.index.connection import connect
from clip2video_plugin.index.merge import add_missing, merge, protect
from clip2video_plugin.index.schema import LATER
table = connect(sys.argv[1]).open_table("videos")
for start in (0, 100):
    rows = [{"id": f"v{i}", "path": "/v", "vector": np.ones(16) / 4} for i in range(start, start + 100)]
    print("ready", flush=True)
    sys.stdin.readline()
    protect(table)
    add_missing(table, LATER)
    merge(table, pa.Table.from_pylist(rows, schema=table.schema))
"""
MAKE = """
import sys
import numpy as np
from clip2video_plugin.index import Provenance, VideoIndex
print("ready", flush=True)
sys.stdin.readline()
index = VideoIndex.create(sys.argv[1], 16, Provenance("shapes", "0" * 64, "uniform", 12, "1"))
index.write_failures([{"id": f"x{sys.argv[2]}", "path": "/x", "size": 0, "mtime": 0.0, "reason": "empty"}])
index.write([{"id": f"v{sys.argv[2]}", "path": "/v", "size": 1, "mtime": 0.0, "vector": np.ones(16) / 4}])
"""


def together(code, uri, rounds=1):
    """Runs code in three processes at once, each of whose rounds begins when all are ready."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen([sys.executable, "-c", code, uri, str(n)], **pipes) for n in range(3)]
    for _ in range(rounds):
        assert [process.stdout.readline() for process in processes] == [b"ready\n"] * 3
        for process in processes:
            process.stdin.write(b"go\n")
            process.stdin.flush()
    assert [process.wait(120) for process in processes] == [0] * 3


def plain(schema):
    """The schema as tables were made by earlier versions."""
    fields = [field.remove_metadata() for field in schema if field not in LATER]
    return pa.schema(fields, metadata=schema.metadata)


@pytest.mark.parametrize(
    ("place", "made"), [("a store", "now"), ("a folder", "by an earlier version, with the index of ids")]
)
def test_three_that_write_the_same_new_ids_at_once_leave_each_once(tmp_path, s3, place, made):
    uri = str(tmp_path) if place == "a folder" else s3.uri("index")
    schema = videos_schema(16, MADE)
    table = lancedb.connect(uri).create_table("videos", schema=schema if made == "now" else plain(schema))
    if made != "now":
        table.add(pa.Table.from_pylist([row("old", unit(1)[0])], schema=table.schema))
        table.create_index("id", config=BTree())
    together(WRITE, uri, rounds=2)
    ids = Counter(lancedb.connect(uri).open_table("videos").to_arrow()["id"].to_pylist())
    ids.pop("vold", None)
    assert ids == Counter(f"v{i}" for i in range(200))


def test_three_that_make_the_same_index_in_a_store_at_once_have_one(s3):
    together(MAKE, s3.uri("index"))
    connection = lancedb.connect(s3.uri("index"))
    for table, letter in (("videos", "v"), ("failures", "x")):
        ids = connection.open_table(table).to_arrow()["id"].to_pylist()
        assert sorted(ids) == [f"{letter}{i}" for i in range(3)]


def test_tables_of_an_earlier_version_get_their_key_at_the_first_write(tmp_path):
    connection = connect(str(tmp_path))
    old = connection.create_table("videos", schema=plain(videos_schema(16, MADE)))
    VideoIndex.create(tmp_path, 16, MADE).write([row(1, unit(1)[0])])
    assert any(mark.startswith(PRIMARY_KEY.encode()) for mark in old.schema.field("id").metadata)
    assert ADDED.name in old.schema.names

    bank = pa.table({"bank": ["b", "b"], "place": [0, 1], "vector": [[1.0], [2.0]]})
    connection.create_table("banks", bank.cast(bank.schema.set(2, pa.field("vector", pa.list_(pa.float32())))))
    write_bank(str(tmp_path), "c", np.ones((3, 1), np.float32))
    write_bank(str(tmp_path), "b", np.full((2, 1), 4, np.float32))
    assert read_bank(str(tmp_path), "b").tolist() == [[4], [4]]
    assert connection.open_table("banks").count_rows() == 5


def test_frames_of_an_earlier_version_are_replaced_and_those_of_others_stay(tmp_path):
    frames = FrameIndex.create(str(tmp_path), 2, MADE, "frames_x")
    times, vectors = [0.0, 0.5], np.eye(2, dtype=np.float32)
    for video in ("a", "b"):
        frames.write(video, times, vectors, (1, 2.0))
    table = lancedb.connect(tmp_path).open_table("frames_x")
    rows = table.to_arrow().drop_columns(["key", "size", "mtime"])
    schema = pa.schema([field.remove_metadata() for field in rows.schema], metadata=table.schema.metadata)
    lancedb.connect(tmp_path).create_table("frames_x", rows.cast(schema), mode="overwrite")  # as versions before had it
    frames = FrameIndex.create(str(tmp_path), 2, MADE, "frames_x")
    frames.write("a", [0.0, 1.0, 2.0], np.zeros((3, 2), np.float32), (3, 4.0))
    assert frames.read("a")[0].tolist() == [0, 1, 2]
    assert frames.read("b")[1].tolist() == [[1, 0], [0, 1]]


def test_a_large_table_of_a_folder_is_asked_for_ids_and_gets_new_rows_appended(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("clip2video_plugin.index.merge"), "LARGE", 50)
    index = VideoIndex.create(tmp_path, 16, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(100, 0))])
    again, new = unit(20, 1), unit(20, 2)
    index.write([row(i, v) for i, v in enumerate(again, 90)])  # half of them known
    index.write([row(i, v) for i, v in enumerate(new, 200)])  # none
    ids = lancedb.connect(tmp_path).open_table("videos").to_arrow()["id"].to_pylist()
    assert sorted(ids) == sorted(f"v{i}" for i in [*range(110), *range(200, 220)])
    found = index.vectors(["v95", "v219"])
    np.testing.assert_array_equal(found["v95"], again[5])
    np.testing.assert_array_equal(found["v219"], new[19])


def test_rows_of_a_folder_are_appended_only_where_no_id_between_them_is_known(tmp_path, monkeypatch):
    index = VideoIndex.create(tmp_path, 16, MADE)
    merges, own = [], type(index._table).merge_insert
    monkeypatch.setattr(type(index._table), "merge_insert", lambda *args: merges.append(1) or own(*args))
    vectors = unit(60)

    def write(*numbers):
        index.write([row(f"{i:03d}", vectors[i]) for i in numbers])
        return len(merges)

    assert write(10, 12, 14) == 0
    assert write(20, 22) == 0
    assert write(11, 13) == 1  # 12 lies between them, though neither is known
    assert write(22) == 2
    assert write(30, 30, 31) == 2
    assert write(0, 1) == 2
    known = [0, 1, 10, 11, 12, 13, 14, 20, 22, 30, 31]
    assert sorted(index.ids()) == [f"v{i:03d}" for i in known]
    found = index.vectors([f"v{i:03d}" for i in known])
    np.testing.assert_array_equal([found[f"v{i:03d}"] for i in known], vectors[known])
