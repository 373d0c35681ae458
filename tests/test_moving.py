"""An index after its videos went elsewhere: nothing is embedded again, and a move that was stopped goes on."""

import os
import shutil

import numpy as np
import pytest

from clip2video_plugin import embed_videos, open_index
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.moving import move_videos
from clip2video_plugin.places import place_of, video_id


@pytest.fixture
def library(world, model, tmp_path):
    """A folder of three videos with windows and a broken one, embedded."""
    folder = tmp_path / "disk" / "films"
    (folder / "deeper").mkdir(parents=True)
    for i, name in enumerate(["it's a.mp4", "b.mp4", "deeper/c.mp4"]):
        shutil.copy(world[0] / f"{i:05d}.mp4", folder / name)
    (folder / "broken.mp4").write_text("no video")
    embed_videos(folder, index=tmp_path / "index", model=model, windows="1/0.5")
    return folder


def facts(index, folder):
    """All of an index by path below a folder, without what a move changes."""
    ids = list(index.ids())
    spans = index.windows().windows_by_video(ids)
    return {
        os.path.relpath(row["path"], folder): (
            row["vector"].tolist(),
            row["added"],
            spans[i][0].tolist(),
            spans[i][1].tolist(),
        )
        for i, row in index.rows(ids).items()
    }


def test_a_library_on_another_disk_is_known_there_and_not_embedded_again(library, model, tmp_path):
    index, there = open_index(tmp_path / "index"), tmp_path / "mnt" / "new"
    before = facts(index, library)
    shutil.copytree(library, there, copy_function=shutil.copyfile)  # with other times of change
    library.rename(tmp_path / "gone")
    would = move_videos(library, there, index, dry_run=True)
    assert (would.videos, would.failures, would.absent, would.changed) == (3, 1, 0, 0)
    assert facts(index, library) == before
    assert move_videos(library, there, index) == would
    assert facts(index, there) == before
    assert set(index.ids()) == {video_id(there / name) for name in before}
    assert {i.split("/")[0] for i in index.windows().ids()} == set(index.ids())
    again = embed_videos(there, index=index, model=model, windows="1/0.5")
    assert (again.embedded, again.windowed, again.skipped, again.moved) == (0, 0, 3, 0)
    assert [row["path"] for row in index.failures()] == [str(there / "broken.mp4")]
    with pytest.raises(VideoIndexError, match="has nothing at or below"):
        move_videos(library, there, index)


def test_into_a_store(library, model, tmp_path, s3):
    index = open_index(tmp_path / "index")
    for name in ("it's a.mp4", "b.mp4", "deeper/c.mp4"):
        s3.put(f"films/{name}", library / name)
    moved = move_videos(library, s3.uri("films"), index)
    assert (moved.videos, moved.absent, moved.changed) == (3, 0, 0)
    assert set(index.ids()) == {
        video_id(place_of(s3.uri(f"films/{name}"))) for name in ("it's a.mp4", "b.mp4", "deeper/c.mp4")
    }
    again = embed_videos(s3.uri("films"), index=index, model=model, windows="1/0.5")
    assert (again.embedded, again.skipped) == (0, 3)


def test_what_is_absent_is_moved_and_what_is_another_is_embedded_again(library, model, tmp_path):
    index, there = open_index(tmp_path / "index"), tmp_path / "new"
    shutil.copytree(library, there)
    (there / "b.mp4").unlink()
    shutil.copy(library / "b.mp4", there / "it's a.mp4")
    moved = move_videos(library, there, index)
    assert (moved.videos, moved.absent, moved.first_absent, moved.changed) == (3, 1, str(there / "b.mp4"), 1)
    again = embed_videos(there, index=index, model=model, windows="1/0.5")
    assert (again.embedded, again.skipped) == (1, 1)
    rows = {os.path.basename(row["path"]): row["vector"] for row in index.rows(list(index.ids())).values()}
    np.testing.assert_allclose(rows["it's a.mp4"], rows["b.mp4"], atol=1e-5)


def test_one_that_was_stopped_goes_on(library, tmp_path, monkeypatch):
    from clip2video_plugin import moving

    index, there = open_index(tmp_path / "index"), tmp_path / "new"
    before = facts(index, library)
    shutil.copytree(library, there)
    monkeypatch.setattr(moving, "ROWS", 1)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move_videos(library, there, index, progress=stop)
    assert index.count() == 3
    assert move_videos(library, there, index).videos == 2
    assert facts(index, there) == before


def test_places_within_each_other_are_refused(library, tmp_path):
    for new in (library, library / "deeper", library.parent):
        with pytest.raises(VideoIndexError, match="name two places apart"):
            move_videos(library, new, tmp_path / "index")
