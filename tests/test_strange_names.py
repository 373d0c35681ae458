"""Videos of any name that the system allows, and paths that cannot be read: embedded, found, failed, never raised."""

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from clip2video_plugin import embed_videos, open_index, read_frames, search
from clip2video_plugin.errors import Clip2VideoError, QueryError, VideoIndexError, VideoReadError
from clip2video_plugin.model.checkpoint import load_model
from clip2video_plugin.video.extract import extract_frames
from clip2video_plugin.video.files import find_videos

NAMES = [
    b"caf\xe9.mp4",  # latin-1
    b"\xff\xfe.mp4",
    b"two\nlines.mp4",
    b"tab\there.mp4",
    b"\x1b[31mred\x1b[0m\x07.mp4",
    b"[red]markup[bold] :smile:.mp4",
    b'it\'s "quoted" \\ back`tick$(x).mp4',
    b"-dash.mp4",
    b"--index.mp4",
    b"~nouser.mp4",
    "sep\u2028arated \u202efdp.mp4".encode(),
    "größe 🎬.mp4".encode(),
    b"a" * 251 + b".mp4",
]


@pytest.fixture(scope="module")
def strange(world, tmp_path_factory):
    """A folder of good videos, and two broken ones, by any name."""
    folder = os.fsencode(tmp_path_factory.mktemp("strange"))
    for i, name in enumerate(NAMES):
        os.link(world[0] / f"{i:05d}.mp4", os.path.join(folder, name))
    for name in (b"broken\xe9.mp4", b"empty\n\x1b[2J.mp4"):
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(b"no video" if b"broken" in name else b"")
    return Path(os.fsdecode(folder))


@pytest.fixture(scope="module")
def embedded(strange, model, tmp_path_factory):
    uri = tmp_path_factory.mktemp("strange-index")
    return uri, embed_videos(strange, index=uri, model=model)


def test_a_video_of_any_name_is_embedded_and_found(strange, embedded, model):
    uri, report = embedded
    assert (report.embedded, len(report.failed)) == (len(NAMES), 2)
    hits = search("a red square", index=uri, model=model, k=100).hits
    assert sorted(os.fsencode(hit.path) for hit in hits) == sorted(os.path.join(os.fsencode(strange), n) for n in NAMES)
    assert all(os.path.exists(hit.path) for hit in hits)


def test_it_is_skipped_when_unchanged(strange, embedded, model):
    again = embed_videos(strange, index=embedded[0], model=model)
    assert (again.embedded, again.skipped, len(again.failed)) == (0, len(NAMES), 2)


def test_what_cannot_be_read_is_listed_by_the_name_that_open_takes(strange, embedded):
    expected = sorted(os.path.join(os.fsencode(strange), n) for n in (b"broken\xe9.mp4", b"empty\n\x1b[2J.mp4"))
    assert sorted(os.fsencode(failure.path) for failure in embedded[1].failed) == expected
    assert sorted(os.fsencode(row["path"]) for row in open_index(embedded[0]).failures()) == expected


def test_every_reader_opens_such_a_file(strange):
    for reader in ("auto", "pyav", "decord"):
        assert len(read_frames(strange / os.fsdecode(NAMES[0]), size=32, reader=reader)) == 12


def test_frames_of_any_name_are_written_and_can_be_embedded(strange, model, tmp_path):
    some = [strange / os.fsdecode(name) for name in NAMES[:6]]
    assert extract_frames(some, tmp_path / "out", policy="uniform", count=2).written == 6
    assert extract_frames(some, tmp_path / "out", policy="uniform", count=2).skipped == 6
    assert {os.fsencode(f.name) + b".mp4" for f in (tmp_path / "out").iterdir()} == set(NAMES[:6])
    report = embed_videos(tmp_path / "out", index=tmp_path / "index", model=model)
    assert (report.embedded, report.failed) == (6, [])


