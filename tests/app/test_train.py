"""The loop users want: fine-tune on a tagged view, embed again under a second key, see what improved and what broke."""

import json
import os
import shutil
import signal
import subprocess
import time

import fiftyone as fo
import numpy as np
import pytest
from typer.testing import CliRunner

from clip2video_plugin import compute_clip2video, load_model, read_frames
from clip2video_plugin.app.compare import compare
from clip2video_plugin.app.train import find_captioned_videos, finetune
from clip2video_plugin.cli.main import app
from clip2video_plugin.errors import CheckpointError, Clip2VideoError, TrainingError
from clip2video_plugin.shapes import scenes as random_scenes
from clip2video_plugin.shapes import write_videos
from clip2video_plugin.training import load_config
from clip2video_plugin.training.state import read_log
from clip2video_plugin.training.videos import VideoFile

from ..conftest import C2V

FRENCH = {
    "red": "rouge", "blue": "bleu", "green": "vert", "yellow": "jaune", "purple": "violet", "white": "blanc",
    "square": "carré", "circle": "cercle", "star": "étoile", "cross": "croix", "bar": "barre",
    "left": "gauche", "right": "droite", "up": "haut", "down": "bas", "moves": "va", "a": "un", "and": "et",
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, model):
    """Thirty videos whose captions are French, which the embedded model was never taught."""
    folder = tmp_path_factory.mktemp("french")
    scenes = [scene for scene, _ in zip(random_scenes(7), range(30), strict=False)]
    dataset = fo.Dataset("french", persistent=True)
    for path, captions in write_videos(folder / "videos", scenes, paraphrases=1):
        words = [FRENCH.get(word, word) for word in captions[0].split()]
        dataset.add_sample(fo.Sample(filepath=str(path), captions=[" ".join(words)], tags=["train"]))
    odd = dataset.values("id")[::6]
    dataset.select(odd).untag_samples("train")
    dataset.select(odd).tag_samples("val")
    compute_clip2video(dataset, model=model, brain_key="old", index=folder / "index", progress=False)
    yield dataset, folder
    for key in dataset.list_brain_runs():
        dataset.delete_brain_run(key)
    dataset.delete()


def test_from_a_tagged_view_to_the_queries_that_improved(dataset, c2v):
    samples, folder = dataset
    options = ("--set", "batch_size=12", "--set", "epochs=8", "--set", "workers=1", "--set", "clip_coefficient=1.0")
    options += ("--set", "learning_rate=3e-4", "--set", "device=cpu", "--set", "patience=0")
    done = c2v(
        *("finetune", "french", "--tag", "train", "--val-tag", "val", "--brain-key", "tuned", "--name", "french-1"),
        *("--out", folder / "run", "--index", folder / "index", *options),
    )
    assert done.returncode == 0, done.stderr
    assert "16 steps, done; best epoch" in done.stdout
    assert "compare it: c2v eval french --compare OLD_KEY tuned --tag val\n" in done.stdout
    assert (folder / "run" / "report.html").is_file()
    samples.reload()
    assert samples.count_sample_tags() == {"train": 25, "val": 5}
    assert set(samples.list_brain_runs()) == {"old", "tuned"}
    assert samples.get_brain_info("tuned").config.checkpoint == "french-1"
    card = load_model("french-1", device="cpu").card
    assert (card.sentence, card.licence) == ("trained on generated videos of moving shapes, then french", "MIT")

    told = c2v("eval", "french", "--compare", "old", "tuned")
    assert told.returncode == 0, told.stderr
    assert "queries improved" in told.stdout
    found = json.loads(c2v("eval", "french", "--compare", "old", "tuned", "--json").stdout)
    assert found["new"]["t2v"]["R@1"] > found["old"]["t2v"]["R@1"]
    assert len(found["improved"]) > len(found["broken"])
    assert len(found["improved"]) + len(found["broken"]) + found["unchanged"] == 30
    assert all(query["new"] < query["old"] for query in found["improved"])
    low, high = found["difference"][1:]
    assert low <= found["difference"][0] <= high

    again = c2v("finetune", "french", "--brain-key", "tuned", "--index", folder / "index")
    assert again.returncode == 1
    assert again.stderr == "c2v: dataset french has a brain key 'tuned' already; choose another\n"
    taken = c2v("finetune", "french", "--brain-key", "other", "--name", "french-1")
    assert taken.stderr == "c2v: there is a checkpoint 'french-1' already; choose another --name\n"


