"""What an index says about itself, and how videos leave it: by path, or because their files are gone."""

import os
import subprocess
from dataclasses import replace

import lancedb
import numpy as np
import pytest

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import VideoIndex, nearest, upkeep
from clip2video_plugin.index.contents import check, describe
from clip2video_plugin.paths import stored

from .test_store import DIM, MADE, row, unit

FAILURE = {"id": "f", "path": "/nowhere/f.mp4", "size": 0, "mtime": 0.0, "reason": "empty"}


@pytest.fixture
def files(tmp_path):
    """Some files, good for nothing, and an index that has vectors for them."""
    index = VideoIndex.create(tmp_path / "index", DIM, MADE)
    names = ["a/1.mp4", "a/2.mp4", "a/deep/3.mp4", "ab/4.mp4", "b%_'\n/5.mp4", "b%_'\n/\udcff6.mp4"]
    rows = []
    for number, (name, vector) in enumerate(zip(names, unit(len(names)), strict=True)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        rows.append(row(number, vector, path=stored(path)))
    index.write(rows)
    return index


def names(index, folder):
    return {os.path.relpath(video.path, folder) for video in index.videos()}


def test_info_says_what_the_index_holds_by_which_model_and_how_large(files, tmp_path):
    files.write_failures([FAILURE])
    brain = VideoIndex.create(tmp_path / "index", DIM, MADE, table="brain_1_key")
    brain.write([row(1, unit(1)[0])])
    info = files.info()
    assert (info.index, info.videos, info.failures, info.dim) == (str(tmp_path / "index"), 6, 1, DIM)
    assert (info.model, info.sha256, info.sampling, info.frames) == ("test", "a" * 64, "uniform", 12)
    assert info.seen == "12 uniform frames"
    assert replace(info, sampling="keyframes").seen == "12 frames by key frames"
    assert {table.name: (table.rows, table.model) for table in info.tables} == {
        "videos": (6, "test"),
        "failures": (1, None),
        "brain_1_key": (1, "test"),
    }
    on_disk = int(subprocess.check_output(["du", "-sb", "--apparent-size", tmp_path / "index"]).split()[0])
    assert sum(table.bytes for table in info.tables) <= info.bytes <= on_disk
    versions = {table.name: table.versions for table in info.tables}
    assert versions["videos"] == len(lancedb.connect(tmp_path / "index").open_table("videos").list_versions())
    with pytest.raises(VideoIndexError, match="c2v embed PATH --index"):
        describe(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_videos_are_listed_by_path_and_those_whose_files_are_gone_are_marked(files, tmp_path):
    (tmp_path / "a" / "2.mp4").unlink()
    listed = list(files.videos())
    assert [video.path for video in listed] == sorted(video.path for video in listed)
    assert {os.path.basename(video.path) for video in listed if video.missing} == {"2.mp4"}
    assert {video.duration for video in listed} == {2.0}


def test_videos_are_looked_up_by_path_there_or_not(files, tmp_path):
    def found(paths):
        return [os.path.relpath(video.path, tmp_path) for video in files.videos(paths)]

    (tmp_path / "a/1.mp4").unlink()
    assert found(tmp_path / "a/1.mp4") == ["a/1.mp4"]
    assert found(str(tmp_path / "a")) == ["a/1.mp4", "a/2.mp4", "a/deep/3.mp4"]  # and not ab/4.mp4
    assert found([tmp_path / "a/deep/", tmp_path / "a", tmp_path / "b%_'\n/\udcff6.mp4"])[2:] == [
        "a/deep/3.mp4",
        "b%_'\n/\udcff6.mp4",
    ]
    assert found(tmp_path / "a/9.mp4") == found([]) == []


def test_a_large_index_is_listed_in_pages(files, tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 3)
    monkeypatch.setattr("clip2video_plugin.index.contents.PAGE", 2)
    assert len(names(files, tmp_path)) == 6


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("a/1.mp4", {"a/1.mp4"}),
        ("a", {"a/1.mp4", "a/2.mp4", "a/deep/3.mp4"}),
        ("a/", {"a/1.mp4", "a/2.mp4", "a/deep/3.mp4"}),
        ("a/deep/../deep", {"a/deep/3.mp4"}),
        ("b%_'\n", {"b%_'\n/5.mp4", "b%_'\n/\udcff6.mp4"}),
        ("b%_'\n/\udcff6.mp4", {"b%_'\n/\udcff6.mp4"}),
        ("b%", set()),
        ("a/deep/3", set()),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_videos_are_removed_by_path_there_or_not(files, tmp_path, path, gone, there, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = names(files, tmp_path)
    if not there:
        for name in before:
            (tmp_path / name).unlink()
    removed = files.remove(path)
    assert {os.path.relpath(p, tmp_path) for p in removed.videos} == gone
    assert names(files, tmp_path) == before - gone
    assert removed.unknown == ([] if gone else [str(tmp_path / path)])


def test_removing_a_path_removes_its_noted_failure(files):
    files.write_failures([FAILURE])
    assert files.remove(["/nowhere"]).failures == ["/nowhere/f.mp4"]
    assert files.failures() == []


def test_prune_removes_what_is_gone_and_says_it(files, tmp_path):
    files.write_failures([FAILURE])
    (tmp_path / "a" / "2.mp4").unlink()
    gone = str(tmp_path / "a" / "2.mp4")
    assert (files.prune(dry_run=True).videos, files.count()) == ([gone], 6)
    pruned = files.prune()
    assert (pruned.videos, pruned.failures, pruned.kept) == ([gone], ["/nowhere/f.mp4"], {})
    assert (files.count(), files.failures()) == (5, [])
    before = files.state
    assert (files.prune().videos, files.state) == ([], before)


@pytest.mark.parametrize("empty", [True, False])
def test_a_disk_that_is_away_does_not_empty_an_index(tmp_path, empty):
    disk = tmp_path / "disk"
    index = VideoIndex.create(tmp_path / "index", DIM, MADE)
    rows = [row(i, v, path=str(disk / f"{i % 3}" / f"{i}.mp4")) for i, v in enumerate(unit(9))]
    index.write(rows)  # of which no file is there
    if empty:  # its mount point
        disk.mkdir()
    pruned = index.prune()
    assert (pruned.videos, pruned.kept, index.count()) == ([], {str(disk): 9}, 9)
    pruned = index.prune(folders=True)
    assert (len(pruned.videos), pruned.kept, index.count()) == (9, {}, 0)


def test_what_cannot_be_reached_is_not_gone(tmp_path):
    index = VideoIndex.create(tmp_path / "index", DIM, MADE)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    paths = [str(loop / "1.mp4"), "s3://bucket/2.mp4", "/" + "x" * 300, "/x\0"]
    index.write([row(i, v, path=path) for i, (path, v) in enumerate(zip(paths, unit(4), strict=True))])
    assert [video.missing for video in index.videos()] == [False] * 4


def test_a_sound_index_has_no_problems(files, tmp_path):
    files.write_failures([FAILURE])
    assert files.check() == check(tmp_path / "index") == []


def test_check_finds_each_kind_of_damage(files, tmp_path):
    bad = np.ones((3, DIM), np.float32)
    bad[0, 3] = np.inf
    paths = [str(tmp_path / "a" / "1.mp4")] * 2 + [str(tmp_path / "gone.mp4")]
    files.write([row(i + 10, v, path=p) for i, (p, v) in enumerate(zip(paths, bad, strict=True))])
    table = lancedb.connect(tmp_path / "index").open_table("videos")
    table.add(table.search().where("id = 'v10'").limit(1).to_arrow())
    problems = "\n".join(check(tmp_path / "index"))
    for words in (
        "2 vectors with numbers that are not finite",
        "2 vectors that are not of unit norm",
        "1 files that are gone, the first " + str(tmp_path / "gone.mp4"),
        "1 rows more than ids",
    ):
        assert words in problems


def test_check_finds_rows_without_an_index_and_files_of_the_table_that_are_lost(files, tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 3)
    assert "the indexes do not cover its 6 rows" in files.check()[0]
    next((tmp_path / "index" / "videos.lance" / "data").iterdir()).unlink()
    assert "table videos: index" in check(tmp_path / "index")[0]


def test_hits_whose_files_are_gone_are_marked_and_left_out_on_request(tmp_path):
    index = VideoIndex.create(tmp_path / "index", DIM, MADE)
    vectors, query = unit(60), unit(1, 9)[0]
    order = np.argsort(-(vectors @ query))
    there = set(order[[5, 21, 40, 59]].tolist())
    for number in there:
        (tmp_path / f"{number}.mp4").write_text("")
    index.write([row(i, v, path=str(tmp_path / f"{i}.mp4")) for i, v in enumerate(vectors)])
    assert [hit.missing for hit in index.search(query, 7)] == [True] * 5 + [False, True]
    for ids in (None, {f"v{i}" for i in range(60)}):
        hits = index.search(query, 3, existing=True, ids=ids)
        assert [(hit.rank, hit.id) for hit in hits] == [(1, f"v{order[5]}"), (2, f"v{order[21]}"), (3, f"v{order[40]}")]
        assert len(index.search(query, 60, existing=True, ids=ids)) == 4
    assert index.search(query, 1, existing=True, furthest=True)[0].id == f"v{order[59]}"


def test_those_that_exist_are_found_behind_the_vector_index(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2000)
    monkeypatch.setattr(nearest, "MOST_FETCHED", 200)
    index = VideoIndex.create(tmp_path / "index", 64, MADE)
    vectors, query = unit(3000, 1, 64), unit(1, 2, 64)[0]
    last = int(np.argmin(vectors @ query))
    (tmp_path / f"{last}.mp4").write_text("")
    index.write([row(i, v, path=str(tmp_path / f"{i}.mp4")) for i, v in enumerate(vectors)])
    index.finish()
    assert [hit.id for hit in index.search(query, 2, existing=True)] == [f"v{last}"]
