"""Copies of videos are found by their frames, with what they are; different videos are not."""

import json
import shutil

import lancedb
import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import duplicates, embed_videos, open_index, read_frames
from clip2video_plugin.backfill import add_thumbnails
from clip2video_plugin.errors import QueryError

from .copies import blank, films, redrawn, scaled, write


@pytest.fixture(scope="module")
def library(tmp_path_factory, model):
    """A folder of ten videos, ten of the same captions, and copies of the first ones; and its index."""
    root = tmp_path_factory.mktemp("library")
    made, others = films(10, seed=41), redrawn(10, seed=41)
    for number, (film, other) in enumerate(zip(made, others, strict=True)):
        write(root / "train" / f"{number}.mp4", film)
        write(root / "train" / f"other-{number}.mp4", other)
    write(root / "test" / "worse.mp4", made[0], crf=40)
    write(root / "test" / "small.mp4", scaled(made[1], 48))
    write(root / "test" / "cut.mp4", made[2][5:])
    write(root / "test" / "mirror.mp4", made[3][:, :, ::-1])
    write(root / "test" / "late.mp4", np.concatenate([blank(1), made[4]]))
    shutil.copy(root / "train" / "5.mp4", root / "test" / "same.mp4")
    folder = root / "test" / "images"
    folder.mkdir()
    for number, frame in enumerate(made[6]):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    (folder / "frames.json").write_text(
        json.dumps({"timestamps": [n / 8 for n in range(24)], "policy": "all", "duration": 3.0})
    )
    embed_videos([root / "train", root / "test"], index=root / "index", model=model)
    return root


def kinds(root, found):
    """(whole, copy) -> what it is, with names below the root."""

    def name(video):
        return video.path.removeprefix(f"{root}/")

    return {
        (name(group.videos[pair.first]), name(group.videos[pair.second])): pair
        for group in found.groups
        for pair in group.pairs
    }


def test_copies_are_found_with_what_they_are_and_nothing_else(library):
    found = duplicates(library / "index")
    pairs = kinds(library, found)
    # of copies as long as each other, the larger file is named first
    assert {(*(files if pair.kind == "trim" else sorted(files)), pair.kind) for files, pair in pairs.items()} == {
        ("test/worse.mp4", "train/0.mp4", "re-encode"),
        ("test/small.mp4", "train/1.mp4", "scaled"),
        ("train/2.mp4", "test/cut.mp4", "trim"),
        ("test/mirror.mp4", "train/3.mp4", "mirror"),
        ("test/late.mp4", "train/4.mp4", "trim"),
        ("test/same.mp4", "train/5.mp4", "identical"),
        ("test/images", "train/6.mp4", "re-encode"),
    }
    assert (found.searched, found.without, found.blank, found.leaks) == (27, 0, 0, 0)
    cut, late = pairs["train/2.mp4", "test/cut.mp4"], pairs["test/late.mp4", "train/4.mp4"]
    assert (cut.start, cut.end) == (pytest.approx(5 / 8, abs=0.15), pytest.approx(3, abs=0.15))
    assert (late.start, late.end) == (pytest.approx(1, abs=0.15), pytest.approx(4, abs=0.15))


def test_leaks_are_pairs_in_two_splits(library):
    by_folder, by_glob = (
        duplicates(library / "index", by="folder"),
        duplicates(library / "index", by=["train/*", "*/test/*"]),
    )
    for found in (by_folder, by_glob):
        assert found.leaks == 7
        assert all(len(group.leaks) == 1 for group in found.groups)
    assert {s for g in by_folder.groups for v in g.videos for s in v.splits} == {"train", "test"}
    assert {s for g in by_glob.groups for v in g.videos for s in v.splits} == {"train/*", "*/test/*"}
    assert duplicates(library / "index", by=["*"]).leaks == 0
    ids = {video.path: video.id for group in by_folder.groups for video in group.videos}
    one = {ids[str(library / "train/0.mp4")]: ["a"], ids[str(library / "test/worse.mp4")]: ["b", "c"]}
    assert duplicates(library / "index", by=one).leaks == 1
    assert duplicates(library / "index", by=one).groups[0].leaks  # which come first