@pytest.fixture(scope="module")
def links(tmp_path_factory, model):
    """Eight videos by two names each, one caption each; a tag of the user's; embedded by the embedded model."""
    folder = tmp_path_factory.mktemp("links")
    scenes = [scene for scene, _ in zip(random_scenes(8), range(8), strict=False)]
    dataset = fo.Dataset("links", persistent=True)
    for path, captions in write_videos(folder / "videos", scenes, paraphrases=2):
        (folder / f"link-{path.name}").symlink_to(path)
        for name, caption in zip((path, folder / f"link-{path.name}"), captions, strict=False):
            dataset.add_sample(fo.Sample(filepath=str(name), captions=caption, tags=["train", "mine"]))
    dataset.add_sample(fo.Sample(filepath=str(path), captions="not for training", tags=["mine"]))
    compute_clip2video(dataset, model=model, brain_key="old", index=folder / "index", progress=False)
    yield dataset
    for key in dataset.list_brain_runs():
        dataset.delete_brain_run(key)
    dataset.delete()


def test_finetune_then_eval_as_documented_evaluates_on_no_file_that_was_trained_on(links, c2v, tmp_path, monkeypatch):
    trained_on, frames = set(), VideoFile.frames

    def watched(video, count, size, random):
        if random is not None:  # training, not validation
            trained_on.add(os.path.realpath(video.path))
        return frames(video, count, size, random)

    monkeypatch.setattr(VideoFile, "frames", watched)
    changes = ["steps=4", "batch_size=4", "workers=1", "device=cpu", "val_share=0.3", "sampling=reference", "fps=5"]
    config = load_config("finetune", changes)
    options = {"brain_key": "tuned", "tags": ["train"], "config": config, "progress": False}
    options |= {"out": tmp_path / "run", "index": tmp_path / "index"}
    done = finetune("links", **options)
    assert done.val_tags == ("tuned-val",)
    assert links.count_sample_tags() == {"train": 16, "mine": 17, "tuned-val": 4}
    held = links.match_tags("tuned-val")
    assert {os.path.realpath(path) for path in held.values("filepath")}.isdisjoint(trained_on)
    assert len(trained_on) == 6

    told = c2v("eval", "links", "--compare", "old", "tuned", "--tag", "tuned-val", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["new"]["videos"], found["new"]["captions"]) == (4, 4)
    shown = CliRunner().invoke(app, ["eval", "links", "--brain-key", "tuned", "--tag", "tuned-val", "--tag", "mine"])
    assert "links, tagged tuned-val or mine, text to video" in shown.stdout
    nothing = CliRunner().invoke(app, ["eval", "links", "--tag", "nope"])
    assert str(nothing.exception) == "dataset links has no samples tagged nope; its tags are: mine, train, tuned-val"

    # The frames of the new embeddings are those that training saw.
    run = links.load_brain_results("tuned")
    assert run.table.provenance.policy == "reference-5fps"
    path = links.first().filepath
    pixels = read_frames(path, policy="reference", fps=5, count=12, size=run.get_model().model.config.image_size).pixels
    vector = run.get_model().model.encode_frames([pixels]).vector[0].numpy()
    assert np.allclose(run.get_embeddings([links.first().id])[0][0], vector, atol=1e-5)
    assert finetune("links", **options, resume=True) == done
    assert links.count_sample_tags() == {"train": 16, "mine": 17, "tuned-val": 4}


def test_finetune_refuses_before_it_trains(links, tmp_path):
    stray = links.last()
    stray.tags.append("other-val")
    stray.save()
    common = {"brain_key": "other", "out": tmp_path / "run", "index": tmp_path / "index"}
    for changes, tags, message in (
        ([], {"tags": ["train"]}, "1 samples of links that are not held out have the tag 'other-val' of those that"),
        ([], {"tags": ["train"], "val_tags": ["mine"]}, "17 of 17 validation videos are of files that are trained on"),
        (["sampling=reference", "fps=3"], {"tags": ["train"]}, "sampling is 'reference' at fps 3, of which there are"),
    ):
        with pytest.raises(TrainingError, match=message):
            finetune("links", config=load_config("finetune", changes), **tags, **common)
    assert not (tmp_path / "run").exists()
    assert not links.has_brain_run("other")
    links.untag_samples("other-val")


