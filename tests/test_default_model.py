"""From ``c2v models use`` to the next index, in commands of their own; an index keeps the model that made it."""

import json
import os
import shutil

import pytest

from clip2video_plugin import embed_videos, load_model, open_index, search
from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.saving import save_checkpoint

ZERO_SHOT = "zero-shot: an image model, frames averaged; not trained on videos"


def changed_weights(folder, by=0.01, **card):
    """The embedded model with weights of its own, as a checkpoint with a card."""
    model = load_model("shapes", device="cpu", precision="float32")
    model.network.logit_scale.data += by
    save_checkpoint(folder, model.network, model.tokenizer, card=Card(**card) if card else None)
    return folder


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The models folder, with "clip" in it, which is zero-shot."""
    folder = tmp_path / "models"
    monkeypatch.setenv("C2V_MODELS", str(folder))
    changed_weights(folder / "clip", training="zero-shot", source="a test", licence="MIT")
    return folder


@pytest.fixture
def one(world, tmp_path):
    """A folder of one video."""
    (tmp_path / "videos").mkdir()
    shutil.copy(world[0] / "00000.mp4", tmp_path / "videos")
    return tmp_path / "videos"


def test_what_is_chosen_makes_new_indexes_and_an_index_keeps_its_own(c2v, models, one, world, tmp_path):
    assert c2v("embed", "videos", "--index", "old").stderr.startswith("c2v: model shapes knows generated shapes only")
    done = c2v("models", "use", "clip")
    assert (done.returncode, done.stdout) == (
        0, f"clip is used from now on where no --model is given ({ZERO_SHOT})\n"
    )  # fmt: skip
    facts = json.loads(c2v("models", "info", "--json").stdout)
    assert (facts["name"], facts["training"], facts["licence"], facts["default"]) == ("clip", "zero-shot", "MIT", True)

    done = c2v("embed", "videos", "--index", "new")
    assert (done.stderr, done.stdout.splitlines()[1]) == ("", f"model clip, {ZERO_SHOT}")
    found = c2v("search", "a red square", "--index", "new")
    assert (found.stderr, found.stdout.splitlines()[-1]) == ("", f"model clip, {ZERO_SHOT}")
    document = json.loads(c2v("search", "a red square", "--index", "new", "--json").stdout)
    assert [document[name] for name in ("model", "training", "about", "warning")] == [
        "clip", "zero-shot", ZERO_SHOT, None
    ]  # fmt: skip

    shutil.copy(world[0] / "00001.mp4", one)
    done = c2v("embed", "videos", "--index", "old")
    assert done.stdout.startswith("1 embedded, 1 unchanged, 0 failed")
    assert done.stderr.splitlines()[0] == (
        f"c2v: index {tmp_path / 'old'} goes on with model shapes, which made it; the default model clip is for new "
        "indexes: choose another place (--index), or delete this one"
    )
    assert json.loads(c2v("search", "a red square", "--index", "old", "--json").stdout)["model"] == "shapes"


def test_the_variable_comes_first_and_use_says_so(c2v, models):
    environment = {**os.environ, "C2V_MODEL": "shapes"}
    said = c2v("models", "use", "clip", env=environment).stdout.splitlines()
    assert said[1] == "C2V_MODEL is set to shapes, which comes first as long as it is"
    assert json.loads(c2v("models", "info", "--json", env=environment).stdout)["name"] == "shapes"
    refused = c2v("models", "use", "nope")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "no installed model 'nope'; there are shapes, clip" in refused.stderr


@pytest.mark.parametrize("setting", ["C2V_MODEL", "c2v models use"])
def test_a_default_that_is_gone_is_one_line_and_no_index(c2v, models, one, tmp_path, monkeypatch, setting):
    if setting == "C2V_MODEL":
        monkeypatch.setenv("C2V_MODEL", "clip")
    else:
        (models / ".default").write_text("clip\n")
    shutil.rmtree(models / "clip")
    done = c2v("embed", "videos")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, "")
    assert "'clip'" in done.stderr
    assert f"set by {setting}" in done.stderr
    assert not (tmp_path / "c2v-index").exists()


# An index remembers its model


@pytest.fixture
def made(models, one, tmp_path):
    """An index that "clip" made."""
    embed_videos(one, index=tmp_path / "index", model="clip", device="cpu")
    return tmp_path / "index"


def test_an_index_whose_model_is_gone_is_one_line_whatever_the_default(made, models, one):
    (models / "clip").rename(models / "renamed")
    for call in (lambda: embed_videos(one, index=made), lambda: search("a dog", index=made)):
        with pytest.raises(VideoIndexError, match=r"was made with model 'clip' .* not installed; name its checkpoint"):
            call()
    assert search("a dog", index=made, model="renamed").model == "renamed"


def test_another_model_of_its_name_is_refused_by_both_hashes(made, models, one):
    before = load_model("clip", device="cpu").sha256
    changed_weights(models / "clip", by=0.5)
    after = load_model("clip", device="cpu").sha256
    for call in (lambda: embed_videos(one, index=made), lambda: search("a dog", index=made)):
        with pytest.raises(VideoIndexError, match=f"made with .*{before[:12]}.*; this is .*{after[:12]}"):
            call()


def test_a_folder_is_remembered_too(models, one, tmp_path, monkeypatch):
    changed_weights(tmp_path / "my" / "own", by=0.2)
    monkeypatch.chdir(tmp_path / "my")
    assert embed_videos(one, index=tmp_path / "index", model="own", device="cpu").embedded == 1
    monkeypatch.chdir("/")
    assert open_index(tmp_path / "index").provenance.folder == str(tmp_path / "my" / "own")
    assert embed_videos(one, index=tmp_path / "index", device="cpu").skipped == 1
    assert search("a dog", index=tmp_path / "index", device="cpu").model == "own"
    (tmp_path / "my" / "own").rename(models / "own")  # installed since
    assert search("a dog", index=tmp_path / "index", device="cpu").model == "own"
    shutil.rmtree(models / "own")
    with pytest.raises(
        VideoIndexError, match=f"is not in {tmp_path / 'my' / 'own'} any more and not installed; name its"
    ):
        search("a dog", index=tmp_path / "index")


def test_one_that_is_open_goes_on_with_its_model_as_well(made, one, world):
    shutil.copy(world[0] / "00001.mp4", one)
    report = embed_videos(one, index=open_index(made), device="cpu")
    assert (report.embedded, report.model, report.about, report.note) == (1, "clip", ZERO_SHOT, None)
