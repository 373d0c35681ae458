"""No file is both trained on and validated with, whatever its samples are called."""

import os

import pytest

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.training import train
from clip2video_plugin.training.videos import VideoFile, hold_out

from .tiny import config


@pytest.fixture(scope="module")
def files(world):
    return sorted(world[0].glob("*.mp4"))


def clips_of(files, each=4):
    return [VideoFile(path, [f"{path.stem} {i}"], i * 0.5, i * 0.5 + 0.5) for path in files for i in range(each)]


def real(videos):
    return {os.path.realpath(video.path) for video in videos}


def test_clips_of_one_file_are_held_out_together(files):
    clips = clips_of(files[:10])
    for seed in range(20):
        rest, held = hold_out(clips, 0.25, seed)
        assert real(rest).isdisjoint(real(held))
        assert (len(rest), len(held)) == (32, 8)
        assert hold_out(clips, 0.25, seed) == (rest, held)


def test_links_to_a_file_are_the_same_file(files, tmp_path):
    videos = []
    for path in files[:6]:
        (tmp_path / f"soft-{path.name}").symlink_to(path)
        (tmp_path / path.name).write_bytes(path.read_bytes())
        os.link(tmp_path / path.name, tmp_path / f"hard-{path.name}")
        videos += [VideoFile(path, ["a"]), VideoFile(tmp_path / f"soft-{path.name}", ["b"])]
        videos += [VideoFile(tmp_path / path.name, ["c"]), VideoFile(tmp_path / f"hard-{path.name}", ["d"])]
        videos += [VideoFile(tmp_path / ".." / tmp_path.name / path.name, ["e"])]
    inode = {video.path: os.stat(video.path).st_ino for video in videos}
    for seed in range(10):
        rest, held = hold_out(videos, 0.2, seed)
        assert {inode[v.path] for v in rest}.isdisjoint(inode[v.path] for v in held)
        assert 0 < len(held) <= 6


def test_files_of_many_clips_are_not_held_out_for_a_small_share(files):
    clips = clips_of(files[:2], each=20) + clips_of(files[2:6], each=1)
    rest, held = hold_out(clips, 0.05, seed=0)
    assert len(held) == 2
    assert real(held) <= {os.path.realpath(path) for path in files[2:6]}
    rest, held = hold_out(clips_of(files[:2], each=20), 0.05, seed=0)
    assert (len(rest), len(held)) == (20, 20)


def test_one_file_cannot_be_split(files):
    with pytest.raises(TrainingError, match="one video file cannot be trained on and validated with"):
        hold_out(clips_of(files[:1]), 0.25, seed=0)


def test_a_validation_view_that_shares_files_with_the_training_view_is_refused(files, tmp_path):
    (tmp_path / "link.mp4").symlink_to(files[3])
    training = [VideoFile(path, ["x"]) for path in files[:12]]
    for held, message in (
        (training[4:9], f"5 of 5 validation videos are of files that are trained on, the first is {files[4]};"),
        ([VideoFile(files[20], ["y"]), VideoFile(files[7], ["z"], 0.0, 0.5)], f"1 of 2 .* is {files[7]} from 0 s;"),
        ([VideoFile(tmp_path / "link.mp4", ["y"])], "1 of 1 .* the first is .*link.mp4; choose views that share no"),
    ):
        with pytest.raises(TrainingError, match=message) as error:
            train(config(steps=1), training, held, out=tmp_path / "run", progress=False)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_clip_that_begins_after_its_file_ends_is_left_out(files, tmp_path):
    clips = [*clips_of(files[:3]), VideoFile(files[0], ["beyond"], 500.0, 501.0)]
    result = train(config(epochs=2), clips, [VideoFile(files[5], ["x"])], out=tmp_path / "run", progress=False)
    assert result.steps == 2
    assert list(result.failed) == [f"{files[0]} from 500 s"]
    assert "it ends after 3" in result.failed[f"{files[0]} from 500 s"]
