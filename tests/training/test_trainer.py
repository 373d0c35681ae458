"""The loop: it learns, resumes bit by bit, keeps the best epoch, and stops where it must."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.errors import TrainingError, VideoReadError
from clip2video_plugin.training import train
from clip2video_plugin.training.state import read_log
from clip2video_plugin.training.videos import VideoFile
from clip2video_plugin.training.world import scene_videos

from .tiny import config


@pytest.fixture(scope="module")
def scenes():
    return scene_videos(48, seed=1)


def weights(folder):
    return load_model(folder, device="cpu", precision="float32").network.state_dict()


def watched(videos, on_read):
    """The same videos; ``on_read`` gets the number of each reading for training."""
    reads = itertools.count(1)

    class Watched:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def frames(self, count, size, random):
            if random is not None:  # training, not validation
                on_read(next(reads))
            return self.inner.frames(count, size, random)

    return [Watched(video) for video in videos]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_leaves_a_checkpoint_a_log_and_a_report(scenes, tmp_path):
    result = train(config(epochs=3), scenes, out=tmp_path / "run", progress=False)
    rows = read_log(result.folder)
    steps, epochs = [r for r in rows if "loss" in r], [r for r in rows if "validation" in r]
    assert [r["step"] for r in steps] == list(range(1, result.steps + 1))
    assert np.mean([r["loss"] for r in steps[-4:]]) < np.mean([r["loss"] for r in steps[:4]])
    assert steps[0]["lr"] == 0
    assert max(r["lr"] for r in steps) <= 1e-3
    assert steps[0]["loss"] == pytest.approx(0.5 * steps[0]["global_loss"] + 0.5 * steps[0]["aligned_loss"], abs=1e-5)
    assert [r["epoch"] for r in epochs] == [1, 2, 3]
    best = max(epochs, key=lambda r: (r["validation"]["R@1"], -r["epoch"]))
    assert (result.best_epoch, result.best) == (best["epoch"], best["validation"])
    model = load_model(result.checkpoint, device="cpu")
    assert model.encode_captions(["a red square moves left"]).vector.shape == (1, 64)
    assert model.card.sentence == "trained on 46 videos"  # two of 48 were held out
    page = (result.folder / "report.html").read_text()
    assert "R@10" in page
    assert epochs[-1]["hardest"][0]["caption"] in page
    assert "<script src=" not in page  # it opens without a network


@pytest.mark.parametrize("extra", [{}, {"ema": 0.9, "accumulate": 2, "recompute": True, "optimiser": "reference"}])
def test_a_run_killed_at_any_step_ends_with_the_same_weights(scenes, tmp_path, extra):
    settings = config(epochs=2, save_every=1, **extra)
    whole = train(settings, scenes, out=tmp_path / "whole", progress=False)
    for killed in (1, 5, 7):
        folder = tmp_path / f"killed-{killed}"
        with pytest.raises(InterruptedError):
            train(settings, watched(scenes, lambda reads, at=8 * killed: stop(reads > at)), out=folder, progress=False)
        assert 0 < len(read_log(folder)) < len(read_log(whole.folder))
        train(settings, scenes, out=folder, resume=True, progress=False)
        assert same(weights(folder / "last"), weights(whole.folder / "last"))
        assert same(weights(folder / "best"), weights(whole.folder / "best"))
        logs = [[{k: v for k, v in r.items() if k != "videos/s"} for r in read_log(f)] for f in (folder, whole.folder)]
        assert logs[0] == logs[1]


def stop(now):
    if now:
        raise InterruptedError


def test_a_killed_process_resumes_to_the_same_weights(tmp_path):
    """With real processes: SIGKILL in mid-run, worker processes and all."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from tests.training.tiny import config\n"
        "from clip2video_plugin.training import train\n"
        "from clip2video_plugin.training.world import scene_videos\n"
        "settings = config(epochs=8, save_every=3, workers=1, seed=5)\n"
        "train(settings, scene_videos(48, 1), out=sys.argv[1], resume=sys.argv[2] == 'resume', progress=False)\n"
    )
    root = str(Path(__file__).parents[2])

    def run(folder, how):
        # Last on the path: the folder datasets/ of the root must not shadow a package.
        return subprocess.Popen([sys.executable, str(script), str(folder), how, root], start_new_session=True)

    assert run(tmp_path / "whole", "new").wait(240) == 0
    process = run(tmp_path / "killed", "new")
    deadline = time.monotonic() + 120
    while len(read_log(tmp_path / "killed")) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 8 <= len(read_log(tmp_path / "killed")) < len(read_log(tmp_path / "whole"))
    assert run(tmp_path / "killed", "resume").wait(240) == 0
    assert same(weights(tmp_path / "killed" / "last"), weights(tmp_path / "whole" / "last"))


