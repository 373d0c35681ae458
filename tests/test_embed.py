"""Embedding: complete, resumable, idempotent, and clear about what failed."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import lancedb
import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import embed_videos, open_index, read_frames, search
from clip2video_plugin.errors import Clip2VideoError, VideoIndexError, VideoReadError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.rows import video_id

from .conftest import C2V
from .video import clips

COPIES = 400


def rows(uri):
    """path -> row, having checked that no path is there twice."""
    table = lancedb.connect(uri).open_table("videos").to_arrow().to_pylist()
    found = {row["path"]: row for row in table}
    assert len(found) == len(table)
    return found


def assert_same_rows(one, other):
    assert one.keys() == other.keys()
    for path, row in one.items():
        same, against = ({k: v for k, v in r.items() if k not in ("vector", "added")} for r in (row, other[path]))
        assert same == against
        np.testing.assert_allclose(row["vector"], other[path]["vector"], atol=1e-5)


@pytest.fixture(scope="module")
def crowd(world, tmp_path_factory):
    """A folder of many small videos."""
    folder = tmp_path_factory.mktemp("crowd")
    sources = sorted(world[0].glob("*.mp4"))
    for i in range(COPIES):
        (folder / f"{i:04d}.mp4").write_bytes(sources[i % len(sources)].read_bytes())
    return folder


@pytest.fixture(scope="module")
def undisturbed(crowd, model, tmp_path_factory):
    uri = tmp_path_factory.mktemp("undisturbed")
    report = embed_videos([crowd], index=uri, model=model)
    assert (report.embedded, report.skipped, report.failed) == (COPIES, 0, [])
    return rows(uri)


def test_rows_say_where_they_come_from(undisturbed, crowd, model):
    row = undisturbed[str(crowd / "0000.mp4")]
    stat = (crowd / "0000.mp4").stat()
    assert (row["id"], row["sample_id"]) == (video_id(crowd / "0000.mp4"), None)
    assert (row["size"], row["mtime"]) == (stat.st_size, stat.st_mtime)
    assert (row["start"], row["end"], row["duration"]) == (0.0, 3.0, 3.0)
    assert np.linalg.norm(row["vector"]) == pytest.approx(1, abs=1e-5)
    assert len(row["vector"]) == model.config.vector_dim


def interrupted(crowd, uri, how):
    """Starts ``c2v embed``, waits until rows exist, and ends it."""
    process = subprocess.Popen(
        [*C2V, "embed", str(crowd), "--index", str(uri), "--batch-size", "4", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if open_index(uri).count():
                break
        except VideoIndexError:
            pass
        time.sleep(0.02)
    process.send_signal(how)
    output, errors = process.communicate(timeout=60)
    return output, errors, process.returncode


def test_kill_9_then_again_gives_the_rows_of_an_undisturbed_run(crowd, undisturbed, tmp_path, c2v):
    *said, code = interrupted(crowd, tmp_path / "index", signal.SIGKILL)
    assert code == -signal.SIGKILL, said
    before = len(rows(tmp_path / "index"))
    assert 0 < before < COPIES
    done = c2v("embed", crowd, "--index", tmp_path / "index", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert f"{COPIES - before} embedded, {before} unchanged, 0 failed" in done.stdout
    assert_same_rows(rows(tmp_path / "index"), undisturbed)


def test_ctrl_c_keeps_what_was_done_and_says_so(crowd, undisturbed, tmp_path, model):
    stdout, stderr, code = interrupted(crowd, tmp_path / "index", signal.SIGINT)
    assert code == 130, (stdout, stderr)
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    embed_videos([crowd], index=tmp_path / "index", model=model)
    assert_same_rows(rows(tmp_path / "index"), undisturbed)


def test_embedding_again_changes_nothing(world, model, tmp_path):
    embed_videos([world[0]], index=tmp_path, model=model)
    before = rows(tmp_path)
    report = embed_videos([world[0], world[0] / "00000.mp4"], index=tmp_path, model=model)
    assert (report.embedded, report.skipped) == (0, 24)
    assert_same_rows(rows(tmp_path), before)


def test_a_changed_file_is_embedded_again(world, model, tmp_path):
    video = tmp_path / "video.mp4"
    video.write_bytes((world[0] / "00000.mp4").read_bytes())
    embed_videos([video], index=tmp_path / "index", model=model)
    before = rows(tmp_path / "index")[str(video)]
    video.write_bytes((world[0] / "00001.mp4").read_bytes())
    assert embed_videos([video], index=tmp_path / "index", model=model).embedded == 1
    after = rows(tmp_path / "index")[str(video)]
    assert after["id"] == before["id"]
    assert not np.allclose(after["vector"], before["vector"])


def test_broken_videos_are_listed_and_stored_and_forgotten_when_mended(world, model, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    good = (world[0] / "00000.mp4").read_bytes()
    (folder / "good.mp4").write_bytes(good)
    (folder / "empty.avi").write_bytes(b"")
    (folder / "text.webm").write_text("no video")
    (folder / "notes.txt").write_text("not asked for")
    uri = tmp_path / "index"
    report = embed_videos([folder], index=uri, model=model)
    assert report.embedded == 1
    assert [os.path.basename(f.path) for f in report.failed] == ["empty.avi", "text.webm"]
    stored = open_index(uri).failures()
    assert [(row["path"], row["reason"]) for row in stored] == [(f.path, f.reason) for f in report.failed]
    (folder / "empty.avi").write_bytes(good)
    report = embed_videos([folder], index=uri, model=model)
    assert (report.embedded, report.skipped, len(report.failed)) == (1, 1, 1)
    assert [os.path.basename(row["path"]) for row in open_index(uri).failures()] == ["text.webm"]


def test_a_folder_that_could_not_be_listed_once_is_no_failure_for_ever(world, model, tmp_path, monkeypatch):
    below, uri, real = tmp_path / "videos" / "below", tmp_path / "index", os.scandir
    below.mkdir(parents=True)
    for i in range(2):
        (below / f"{i}.mp4").symlink_to(world[0] / f"0000{i}.mp4")

    def fails(folder="."):
        if str(folder) == str(below):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr("os.scandir", fails)
    report = embed_videos(tmp_path / "videos", index=uri, model=model)
    assert [failure.path for failure in report.failed] == [str(below)]
    assert [row["path"] for row in open_index(uri).failures()] == [str(below)]
    monkeypatch.undo()
    report = embed_videos(tmp_path / "videos", index=uri, model=model)
    assert (report.embedded, report.failed) == (2, [])
    assert open_index(uri).failures() == []


def test_every_clip_is_embedded_or_named(shared_videos, model, tmp_path):
    videos = [path for path in shared_videos.iterdir() if path.suffix != ".md"]
    broken = tmp_path / "videos" / "broken.mp4"
    broken.parent.mkdir()
    broken.write_bytes((shared_videos / "bikes.mp4").read_bytes()[:20_000])
    report = embed_videos([shared_videos, broken], index=tmp_path / "index", model=model)
    assert report.embedded == len(videos) == len(rows(tmp_path / "index"))
    assert [f.path for f in report.failed] == [str(broken)]
    assert [os.path.basename(d.path) for d in report.damaged] == ["decord_corrupted.mp4"]


def test_folders_of_frames_are_videos(model, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(clips.picture(i)).save(tmp_path / "frames" / name / f"{i + 1:08d}.jpg")
    assert embed_videos([tmp_path / "frames"], index=tmp_path / "index", model=model).embedded == 2
    assert set(rows(tmp_path / "index")) == {str(tmp_path / "frames" / name) for name in ("one", "two")}


def test_a_path_that_does_not_exist_is_an_error(model, tmp_path):
    with pytest.raises(VideoReadError, match="nowhere: no such file"):
        embed_videos([tmp_path / "nowhere"], index=tmp_path / "index", model=model)


def test_an_index_of_other_weights_is_refused(world, model, tmp_path):
    from dataclasses import replace

    embed_videos([world[0] / "00000.mp4"], index=tmp_path, model=model)
    with pytest.raises(VideoIndexError) as error:
        embed_videos([world[0]], index=tmp_path, model=replace(model, name="other", sha256="f" * 64))
    for words in ("'shapes'", "'other'", "--index", model.sha256[:12], "f" * 12):
        assert words in str(error.value)


@pytest.mark.parametrize("option", ["batch_size", "workers"])
def test_options_below_one_are_refused(world, model, tmp_path, option):
    with pytest.raises(Clip2VideoError, match=f"{option} is 0"):
        embed_videos([world[0]], index=tmp_path, model=model, **{option: 0})


@pytest.mark.parametrize(
    ("sampling", "policy", "fps"),
    [("reference", "reference", 2.5), ("reference-5fps", "reference", 5.0), ("keyframes", "keyframes", None)],
)
def test_vectors_are_made_of_the_frames_that_are_asked_for(model, tmp_path, sampling, policy, fps):
    clip = tmp_path / "long.mp4"
    clips.write(clip, count=150, rate=15, options={"g": "5"})  # ten seconds: the samplings differ
    embed_videos(clip, index=tmp_path / "index", model=model, sampling=sampling)
    (row,) = rows(tmp_path / "index").values()
    size = model.config.image_size
    frames = {name: read_frames(clip, size=size, **how).pixels for name, how in {
        "asked": {"policy": policy, "fps": fps}, "uniform": {"policy": "uniform"}}.items()}  # fmt: skip
    vectors = {name: model.encode_frames([pixels]).vector[0].numpy() for name, pixels in frames.items()}
    np.testing.assert_allclose(row["vector"], vectors["asked"], atol=1e-5)
    assert not np.allclose(row["vector"], vectors["uniform"], atol=1e-3)
    assert open_index(tmp_path / "index").provenance.policy == sampling
    assert len(search("a red square", index=tmp_path / "index", model=model).hits) == 1
    shown = "frames by key frames" if sampling == "keyframes" else f"{sampling} frames"
    with pytest.raises(VideoIndexError, match=f"12 {shown}; this is .*12 uniform frames"):
        embed_videos(clip, index=tmp_path / "index", model=model)
    embed_videos(clip, index=tmp_path / "even", model=model)
    with pytest.raises(VideoIndexError, match=f"12 uniform frames; this is .*12 {shown}"):
        embed_videos(clip, index=tmp_path / "even", model=model, sampling=sampling)
    with pytest.raises(
        Clip2VideoError, match="sampling is 'all'; allowed are uniform, reference, reference-5fps, keyframes"
    ):
        embed_videos(clip, index=tmp_path / "other", model=model, sampling="all")


def test_a_full_disk_is_one_line(world, tmp_path):
    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    done = subprocess.run(
        [sys.executable, "-m", "clip2video_plugin.cli", "embed", world[0], "--index", tmp_path / "index"],
        capture_output=True,
        text=True,
        preexec_fn=no_room,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("c2v: index ")
    assert "Traceback" not in done.stderr


def test_an_index_that_cannot_be_made_is_one_line(world, model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VideoIndexError, match="file/index"):
        embed_videos([world[0]], index=tmp_path / "file" / "index", model=model)


def test_two_runs_at_once_lose_nothing(world, model, tmp_path):
    command = [*C2V, "embed", str(world[0]), "--index", str(tmp_path / "index"), "--batch-size", "2"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert "Traceback" not in process.communicate(timeout=200)[1]
        assert process.returncode == 0
    assert len(rows(tmp_path / "index")) == 24


def test_two_shards_at_once_are_the_whole_with_nothing_done_twice(world, world_index, tmp_path):
    command = [*C2V, "embed", str(world[0]), "--index", str(tmp_path / "index"), "--json", "--shard"]
    both = [subprocess.Popen([*command, part], stdout=subprocess.PIPE, text=True) for part in ("1/2", "2/2")]
    counts = [json.loads(process.communicate(timeout=200)[0])["embedded"] for process in both]
    assert sum(counts) == 24
    assert min(counts) > 0
    assert_same_rows(rows(tmp_path / "index"), rows(world_index))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/", "a/b", "-1/2", "1/2/3", ""])
def test_a_shard_is_one_of_so_many(world, model, tmp_path, shard):
    with pytest.raises(Clip2VideoError, match=f"shard is '{shard}'"):
        embed_videos([world[0]], index=tmp_path, model=model, shard=shard)


def test_fiftyones_backend_could_open_the_table(world_index):
    schema = VideoIndex.open(world_index)._table.schema
    assert {"id", "sample_id", "vector"} <= set(schema.names)
