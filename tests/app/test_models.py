"""Which model the App takes, and what it says of it: the default for what is new, a run's own for what there is."""

import json
import shutil

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from clip2video_plugin import compute_clip2video, load_model
from clip2video_plugin.app import plugin
from clip2video_plugin.app.operators.forms import PANEL, URI
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import CheckpointError, VideoIndexError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.installed import use_by_default
from clip2video_plugin.model.saving import save_checkpoint

from .test_panel import happens

ABOUT = "zero-shot: an image model, frames averaged; not trained on videos"


@pytest.fixture(scope="module", autouse=True)
def _installed():
    plugin.install()
    yield
    plugin.uninstall()


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The models folder, with the default "clip" in it, which is zero-shot."""
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("C2V_INDEX", str(tmp_path / "index"))
    model = load_model("shapes", device="cpu", precision="float32")
    model.network.logit_scale.data += 0.01
    save_checkpoint(tmp_path / "models" / "clip", model.network, model.tokenizer, card=Card(training="zero-shot"))
    use_by_default("clip")
    return tmp_path / "models"


@pytest.fixture
def dataset(world):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, max_samples=2)
    yield dataset
    for key in dataset.list_brain_runs():
        dataset.delete_brain_run(key)
    dataset.delete()


def compute(dataset, key, **options):
    return compute_clip2video(dataset, brain_key=key, progress=False, **options)


def model_field(dataset, **params):
    """Of the form that computes embeddings: what is preselected, the labels, and what is wrong with the choice."""
    ctx = ExecutionContext({"dataset_name": dataset.name, "params": params})
    field = foo.get_operator(f"{URI}/compute_embeddings").resolve_input(ctx).type.properties["model"]
    return field.default, {choice.value: choice.label for choice in field.view.choices}, field.error_message or None


def test_a_new_run_takes_the_default_and_an_old_one_keeps_its_model(dataset, models):
    assert compute(dataset, "old", model="shapes").config.checkpoint == "shapes"
    assert compute(dataset, "new").config.checkpoint == "clip"
    again = compute(dataset, "old")
    assert (again.config.checkpoint, again.get_model().model.name) == ("shapes", "shapes")
    with pytest.raises(VideoIndexError, match=r"brain key 'old' was made with model 'shapes'.*; this is model 'clip'"):
        compute(dataset, "old", model="clip")


def test_a_search_loads_what_sentences_need_and_a_video_the_rest_once_for_all(dataset, models):
    run = compute(dataset, "new")
    vectors, ids, _ = run.get_embeddings()
    fresh = type(run)(dataset, run.config, "new")  # as another process has it
    assert dataset.sort_by_similarity("a red square moves", k=1, brain_key="new")
    find_by = fresh.get_model()
    find_by.embed_prompt("a red square moves")
    assert find_by.model.network.image is None
    found = find_by.embed(dataset[str(ids[0])].filepath)
    assert float(found @ vectors[0]) > 0.999
    assert fresh.get_model().model.network.image is not None
    assert fresh.get_model().whole() is find_by.whole()


def test_a_model_that_was_replaced_before_a_video_came_is_refused(dataset, models):
    run = compute(dataset, "new")
    sentences = type(run)(dataset, run.config, "new").get_model()
    model = load_model("clip", device="cpu", precision="float32")
    model.network.logit_scale.data += 0.01
    save_checkpoint(models / "clip", model.network, model.tokenizer)
    with pytest.raises(CheckpointError, match=r"model 'clip' was replaced after it was loaded"):
        sentences.embed(dataset.first().filepath)


def test_computing_again_takes_the_model_that_is_loaded(dataset, models, monkeypatch):
    run = compute(dataset, "new")
    loaded = run.get_model().whole()
    monkeypatch.setattr("clip2video_plugin.app.brain.load_model", lambda *_, **__: pytest.fail("loaded again"))
    assert compute(dataset, "new").get_model().whole() is loaded
    assert compute(dataset, "new", model="clip").get_model().whole() is loaded


def test_a_run_whose_model_is_gone_is_one_line(dataset, models):
    compute(dataset, "new")
    (models / "clip").rename(models / "renamed")
    with pytest.raises(
        VideoIndexError, match=r"brain key 'new' was made with model 'clip' .*: no model 'clip'; there are"
    ):
        compute(dataset, "new")
    with pytest.raises(CheckpointError, match="default model 'clip', set by c2v models use, is not installed any more"):
        compute(dataset, "other")
    assert dataset.list_brain_runs() == ["new"]


def test_the_form_preselects_the_default_and_says_what_each_model_is(dataset, models, monkeypatch):
    shapes = "shapes, trained on generated videos of moving shapes"
    assert model_field(dataset) == ("clip", {"shapes": shapes, "clip": f"clip, {ABOUT}"}, None)
    elsewhere = shutil.copytree(models / "clip", models.parent / "elsewhere")
    monkeypatch.setenv("C2V_MODEL", str(elsewhere))
    default, labels, _ = model_field(dataset)
    assert (default, labels[default]) == (str(elsewhere), f"{elsewhere}, {ABOUT}")
    done = foo.get_operator(f"{URI}/compute_embeddings")(dataset, brain_key="k", model=str(elsewhere), device="cpu")
    assert done["indexed"] == 2
    shutil.rmtree(elsewhere)
    default, labels, wrong = model_field(dataset)
    assert (default, list(labels)) == (None, ["shapes", "clip"])
    assert "set by C2V_MODEL" in wrong
    assert model_field(dataset, model="clip")[2] is None


def test_the_form_of_an_index_that_there_is_has_its_own_model(dataset, models):
    compute(dataset, "old", model="shapes", sampling="reference")
    assert model_field(dataset, brain_key="old")[::2] == ("shapes", None)
    wrong = "the index old was made with model shapes; choose that, or another brain key"
    assert model_field(dataset, brain_key="old", model="clip")[2] == wrong
    operator = foo.get_operator(f"{URI}/compute_embeddings")
    with pytest.raises(ExecutionError, match=wrong):
        operator(dataset, brain_key="old", model="clip")
    assert operator(dataset, brain_key="old", device="cpu")["indexed"] == 2
    facts = foo.get_operator(f"{URI}/index_info")(dataset, "old")
    assert (facts["model"], facts["about"]) == ("shapes", "trained on generated videos of moving shapes")


def test_the_panel_says_what_the_model_is_in_plain_words(dataset, models):
    panel = foo.get_operator(f"{URI}/{PANEL}")
    compute(dataset, "new")
    _, drawn, _ = happens(panel, dataset, "on_load", {})
    assert drawn["about_shown"]["default"] == f"*model clip, {ABOUT}*"
    assert "warning_shown" not in drawn
    dataset.delete_brain_run("new")

    values = json.loads((models / "clip" / "config.json").read_text())
    words = {"training": "trained", "trained_on": "[x](http://y) *b*\n# <b>" + "z" * 1_000_000}
    (models / "clip" / "config.json").write_text(json.dumps(values | {"about": words}))
    compute(dataset, "new")
    _, drawn, _ = happens(panel, dataset, "on_load", {})
    assert drawn["about_shown"]["default"].startswith(r"*model clip, trained on \[x\](http://y) \*b\* \# \<b\>zz")
    assert len(drawn["about_shown"]["default"]) < 300