def test_what_cannot_be_compared_is_named(dataset):
    with pytest.raises(Clip2VideoError, match="both runs are 'old'"):
        compare(dataset[0], "old", "old")
    with pytest.raises(Clip2VideoError, match="no brain key 'nope'"):
        compare(dataset[0], "old", "nope", progress=False)


def test_the_views_that_a_configuration_names(dataset):
    samples, _ = dataset
    samples.save_view("some", samples.limit(4))
    assert len(find_captioned_videos({"dataset": "french"}, 0)) == 30
    assert len(find_captioned_videos({"dataset": "french", "tags": ["val"]}, 0)) == 5
    assert len(find_captioned_videos({"dataset": "french", "view": "some"}, 0)) == 4
    assert len(find_captioned_videos({"scenes": 7}, 0)) == 7
    for table, message in (
        ({"dataset": "nope"}, "no dataset 'nope'; there are: .*french"),
        ({"dataset": "french", "view": "none"}, "no saved view 'none'"),
        ({"dataset": "french", "tags": ["test"]}, "no samples tagged test"),
        ({"datasets": "french"}, "unknown keys datasets; there are dataset, view"),
    ):
        with pytest.raises(TrainingError, match=message):
            find_captioned_videos(table, 0)


TINY = (
    'per_epoch = "videos"\nbatch_size = 8\nworkers = 1\ndevice = "cpu"\n[train]\nscenes = 24\n[network]\n'
    "image_size = 16\npatch_size = 8\nvision_width = 16\nvision_layers = 1\nvision_heads = 1\n"
    "vocab_size = 700\ncontext_length = 32\ntext_width = 16\ntext_layers = 1\ntext_heads = 1\n"
    "embed_dim = 16\ntemporal_layers = 1\ntemporal_heads = 1\nmax_frames = 4\n"
)


def test_the_train_command(c2v, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    done = c2v("train", "tiny.toml", "--out", "run", "--set", "steps=3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 3
    again = c2v("train", "tiny.toml", "--out", "run", "--set", "steps=3")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "resume it (--resume)" in again.stderr
    assert c2v("train", "tiny.toml", "--out", "run", "--set", "steps=3", "--resume").returncode == 0
    assert c2v("train", "nope").stderr.startswith("c2v: no configuration 'nope'")
    assert "names no training videos" in c2v("train", "finetune").stderr
    assert "no dataset 'msvd'" in c2v("train", "msvd").stderr


def test_ctrl_c_of_the_train_command_says_how_to_go_on(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    command = [*C2V, "train", "tiny.toml", "--out", "run", "--set", "steps=100000"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(read_log(tmp_path / "run")) < 5 and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith("run the same command again with --resume to go on")
    assert (tmp_path / "run" / "state.pt").is_file()


def test_finetune_starts_from_the_default_model(links, model, tmp_path, monkeypatch):
    start = shutil.copytree(model.folder, tmp_path / "start")
    values = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({key: values[key] for key in values if key != "about"}))
    monkeypatch.setenv("C2V_MODEL", str(start))
    config = load_config("finetune", ["steps=1", "batch_size=4", "workers=1", "device=cpu"])
    told = []
    options = {"tags": ["train"], "config": config, "index": tmp_path / "index"}
    options["progress"] = lambda done, *, total: told.append((done, total))
    done = finetune("links", brain_key="by_default", out=tmp_path / "run", **options)
    assert told[0] == (1, 1)  # a step
    assert told[-1] == (len(links), len(links))  # videos embedded
    card = load_model(done.checkpoint, device="cpu").card
    assert (card.source, card.sentence) == ("start", "trained on links")
    links.delete_brain_run("by_default")
    links.untag_samples("by_default-val")
    monkeypatch.setenv("C2V_MODEL", "nope")
    with pytest.raises(CheckpointError, match="default model, set by C2V_MODEL: no model 'nope'"):
        finetune("links", brain_key="another", out=tmp_path / "other", **options)