def test_ctrl_c_finishes_the_step_and_keeps_the_state(scenes, tmp_path):
    settings = config(epochs=2, save_every=1000)
    whole = train(settings, scenes, out=tmp_path / "whole", progress=False)
    pressed = watched(scenes, lambda reads: os.kill(os.getpid(), signal.SIGINT) if reads == 20 else None)
    with pytest.raises(KeyboardInterrupt):
        train(settings, pressed, out=tmp_path / "stopped", progress=False)
    assert 0 < len(read_log(tmp_path / "stopped")) < len(read_log(whole.folder))
    train(settings, scenes, out=tmp_path / "stopped", resume=True, progress=False)
    assert same(weights(tmp_path / "stopped" / "last"), weights(whole.folder / "last"))


def test_progress_is_told_every_step_and_what_it_raises_keeps_the_state(scenes, tmp_path):
    settings, told = config(epochs=2, save_every=1000), []
    whole = train(settings, scenes, out=tmp_path / "whole", progress=lambda done, *, total: told.append((done, total)))
    assert told == [(n, whole.steps) for n in range(1, whole.steps + 1)]

    def stop(done, *, total):
        if done == 3:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        train(settings, scenes, out=tmp_path / "stopped", progress=stop)
    assert [row["step"] for row in read_log(tmp_path / "stopped")] == [1, 2, 3]
    train(settings, scenes, out=tmp_path / "stopped", resume=True, progress=False)
    assert same(weights(tmp_path / "stopped" / "last"), weights(whole.folder / "last"))


def test_a_folder_with_a_run_is_not_overwritten(scenes, tmp_path):
    settings = config(steps=2)
    train(settings, scenes, out=tmp_path / "run", progress=False)
    with pytest.raises(TrainingError, match="holds a run already; resume it"):
        train(settings, scenes, out=tmp_path / "run", progress=False)
    with pytest.raises(TrainingError, match=r"was trained with learning_rate=0\.001; resume with the same settings"):
        train(replace(settings, learning_rate=1e-4), scenes, out=tmp_path / "run", resume=True, progress=False)
    (tmp_path / "run" / "state.pt").write_bytes(b"no state")
    with pytest.raises(TrainingError, match=r"state.pt is damaged"):
        train(settings, scenes, out=tmp_path / "run", resume=True, progress=False)


def test_broken_videos_are_left_out_and_reported(scenes, world, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    videos = [VideoFile(path, [f"video {path.stem}"]) for path in sorted(world[0].glob("*.mp4"))]
    videos, held = videos[6:], videos[:6]
    videos += [VideoFile(broken, ["nothing"]), VideoFile(tmp_path / "missing.mp4", ["nothing"])]
    result = train(config(epochs=2), videos, held, out=tmp_path / "run", progress=False)
    assert set(result.failed) == {str(broken), str(tmp_path / "missing.mp4")}
    assert capsys.readouterr().err.count("broken.mp4 is left out") == 1
    assert all(np.isfinite(row["loss"]) for row in read_log(result.folder) if "loss" in row)
    lost = [VideoFile(tmp_path / f"{i}.mp4", ["x"]) for i in range(9)]
    with pytest.raises(TrainingError, match="none of 9 videos can be read"):
        train(config(steps=1), lost, held, out=tmp_path / "lost", progress=False)


def test_names_that_are_no_text_are_trained_on_and_shown_escaped(world, tmp_path, capsys):
    videos = []
    for i, path in enumerate(sorted(world[0].glob("*.mp4"))[:10]):
        name = tmp_path / os.fsdecode(b"\xff\x1b[31m%d.mp4" % i)
        if i:
            name.write_bytes(path.read_bytes())
        videos.append(VideoFile(name, [f"video {i}"]))
    result = train(config(epochs=1), videos[:8], videos[8:], out=tmp_path / "run", progress=False)
    assert list(result.failed) == [str(videos[0].path)]
    assert rf"{tmp_path}/\xff\x1b[31m0.mp4 is left out" in capsys.readouterr().err
    assert r"\xff\x1b[31m9.mp4" in (result.folder / "report.html").read_text()


def test_a_loss_that_is_not_finite_stops_with_the_batch_named(scenes, tmp_path):
    settings = config(steps=50, learning_rate=1e30, clip_norm=0.0, warmup=0.0)
    with pytest.raises(TrainingError, match=r"step \d+: the (loss|gradient norm) is (nan|inf) on the batch a .* moves"):
        train(settings, sorted(scenes, key=lambda s: "moves" not in s.name), out=tmp_path / "run", progress=False)
    rows = read_log(tmp_path / "run")
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)


