"""A moved or renamed video keeps its vector; a copy, another content or an old path that still exists does not."""

import os
import shutil

import lancedb
import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import embed_videos, open_index
from clip2video_plugin.embed import embed_items
from clip2video_plugin.encode import Item
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.provenance import provenance
from clip2video_plugin.rows import video_id

from .video import clips


@pytest.fixture
def videos(world, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(3):
        shutil.copy(world[0] / f"{i:05d}.mp4", folder / f"{i}.mp4")
    return folder


def rows(uri):
    found = lancedb.connect(uri).open_table("videos").to_arrow().to_pylist()
    assert len({row["id"] for row in found}) == len({row["path"] for row in found}) == len(found)
    return {row["path"]: row for row in found}


def counts(report):
    return report.embedded, report.moved, report.skipped, len(report.failed)


def test_a_moved_folder_is_taken_over_instead_of_embedded_again(videos, model, tmp_path):
    uri = tmp_path / "index"
    embed_videos(videos, index=uri, model=model)
    before = rows(uri)
    videos.rename(tmp_path / "elsewhere")
    assert counts(embed_videos(tmp_path / "elsewhere", index=uri, model=model)) == (0, 3, 0, 0)
    after = rows(uri)
    assert set(after) == {str(tmp_path / "elsewhere" / f"{i}.mp4") for i in range(3)}
    for path, row in after.items():
        old = before[path.replace("elsewhere", "videos")]
        assert row["id"] == video_id(path) != old["id"]
        assert {k: v for k, v in row.items() if k not in ("id", "path")} == {
            k: v for k, v in old.items() if k not in ("id", "path")
        }
    assert counts(embed_videos(tmp_path / "elsewhere", index=uri, model=model)) == (0, 0, 3, 0)
    (tmp_path / "elsewhere").rename(videos)  # and back
    assert counts(embed_videos(videos, index=uri, model=model)) == (0, 3, 0, 0)
    assert rows(uri) == before


def test_a_copy_is_a_video_of_its_own(videos, model, tmp_path):
    embed_videos(videos, index=tmp_path / "index", model=model)
    shutil.copy2(videos / "0.mp4", videos / "copy.mp4")  # of the same time
    assert counts(embed_videos(videos, index=tmp_path / "index", model=model)) == (1, 0, 3, 0)
    assert len(rows(tmp_path / "index")) == 4


def test_a_moved_file_that_cannot_be_read_for_a_moment_is_not_there_twice(videos, model, tmp_path, monkeypatch):
    embed_videos(videos, index=tmp_path / "index", model=model)
    (videos / "1.mp4").rename(videos / "moved.mp4")
    with monkeypatch.context() as patch:
        patch.setattr("clip2video_plugin.rows.fingerprint", lambda path: None)  # a read that fails once, on a share say
        report = embed_videos(videos, index=tmp_path / "index", model=model)
    assert counts(report) == (0, 0, 2, 1)
    assert report.failed[0].reason == "it may have been moved here, and cannot be read; embed it again"
    assert counts(embed_videos(videos, index=tmp_path / "index", model=model)) == (0, 1, 2, 0)
    assert {path.rsplit("/", 1)[1] for path in rows(tmp_path / "index")} == {"0.mp4", "2.mp4", "moved.mp4"}
    assert open_index(tmp_path / "index").failures() == []


def test_two_moved_files_of_the_same_content_stay_two(videos, model, tmp_path):
    shutil.copy2(videos / "0.mp4", videos / "copy.mp4")
    embed_videos(videos, index=tmp_path / "index", model=model)
    (videos / "new").mkdir()
    for name in ("0.mp4", "copy.mp4"):
        (videos / name).rename(videos / "new" / name)
    assert counts(embed_videos(videos, index=tmp_path / "index", model=model)) == (0, 2, 2, 0)
    assert len(rows(tmp_path / "index")) == 4


def test_of_a_moved_file_and_its_copy_one_takes_over(videos, model, tmp_path):
    embed_videos(videos, index=tmp_path / "index", model=model)
    shutil.copy2(videos / "0.mp4", videos / "a copy.mp4")
    (videos / "0.mp4").rename(videos / "moved.mp4")
    assert counts(embed_videos(videos, index=tmp_path / "index", model=model)) == (1, 1, 2, 0)
    assert len(rows(tmp_path / "index")) == 4


def test_another_content_of_the_same_size_and_time_is_embedded(videos, model, tmp_path):
    embed_videos(videos / "0.mp4", index=tmp_path / "index", model=model)
    stat, data = (videos / "0.mp4").stat(), (videos / "1.mp4").read_bytes()
    (videos / "0.mp4").unlink()
    other = videos / "other.mp4"
    other.write_bytes((data + bytes(stat.st_size))[: stat.st_size])
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report = embed_videos(other, index=tmp_path / "index", model=model)
    assert report.moved == 0
    assert report.embedded + len(report.failed) == 1


def test_a_file_moved_over_another_indexed_one_takes_its_place(videos, model, tmp_path):
    embed_videos(videos, index=tmp_path / "index", model=model)
    before = rows(tmp_path / "index")
    (videos / "0.mp4").replace(videos / "1.mp4")
    assert counts(embed_videos(videos, index=tmp_path / "index", model=model)) == (0, 1, 1, 0)
    after = rows(tmp_path / "index")
    assert set(after) == {str(videos / "1.mp4"), str(videos / "2.mp4")}
    assert after[str(videos / "1.mp4")]["vector"] == before[str(videos / "0.mp4")]["vector"]


def test_a_change_of_nothing_but_the_time_is_embedded_again(videos, model, tmp_path):
    embed_videos(videos, index=tmp_path / "index", model=model)
    size, mtime = (videos / "0.mp4").stat().st_size, (videos / "0.mp4").stat().st_mtime
    data = (videos / "0.mp4").read_bytes()
    (videos / "0.mp4").write_bytes(data[:-1] + b"x")  # as long as before
    os.utime(videos / "0.mp4", (mtime + 5, mtime + 5))
    assert (videos / "0.mp4").stat().st_size == size
    assert counts(embed_videos(videos, index=tmp_path / "index", model=model)) == (1, 0, 2, 0)
    assert open_index(tmp_path / "index").stamps([video_id(videos / "0.mp4")]) == {
        video_id(videos / "0.mp4"): (size, mtime + 5)
    }


def test_a_moved_folder_of_frames_is_taken_over(model, tmp_path):
    (tmp_path / "frames" / "one").mkdir(parents=True)
    for i in range(6):
        Image.fromarray(clips.picture(i)).save(tmp_path / "frames" / "one" / f"{i + 1:08d}.jpg")
    embed_videos(tmp_path / "frames", index=tmp_path / "index", model=model)
    (tmp_path / "frames" / "one").rename(tmp_path / "frames" / "two")
    assert counts(embed_videos(tmp_path / "frames", index=tmp_path / "index", model=model)) == (0, 1, 0, 0)
    assert set(rows(tmp_path / "index")) == {str(tmp_path / "frames" / "two")}


def test_a_table_made_before_is_searched_and_gets_its_fingerprints_with_the_first_write(videos, model, tmp_path):
    from clip2video_plugin import search

    uri = tmp_path / "index"
    embed_videos([videos / "0.mp4", videos / "1.mp4"], index=uri, model=model)
    table = lancedb.connect(uri).open_table("videos")
    table.drop_columns(["fingerprint"])
    assert len(search("a red square", index=uri, model=model).hits) == 2
    assert counts(embed_videos(videos, index=uri, model=model)) == (1, 0, 2, 0)
    found = rows(uri)
    assert [found[str(videos / f"{i}.mp4")]["fingerprint"] is None for i in range(3)] == [True, True, False]
    assert open_index(uri).provenance == provenance(model)
    (videos / "2.mp4").rename(videos / "3.mp4")
    assert embed_videos(videos, index=uri, model=model).moved == 1


def test_a_samples_row_follows_its_path_and_is_no_other_samples(videos, model, tmp_path):
    index = VideoIndex.create(tmp_path / "index", model.config.vector_dim, provenance(model), table="brain_x")
    embed_items([Item(videos / "0.mp4", "s0", sample_id="s0")], model, index)
    vector = index.vectors(["s0"])["s0"]
    (videos / "0.mp4").rename(videos / "moved.mp4")
    report = embed_items([Item(videos / "moved.mp4", "s0", sample_id="s0")], model, index)
    assert counts(report) == (0, 1, 0, 0)
    assert index.entries(["s0"])["s0"].path == str(videos / "moved.mp4")
    np.testing.assert_array_equal(index.vectors(["s0"])["s0"], vector)
    (videos / "moved.mp4").rename(videos / "again.mp4")
    assert counts(embed_items([Item(videos / "again.mp4", "s1", sample_id="s1")], model, index)) == (1, 0, 0, 0)
    assert set(index.ids()) == {"s0", "s1"}


@pytest.mark.parametrize("how", ["open", "str", "path"])
def test_an_index_is_a_uri_or_open(videos, model, tmp_path, how, monkeypatch):
    from clip2video_plugin import search
    from clip2video_plugin.errors import VideoIndexError

    monkeypatch.chdir(tmp_path)
    embed_videos(videos / "0.mp4", index="index", model=model)
    given = {"open": open_index("index"), "str": "index", "path": tmp_path / "index"}[how]
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away" if how == "open" else tmp_path)
    assert embed_videos(videos, index=given, model=model).embedded == 2
    assert len(search("a red square", index=given, model=model).hits) == 3
    assert open_index(given).count() == 3
    assert VideoIndex.create(given, model.config.vector_dim, provenance(model)).count() == 3
    assert list((tmp_path / "away").iterdir()) == []
    for wrong in (7, object(), "", b"index"):
        with pytest.raises(VideoIndexError, match="give a folder, a LanceDB URI, or an open index"):
            embed_videos(videos, index=wrong, model=model)
