"""The embedded model has seen generated shapes only, and whoever uses it on videos is told so."""

import json
import shutil

import pytest

from clip2video_plugin import embed_videos, load_model, search
from clip2video_plugin.model.fetch import DOWNLOADS
from clip2video_plugin.model.installed import find_checkpoint
from clip2video_plugin.model.saving import save_checkpoint

WORDS = "knows generated shapes only; for real videos: c2v models fetch "


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A checkpoint whose weights are others, as after fine-tuning."""
    model = load_model(device="cpu", precision="float32")
    model.network.logit_scale.data += 0.01
    folder = tmp_path_factory.mktemp("models") / "tuned"
    save_checkpoint(folder, model.network, model.tokenizer)
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