def test_some_rows_alone(library):
    index = open_index(library / "index")
    here = [entry.id for entry in index.videos([library / "train"])]
    assert duplicates(index, ids=here).groups == ()
    assert duplicates(index, ids=[]).searched == 0


def test_blank_starts_make_no_copies(tmp_path, model):
    for number, film in enumerate(films(6, seed=43)):
        write(tmp_path / f"{number}.mp4", np.concatenate([blank(6), film]))
    for number, grey in enumerate((0, 0, 128)):
        write(tmp_path / f"blank-{number}.mp4", blank(3 + number, grey=grey))
    embed_videos([tmp_path], index=tmp_path / "index", model=model)
    found = duplicates(tmp_path / "index")
    assert (found.groups, found.blank, found.searched) == ((), 3, 9)


def test_a_clip_of_a_longer_video_is_found_where_it_lies(tmp_path, model):
    made = films(6, seed=44, seconds=8)
    write(tmp_path / "long.mp4", np.concatenate(made[:3]))
    write(tmp_path / "clip.mp4", made[1])
    write(tmp_path / "else.mp4", made[4])
    write(tmp_path / "mirrored.mp4", made[2][:, :, ::-1])
    embed_videos([tmp_path], index=tmp_path / "index", model=model)
    pairs = kinds(tmp_path, duplicates(tmp_path / "index"))
    assert pairs.keys() == {("long.mp4", "clip.mp4"), ("long.mp4", "mirrored.mp4")}
    part, mirror = pairs["long.mp4", "clip.mp4"], pairs["long.mp4", "mirrored.mp4"]
    assert (part.kind, part.start, part.end) == ("part", pytest.approx(8, abs=0.4), pytest.approx(16, abs=0.4))
    assert (mirror.kind, mirror.start, mirror.end) == ("mirror", pytest.approx(16, abs=0.4), pytest.approx(24, abs=0.4))


def test_a_short_clip_is_found_in_the_windows_of_a_long_video(tmp_path, model):
    made = films(12, seed=44, seconds=4)
    write(tmp_path / "long.mp4", np.concatenate(made))
    write(tmp_path / "clip.mp4", made[7], crf=35)
    embed_videos([tmp_path], index=tmp_path / "index", model=model)
    assert duplicates(tmp_path / "index").groups == ()  # one of its twelve frames is not enough
    embed_videos([tmp_path], index=tmp_path / "index", model=model, windows="4/2")
    rows = open_index(tmp_path / "index").windows().columns(["path", "start", "end", "thumbnails"]).to_pylist()
    frames = read_frames(tmp_path / "long.mp4", policy="fps", fps=3, size=model.config.image_size)
    due = np.arange(len(frames)) / 3
    rows = [row for row in rows if row["path"].endswith("long.mp4")]
    assert len(rows) == 23
    for row in rows:
        inside = (due >= row["start"] - 1e-6) & (due < row["end"] - 1e-6)
        assert row["thumbnails"] == frames.thumbnails[inside].tobytes()
    (pair,) = kinds(tmp_path, duplicates(tmp_path / "index")).values()
    assert (pair.kind, pair.start, pair.end) == ("part", pytest.approx(28, abs=0.3), pytest.approx(32, abs=0.3))