def test_frames_of_a_file_of_dots_stay_below_the_output(world, tmp_path):
    os.link(world[0] / "00000.mp4", tmp_path / "...mp4")
    extract_frames([tmp_path / "...mp4"], tmp_path / "out", policy="uniform", count=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["...mp4"]


@pytest.mark.parametrize("name", ["a" * 300 + ".mp4", "nul\0.mp4", "\ud800.mp4", "loop.mp4", "plain.txt/x.mp4"])
def test_a_path_that_no_file_can_have_is_one_line(tmp_path, name):
    (tmp_path / "plain.txt").touch()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(VideoReadError) as error:
        list(find_videos([tmp_path / name]))
    assert len(str(error.value).splitlines()) == 1
    str(error.value).encode()


def test_a_tilde_of_nobody_is_a_file_like_any_other(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VideoReadError, match=r"~nouser\.mp4: no such file"):
        list(find_videos("~nouser.mp4"))
    os.link(world[0] / "00000.mp4", tmp_path / "~nouser.mp4")
    assert list(find_videos("~nouser.mp4")) == [tmp_path / "~nouser.mp4"]
    with pytest.raises(VideoIndexError, match=r"no index at .*~nouser"):
        open_index("~nouser")


@contextmanager
def as_nobody():
    """Without root's right to read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_may_not_be_read_fails_by_name_and_the_rest_is_embedded(world, model):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        for place in ("open", "unlistable", "unenterable/deeper", "."):
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / "a.mp4").write_bytes((world[0] / "00000.mp4").read_bytes())
        (folder / "unenterable" / "notes.txt").touch()
        (folder / "unreadable.mp4").write_bytes((world[0] / "00001.mp4").read_bytes())
        os.link(folder / "a.mp4", folder / "unenterable" / "b.mp4")
        modes = {"unlistable": 0o311, "unenterable": 0o744, "unreadable.mp4": 0o200}
        for place, mode in modes.items():
            if os.geteuid():  # an owner's rights are the first three bits
                mode = (mode & 0o7) << 6
            (folder / place).chmod(mode)
        try:
            with as_nobody():
                report = embed_videos(folder, index=folder / "index", model=model)
                named = embed_videos([folder / "unenterable" / "b.mp4"], index=folder / "index", model=model)
        finally:
            for place in modes:
                (folder / place).chmod(0o777)
        assert report.embedded == 2  # open/a.mp4 and a.mp4
        failed = {str(Path(f.path).relative_to(folder)): f.reason.lower() for f in report.failed}
        assert failed.keys() == {"unlistable", "unenterable/deeper", "unenterable/b.mp4", "unreadable.mp4"}
        assert set(failed.values()) == {"permission denied"}
        assert [f.reason for f in named.failed] == ["permission denied"]


def test_folders_deeper_than_a_path_may_be_long_are_a_failure(world, model, tmp_path):
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):  # of a recursive search, as deep as Python allows
        os.mkdir("dddd", dir_fd=at)
        below = os.open("dddd", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    os.link(world[0] / "00000.mp4", tmp_path / "good.mp4")
    found = [str(path.relative_to(tmp_path)) for path in find_videos(tmp_path)]
    subprocess.run(["rm", "-r", tmp_path / "dddd"], check=True)
    assert found[1] == "good.mp4"
    assert set(Path(found[0]).parts) == {"dddd"}


def test_a_query_that_is_not_text_is_refused_in_words(embedded, model):
    for query in (os.fsdecode(b"a dog at the caf\xe9"), "\ud800"):
        with pytest.raises(QueryError, match="is not text in UTF-8") as error:
            search(query, index=embedded[0], model=model)
        str(error.value).encode()


def test_a_model_of_any_name_makes_an_index_and_searches_it(world, tmp_path):
    from clip2video_plugin.model.installed import find_checkpoint

    folder = tmp_path / os.fsdecode(b"mod\xe8le\n")
    folder.symlink_to(find_checkpoint()[1])
    copy = tmp_path / os.fsdecode(b"copy\xe8")
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    embed_videos(world[0] / "00000.mp4", index=tmp_path / "index", model=copy)
    assert os.fsencode(open_index(tmp_path / "index").provenance.model) == b"copy\xe8"
    assert len(search("a red square", index=tmp_path / "index", model=copy).hits) == 1


@pytest.mark.parametrize("act", [lambda u, m: open_index(u), lambda u, m: embed_videos([], index=u, model=m)])
def test_an_index_where_none_can_be_is_one_line(model, tmp_path, act):
    for name in (os.fsdecode(b"\xff"), "a" * 300, "line\nbreak", "\x1b[31m"):
        with pytest.raises(VideoIndexError) as error:
            act(tmp_path / name, model)
        assert len(str(error.value).splitlines()) == 1
        str(error.value).encode()


@pytest.mark.parametrize("path", ["a" * 300, "~nouser", "\ud800", "\x1b[31m\n"])
def test_a_model_that_cannot_be_is_one_line(path):
    with pytest.raises(Clip2VideoError) as error:
        load_model(path)
    assert len(str(error.value).splitlines()) == 1
    str(error.value).encode()


def test_fiftyone_samples_of_any_name_are_embedded_or_left_out(world, model, tmp_path, caplog):
    import fiftyone as fo

    from clip2video_plugin import compute_clip2video

    good = ["two\nlines.mp4", "\x1b[31mred.mp4", 'it\'s "q".mp4', "\u2028.mp4"]
    for name in good:
        os.link(world[0] / "00000.mp4", tmp_path / name)
    bad = [str(tmp_path / ("a" * 300 + ".mp4")), str(tmp_path / "nul\0.mp4"), str(tmp_path / "gone\x1b[2J.mp4")]
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=path) for path in [*(str(tmp_path / name) for name in good), *bad]])
    run = compute_clip2video(dataset, brain_key="k", model=model, index=tmp_path / "index", progress=False)
    assert run.total_index_size == len(good)
    assert {os.path.basename(p) for p in dataset.sort_by_similarity("a", k=9, brain_key="k").values("filepath")} == {
        *good
    }
    assert "\x1b" not in caplog.text
    dataset.delete()
