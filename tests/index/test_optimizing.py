"""``optimize``: few parts, complete indexes, no versions that nobody needs; again at once, it finds nothing to do."""

import lancedb
import pytest

from clip2video_plugin.errors import IndexBusyError, VideoIndexError
from clip2video_plugin.index import VideoIndex, open_index, upkeep
from clip2video_plugin.index.contents import describe
from clip2video_plugin.index.optimizing import optimize

from .test_store import DIM, MADE, row, unit
from .test_writers import FAILURE, held


def filled(uri, commits=12, rows=20):
    index = VideoIndex.create(uri, DIM, MADE)
    for number in range(commits):
        index.write([row(number * rows + i, v) for i, v in enumerate(unit(rows, number))])
    index.write_failures([FAILURE])
    return index


def test_parts_versions_and_indexes_before_and_after(tmp_path, monkeypatch):
    index = filled(tmp_path)
    query = unit(1, 77)[0]
    hits = [hit.id for hit in index.search(query, 10)]
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 100)
    told = []
    failures, videos = optimize(tmp_path, keep="0s", progress=lambda done, total: told.append((done, total)))
    tuning = optimize(tmp_path, keep="0s")[1]  # how the new index is asked
    assert (failures.name, failures.rows, videos.name, videos.rows) == ("failures", 1, "videos", 240)
    assert (videos.before.parts, videos.after.parts) == (12, 1)
    assert (videos.before.versions, videos.after.versions) == (13, 1)
    assert told == [(1, 2), (2, 2)]
    table = lancedb.connect(tmp_path).open_table("videos")
    assert (table.stats()["fragment_stats"]["num_fragments"], len(table.list_versions())) == (1, 1)
    assert [i.columns for i in table.list_indices()] == [["vector"]]
    assert [hit.id for hit in open_index(tmp_path).search(query, 10)] == hits
    version = table.version
    assert [(one.before, one.after) for one in optimize(tmp_path, keep="0s")] == [
        (one.after, one.after) for one in (failures, tuning, videos)
    ]
    assert lancedb.connect(tmp_path).open_table("videos").version == version


def test_versions_of_the_last_hour_and_of_readers_stay(tmp_path):
    index = filled(tmp_path)
    (_, videos) = optimize(index)
    assert videos.after.versions >= videos.before.versions
    slow = index.vector_batches()
    found = len(next(slow)[0])
    index.delete([f"v{i}" for i in range(100)])
    (_, videos) = optimize(index, keep="0s")
    assert videos.after.versions > 1
    assert found + sum(len(ids) for ids, _ in slow) == 240
    (_, videos) = optimize(index, keep="0s")
    assert videos.after.versions == 1


def test_a_table_whose_making_was_cut_off_is_none_and_is_made_again(tmp_path, monkeypatch):
    filled(tmp_path)
    (tmp_path / "tuning.lance" / "_versions").mkdir(parents=True)
    assert [table.name for table in describe(tmp_path).tables] == ["failures", "videos"]
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 100)
    assert [table.name for table in optimize(tmp_path)] == ["failures", "videos"]
    assert [table.name for table in describe(tmp_path).tables] == ["failures", "tuning", "videos"]


def test_of_two_one_waits_and_says_so(tmp_path):
    filled(tmp_path, 1)
    other = held(tmp_path, 30, upkeep.BUILD_LOCK)
    with pytest.raises(IndexBusyError, match="another process"):
        optimize(tmp_path, seconds=0.2)
    other.kill()
    other.wait(10)
    assert len(optimize(tmp_path, seconds=20)) == 2


def test_an_index_elsewhere(s3):
    filled(s3.uri("index"), 5)
    (_, videos) = optimize(s3.uri("index"), keep="0s")
    assert (videos.before.parts, videos.after.parts, videos.after.versions) == (5, 1, 1)
    assert open_index(s3.uri("index")).count() == 100


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(VideoIndexError, match="no index at"):
        optimize(tmp_path / "none")
    filled(tmp_path, 1)
    with pytest.raises(VideoIndexError, match="keep is 'long'; write how long, as 90s"):
        optimize(tmp_path, keep="long")
