"""The embedded model has seen generated shapes only, untrained parts nothing, and whoever uses them is told so."""

import json
import shutil

import pytest

from clip2video_plugin import embed_videos, load_model, search
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.fetch import DOWNLOADS
from clip2video_plugin.model.installed import find_checkpoint
from clip2video_plugin.model.saving import save_checkpoint

WORDS = "knows generated shapes only; for real videos: c2v models fetch "


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A checkpoint whose weights are others, of an earlier version, which says nothing of itself."""
    return save_others(tmp_path_factory.mktemp("models") / "tuned")


def save_others(folder, card=None):
    model = load_model("shapes", device="cpu", precision="float32")
    model.network.logit_scale.data += 0.01
    save_checkpoint(folder, model.network, model.tokenizer, card=card)
    return folder


@pytest.fixture
def run(c2v_here):
    """stdout and stderr of a command that succeeds."""

    def run(*arguments):
        code, out, err = c2v_here(*arguments)
        assert code == 0
        return out.decode(), err.decode()

    return run


def test_the_embedded_weights_warn_in_one_line_that_names_a_command_there_is(model):
    assert model.warning.startswith(f"model shapes {WORDS}")
    assert model.warning.split(WORDS)[1].split()[0] in DOWNLOADS
    assert "\n" not in model.warning


def test_a_renamed_copy_of_them_warns_too_and_a_fine_tuned_model_does_not(tuned, tmp_path):
    shutil.copytree(find_checkpoint()[1], tmp_path / "mine")
    assert load_model(tmp_path / "mine", device="cpu").warning.startswith(f"model mine {WORDS}")
    assert load_model(tuned, device="cpu").warning is None
    shutil.copytree(tuned, tmp_path / "shapes")
    assert load_model(tmp_path / "shapes", device="cpu").warning is None


def test_reports_and_results_carry_it(world, world_index, model, tuned, tmp_path):
    assert embed_videos(world[0], index=world_index, model=model).warning == model.warning
    assert search("a red square", index=world_index, model=model).warning == model.warning
    other = load_model(tuned, device="cpu")
    assert embed_videos(world[0] / "00000.mp4", index=tmp_path, model=other).warning is None
    assert search("a red square", index=tmp_path, model=other).warning is None


def test_embed_says_it_once_on_stderr_and_in_json(run, world, model, tmp_path):
    for again in ((), ("--json",)):
        out, err = run("embed", world[0] / "00000.mp4", "--index", tmp_path, *again)
        assert err == f"c2v: {model.warning}\n"
    assert json.loads(out)["warning"] == model.warning


def test_search_says_it_under_the_table_and_in_json(run, world_index, model):
    out, err = run("search", "a red square", "--index", world_index)
    assert out.rstrip().splitlines()[-1] == model.warning
    out, err = run("search", "a red square", "--index", world_index, "--json")
    assert json.loads(out)["warning"] == model.warning
    assert err == ""


def test_another_model_is_not_spoken_of(run, world, tuned, tmp_path):
    where = ("--index", tmp_path, "--model", tuned)
    out, err = run("embed", world[0] / "00000.mp4", *where, "--json")
    assert (json.loads(out)["warning"], err) == (None, "")
    assert "shapes" not in run("search", "a red square", *where)[0]
    assert json.loads(run("search", "a red square", *where, "--json")[0])["warning"] is None


def test_untrained_parts_are_warned_of_wherever_the_model_is_used(run, world, tmp_path):
    model = save_others(tmp_path / "clip", Card(training="untrained"))
    where = ("--index", tmp_path / "index")
    out, err = run("embed", world[0] / "00000.mp4", *where, "--model", model)
    said = load_model(model, device="cpu").warning
    assert said.startswith("the temporal parts of model clip are not trained; fine-tune it (c2v finetune)")
    assert (err, len(out.splitlines())) == (f"c2v: {said}\n", 1)
    assert run("search", "a red square", *where)[0].splitlines()[-1] == said
    document = json.loads(run("search", "a red square", *where, "--json")[0])
    assert (document["training"], document["warning"]) == ("untrained", said)
    assert document["about"].startswith("untrained: ")


@pytest.mark.parametrize(
    ("card", "about"),
    [
        (Card(training="zero-shot"), "zero-shot: an image model, frames averaged; not trained on videos"),
        (Card(training="trained", trained_on="MSR-VTT 1k-A"), "trained on MSR-VTT 1k-A"),
    ],
)
def test_what_is_no_warning_is_said_in_the_answer_alone(run, world, tmp_path, card, about):
    where = ("--index", tmp_path / "index")
    said = run("embed", world[0] / "00000.mp4", *where, "--model", save_others(tmp_path / "mine", card))
    assert (said[1], said[0].splitlines()[1:]) == ("", [f"model mine, {about}"])
    out, err = run("search", "a red square", *where)
    assert (out.splitlines()[-1], err) == (f"model mine, {about}", "")
    document = json.loads(run("search", "a red square", *where, "--json")[0])
    assert [document[name] for name in ("training", "about", "warning")] == [card.training, about, None]


def test_a_strangers_words_steer_no_terminal(run, world, tmp_path):
    model = save_others(tmp_path / "mine", Card(training="trained"))
    values = json.loads((model / "config.json").read_text())
    values["about"] |= {"trained_on": "a\n\x1b[31m" + "b" * 3_000_000, "source": "[red]c[/]\r", "licence": "\u202e"}
    (model / "config.json").write_text(json.dumps(values))
    where = ("--index", tmp_path / "index")
    out = run("embed", world[0] / "00000.mp4", *where, "--model", model)[0]
    out += run("search", "a red square", *where)[0] + run("models", "info", model)[0]
    assert len(out) < 5000
    assert "\x1b[31m" not in out
    assert r"trained on a \x1b[31mbbb" in out
    assert "[red]c[/]\n" in out
    assert r"\u202e" in out