def test_many_copies_of_one_video_are_one_group(tmp_path, model):
    film, *_, other = films(5, seed=45)
    for number in range(40):
        write(tmp_path / f"{number:02d}.mp4", film, crf=18 + number // 2)
    write(tmp_path / "other.mp4", other)
    embed_videos([tmp_path], index=tmp_path / "index", model=model)
    (group,) = duplicates(tmp_path / "index").groups
    assert len(group.videos) == 40
    assert group.pair_of.keys() == set(range(1, 40))


def test_an_index_of_an_earlier_version_is_read_on_request(library, tmp_path):
    shutil.copytree(library / "index", tmp_path / "index")
    table = lancedb.connect(tmp_path / "index").open_table("videos")
    table.drop_columns(["thumbnails"])
    found = duplicates(tmp_path / "index")
    assert (found.searched, found.without, found.groups) == (0, 27, ())
    told = []
    assert add_thumbnails(tmp_path / "index", progress=lambda done, *, total: told.append((done, total))) == []
    assert told[-1] == (27, 27)
    expected = kinds(library, duplicates(library / "index"))
    again = kinds(library, duplicates(tmp_path / "index"))
    assert {f: p.kind for f, p in again.items()} == {f: p.kind for f, p in expected.items()}
    now, before = (
        open_index(i).columns(["id", "thumbnails", "captions"]) for i in (tmp_path / "index", library / "index")
    )
    mine = dict(zip(now["id"].to_pylist(), now["thumbnails"].to_pylist(), strict=True))
    for i, kept in zip(before["id"].to_pylist(), before["thumbnails"].to_pylist(), strict=True):
        shown, other = (np.frombuffer(b, np.uint8).astype(int) for b in (mine[i], kept))
        assert np.abs(shown - other).max() <= 12
    assert add_thumbnails(tmp_path / "index") == []  # nothing is left to do


def test_files_that_went_or_changed_are_named_and_left_out(tmp_path, model):
    for number, film in enumerate(films(3, seed=46)):
        write(tmp_path / f"{number}.mp4", film)
    embed_videos([tmp_path], index=tmp_path / "index", model=model)
    lancedb.connect(tmp_path / "index").open_table("videos").drop_columns(["thumbnails"])
    (tmp_path / "0.mp4").unlink()
    write(tmp_path / "1.mp4", films(1, seed=47)[0])
    failed = {failure.path: failure.reason for failure in add_thumbnails(tmp_path / "index")}
    assert failed == {
        str(tmp_path / "0.mp4"): "it is gone",
        str(tmp_path / "1.mp4"): "it has changed since it was embedded",
    }
    assert duplicates(tmp_path / "index").without == 2
    embed_videos([tmp_path], index=tmp_path / "index", model=model)  # embeds the changed one
    assert duplicates(tmp_path / "index").without == 1


def test_a_moved_video_keeps_its_thumbnails(tmp_path, model):
    write(tmp_path / "a.mp4", films(1, seed=48)[0])
    embed_videos([tmp_path], index=tmp_path / "index", model=model)
    before = open_index(tmp_path / "index").columns(["thumbnails"])
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    assert embed_videos([tmp_path], index=tmp_path / "index", model=model).moved == 1
    assert open_index(tmp_path / "index").columns(["thumbnails"]) == before


@pytest.mark.parametrize("options", [{"by": "field"}, {"least": 2}, {"least": True}, {"least": "much"}])
def test_what_is_not_allowed_is_refused(library, options):
    with pytest.raises(QueryError, match=f"{next(iter(options))} is "):
        duplicates(library / "index", **options)


def test_the_command_line_shows_groups_and_leaks(library, tmp_path, c2v_here):
    code, out, err = c2v_here("index", "duplicates", "--index", library / "index", "--by", "folder")
    assert (code, err) == (0, b"")
    lines = out.decode().splitlines()
    assert lines[-2:] == ["7 groups of 14 videos, among 27", "7 pairs lie in two splits"]
    assert any("cut.mp4" in line and "trim of 0.5-2.9 s" in line for line in lines)
    code, out, _ = c2v_here(
        "index", "duplicates", "--index", library / "index", "--json", "--splits", "train/*", "--splits", "test/*"
    )
    found = json.loads(out)
    assert (code, found["searched"], found["leaks"], len(found["groups"])) == (0, 27, 7, 7)
    assert found == duplicates(library / "index", by=["train/*", "test/*"]).to_dict() | {
        "groups": found["groups"],
    }
    both = c2v_here("index", "duplicates", "--index", library / "index", "--by", "tags", "--splits", "a/*")
    assert both[0] == 2
    assert c2v_here("index", "duplicates", "--index", library / "index", "--by", "size")[0] == 1
    shutil.copytree(library / "index", tmp_path / "index")
    lancedb.connect(tmp_path / "index").open_table("videos").drop_columns(["thumbnails"])
    code, out, err = c2v_here("index", "duplicates", "--index", tmp_path / "index")
    assert (code, out, b"--read" in err) == (0, b"0 groups of 0 videos, among 0\n", True)
    code, out, err = c2v_here("index", "duplicates", "--index", tmp_path / "index", "--read")
    assert (code, out.decode().splitlines()[-1], err) == (0, "7 groups of 14 videos, among 27", b"")
