"""What a run can go on from: a finished one is finished, and the data must be those that it began with."""

from dataclasses import replace

import pytest
import torch

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.training import train
from clip2video_plugin.training.state import read_log
from clip2video_plugin.training.videos import VideoFile
from clip2video_plugin.training.world import scene_videos

from .test_trainer import same, watched, weights
from .tiny import config


@pytest.fixture(scope="module")
def scenes():
    return scene_videos(24, seed=1)


def test_a_run_that_stopped_early_is_finished(scenes, tmp_path, capsys):
    settings = config(epochs=9, patience=1, learning_rate=1e-12)
    first = train(settings, scenes, out=tmp_path / "run", progress=False)
    assert first.stopped_early
    assert first.steps < 9 * 2
    last, log = weights(first.folder / "last"), read_log(first.folder)
    capsys.readouterr()
    again = train(settings, scenes, out=tmp_path / "run", resume=True, progress=False)
    assert again == first
    assert "is finished (stopped early after" in capsys.readouterr().err
    assert read_log(first.folder) == log
    assert same(weights(first.folder / "last"), last)


def test_a_run_that_is_done_gives_its_result_again(scenes, tmp_path, capsys):
    settings = config(steps=3)
    first = train(settings, scenes, out=tmp_path / "run", progress=False)
    assert train(settings, scenes, out=tmp_path / "run", resume=True, progress=False) == first
    assert "is finished (done after 3 steps)" in capsys.readouterr().err


def with_captions(scenes, at, texts):
    class Other:
        captions = texts

        def __getattr__(self, name):
            return getattr(scenes[at], name)

    return [*scenes[:at], Other(), *scenes[at + 1 :]]


@pytest.fixture(scope="module")
def begun(scenes, tmp_path_factory):
    """A run on 16 scenes, validated with 8 others, that was stopped after its first state."""
    folder = tmp_path_factory.mktemp("begun")
    settings = config(epochs=2, save_every=1)

    def stop(reads):
        if reads > 8:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(settings, watched(scenes[:16], stop), scenes[16:], out=folder, progress=False)
    return settings, folder


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t, v: (t[:15], v), "the training videos changed"),
        (lambda t, v: ([*t[:15], scene_videos(1, 77)[0]], v), "the training videos changed"),
        (lambda t, v: (t[::-1], v), "the order of the training videos changed"),
        (lambda t, v: (with_captions(t, 3, ["else"]), v), "the captions of the training videos changed"),
        (lambda t, v: (t, v[:4]), "the validation videos changed"),
        (lambda t, v: (t, v[::-1]), "the order of the validation videos changed"),
        (lambda t, v: (t, with_captions(v, 0, ["else"])), "the captions of the validation videos changed"),
        (lambda t, v: (t[::-1], v[1:]), "the order of the training videos and the validation videos changed"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(scenes, begun, change, what):
    settings, folder = begun
    state = (folder / "state.pt").read_bytes()
    training, validation = change(scenes[:16], scenes[16:])
    with pytest.raises(TrainingError, match=f"{folder} was trained on other data: {what}; go on with") as error:
        train(settings, training, validation, out=folder, resume=True, progress=False)
    assert "\n" not in str(error.value)
    assert (folder / "state.pt").read_bytes() == state


def test_a_file_in_place_of_another_is_other_data(world, tmp_path):
    videos = []
    for i, path in enumerate(sorted(world[0].glob("*.mp4"))[:12]):
        (tmp_path / f"{i}.mp4").write_bytes(path.read_bytes())
        videos.append(VideoFile(tmp_path / f"{i}.mp4", [f"video {i}"]))
    settings = config(steps=2, save_every=1)
    train(settings, videos[:8], videos[8:], out=tmp_path / "run", progress=False)
    (tmp_path / "0.mp4").touch()  # as a copy elsewhere has it: nothing but the time is new
    train(settings, videos[:8], videos[8:], out=tmp_path / "run", resume=True, progress=False)
    (tmp_path / "0.mp4").write_bytes((tmp_path / "11.mp4").read_bytes() + b"\0")
    with pytest.raises(TrainingError, match="the training videos changed"):
        train(settings, videos[:8], videos[8:], out=tmp_path / "run", resume=True, progress=False)


def test_going_on_with_or_without_a_cache_is_another_run(scenes, begun, tmp_path):
    """With a cache, later epochs repeat the jitter of the first."""
    settings, folder = begun
    with pytest.raises(TrainingError, match="was trained with cache=''"):
        train(replace(settings, cache=str(tmp_path)), scenes[:16], scenes[16:], out=folder, resume=True, progress=False)


def test_no_weight_depends_on_the_random_numbers_of_the_process(scenes, tmp_path):
    """So that none need be kept for resuming."""
    settings = config(steps=3)
    plain = train(settings, scenes, out=tmp_path / "plain", progress=False)
    drawn = train(settings, watched(scenes, lambda _: torch.rand(3)), out=tmp_path / "drawn", progress=False)
    assert same(weights(plain.folder / "last"), weights(drawn.folder / "last"))