def test_training_stops_early_when_validation_does_not_get_better(scenes, tmp_path):
    settings = config(epochs=9, patience=2, learning_rate=1e-12)
    result = train(settings, scenes, out=tmp_path / "run", progress=False)
    assert result.stopped_early
    assert result.steps == result.best_epoch * 5 + 2 * 5
    epochs = [row for row in read_log(result.folder) if "validation" in row]
    assert epochs[-1]["epoch"] == result.best_epoch + 2


def test_the_validation_videos_are_never_trained_on(scenes, tmp_path):
    from clip2video_plugin.training.videos import hold_out

    rest, held = hold_out(scenes, 0.25, seed=3)
    assert (len(rest), len(held)) == (36, 12)
    assert {v.stamp() for v in rest}.isdisjoint(v.stamp() for v in held)
    assert hold_out(scenes, 0.25, seed=3) == (rest, held)
    assert hold_out(scenes, 0.25, seed=4)[1] != held
    with pytest.raises(TrainingError, match="one video file cannot be trained on and validated with"):
        hold_out(scenes[:1], 0.25, seed=3)


def test_a_moving_average_is_what_is_kept(scenes, tmp_path):
    plain = train(config(steps=5), scenes, out=tmp_path / "plain", progress=False)
    average = train(config(steps=5, ema=0.9), scenes, out=tmp_path / "average", progress=False)
    a, b = weights(plain.folder / "last"), weights(average.folder / "last")
    assert not same(a, b)
    assert read_log(plain.folder)[3]["loss"] == read_log(average.folder)[3]["loss"]


@pytest.mark.parametrize("change", [{"recompute": True}, {"cache": "cache"}])
def test_saving_memory_or_decoding_changes_no_weight(scenes, tmp_path, change):
    if "cache" in change:
        change = {"cache": str(tmp_path / "cache")}
    plain = train(config(steps=5), scenes, out=tmp_path / "plain", progress=False)
    other = train(config(steps=5, **change), scenes, out=tmp_path / "other", progress=False)
    assert same(weights(plain.folder / "last"), weights(other.folder / "last"))


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_tower_learns_the_same(scenes, tmp_path):
    plain = train(config(steps=2), scenes, out=tmp_path / "plain", progress=False)
    compiled = train(config(steps=2, compile=True), scenes, out=tmp_path / "compiled", progress=False)
    a, b = (read_log(result.folder) for result in (plain, compiled))
    assert [row["loss"] for row in b[:2]] == pytest.approx([row["loss"] for row in a[:2]], abs=1e-4)
    assert weights(plain.folder / "last").keys() == weights(compiled.folder / "last").keys()


def test_tensorboard_is_written_where_it_is_installed(scenes, tmp_path):
    pytest.importorskip("tensorboard")
    result = train(config(steps=2), scenes, out=tmp_path / "run", progress=False)
    assert list((result.folder / "tensorboard").glob("events*"))


def test_a_folder_for_tensorboard_that_cannot_be_written_is_one_line(scenes, tmp_path, capfd):
    pytest.importorskip("tensorboard")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").symlink_to("/proc/self")  # where nobody can write, root neither
    with pytest.raises(TrainingError, match="tensorboard cannot be written: "):
        train(config(steps=2), scenes, out=tmp_path / "run", progress=False)
    assert "Traceback" not in capfd.readouterr().err


def test_a_full_disk_stops_with_one_line_and_keeps_the_last_state(scenes, tmp_path, monkeypatch):
    settings = config(steps=6, save_every=2)
    real, calls = torch.save, [0]

    def save(*args, **kwargs):
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(TrainingError, match="No space left on device; the last state is kept"):
        train(settings, scenes, out=tmp_path / "run", progress=False)
    monkeypatch.undo()
    train(settings, scenes, out=tmp_path / "run", resume=True, progress=False)
    whole = train(settings, scenes, out=tmp_path / "whole", progress=False)
    assert same(weights(tmp_path / "run" / "last"), weights(whole.folder / "last"))
    assert json.loads((tmp_path / "run" / "last" / "config.json").read_text())["embed_dim"] == 32


def test_a_video_read_error_can_cross_processes():
    import pickle

    error = pickle.loads(pickle.dumps(VideoReadError("a.mp4", "reason")))
    assert (error.path, error.reason) == ("a.mp4", "reason")
