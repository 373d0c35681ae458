"""Which model is the default: C2V_MODEL, else the one chosen last, else the embedded one; never another in silence."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.installed import (
    chosen_default,
    default_model,
    embedded_folder,
    find_checkpoint,
    installed_checkpoints,
    is_default,
    lasting_name,
    read_card,
    use_by_default,
)


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """The models folder, with the model "mine" in it."""
    folder = tmp_path / "models"
    monkeypatch.setenv("C2V_MODELS", str(folder))
    monkeypatch.chdir(tmp_path)
    install(folder / "mine")
    return folder


def install(folder):
    shutil.copytree(embedded_folder(), folder)
    return folder


def refusal(call, *arguments):
    with pytest.raises(CheckpointError) as raised:
        call(*arguments)
    assert str(raised.value).count("\n") == 0
    return str(raised.value)


def test_without_a_choice_it_is_the_embedded_one(models):
    for _ in range(2):
        assert default_model() == "shapes"
        assert chosen_default() is None
        assert find_checkpoint() == ("shapes", embedded_folder())
        shutil.rmtree(models, ignore_errors=True)


def test_the_last_choice_counts_until_the_next(models):
    install(models / "other")
    for name in ("mine", "other", "mine"):
        use_by_default(name)
        assert (default_model(), find_checkpoint()) == (name, (name, models / name))
        assert [is_default(folder) for folder in installed_checkpoints().values()].count(True) == 1
    use_by_default("shapes")
    assert find_checkpoint() == ("shapes", embedded_folder())
    assert sorted(path.name for path in models.iterdir()) == [".default", "mine", "other"]
    assert list(installed_checkpoints()) == ["shapes", "mine", "other"]


def test_the_variable_comes_before_the_choice_by_name_or_by_folder(models, tmp_path, monkeypatch):
    install(tmp_path / "elsewhere")
    use_by_default("mine")
    monkeypatch.setenv("C2V_MODEL", "shapes")
    assert find_checkpoint() == ("shapes", embedded_folder())
    monkeypatch.setenv("C2V_MODEL", str(tmp_path / "elsewhere"))
    assert find_checkpoint() == ("elsewhere", tmp_path / "elsewhere")
    monkeypatch.setenv("C2V_MODEL", "")
    assert find_checkpoint() == ("mine", models / "mine")
    monkeypatch.delenv("C2V_MODEL")
    assert default_model() == "mine"


@pytest.mark.parametrize(
    "name", ["nope", "", ".", "..", ".default", "mine/", "./mine", "../models/mine", "MINE", "a\nb"]
)
def test_only_what_is_installed_is_chosen(models, name):
    use_by_default("mine")
    assert "there are shapes, mine" in refusal(use_by_default, name)
    assert default_model() == "mine"


@pytest.mark.parametrize(
    "name", ["two words", "größe", "$(x)", "-x", "line\nbreak", "ends\n", " ", b"\xff\xfe", "n" * 255]
)
def test_a_name_of_any_characters_is_remembered(models, name):
    name = os.fsdecode(name)
    install(models / name)
    use_by_default(name)
    assert find_checkpoint() == (name, models / name)


def test_a_default_that_was_deleted_or_renamed_is_named_with_where_it_was_set(models, monkeypatch):
    use_by_default("mine")
    (models / "mine").rename(models / "yours")
    (models.parent / "mine").mkdir()  # no stand-in, though it is called so and lies in the working directory
    shutil.copy(embedded_folder() / "config.json", models.parent / "mine")
    said = refusal(find_checkpoint)
    for words in ("'mine'", "set by c2v models use", "not installed any more", "there are shapes, yours", "use NAME"):
        assert words in said
    assert not is_default(models / "yours")
    use_by_default("yours")
    assert find_checkpoint()[0] == "yours"


@pytest.mark.parametrize("value", ["nope", "no/where", "config.json", "x\x1b[31m\ny"])
def test_a_variable_that_names_nothing_is_named(models, monkeypatch, value):
    (models.parent / "config.json").write_text("{}")
    monkeypatch.setenv("C2V_MODEL", value)
    said = refusal(find_checkpoint)
    assert "set by C2V_MODEL" in said
    assert "unset it" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("content", [b"", b"\n", b"\0\1\2", b"\xff" * 100_000, b"mine\nmine\n", b"../models/mine"])
def test_a_choice_that_nobody_made_is_no_choice_of_the_embedded_model(models, content):
    (models / ".default").write_bytes(content)
    said = refusal(find_checkpoint)
    assert "c2v models use NAME" in said
    assert len(said) < 2000
    use_by_default("mine")
    assert find_checkpoint()[0] == "mine"


def test_a_choice_that_cannot_be_read_or_written_says_so(models):
    (models / ".default").mkdir()
    assert "cannot be read" in refusal(find_checkpoint)
    assert "cannot be written" in refusal(use_by_default, "mine")
    assert sorted(path.name for path in models.iterdir()) == [".default", "mine"]


def test_processes_that_choose_at_once_leave_one_of_their_choices(models):
    names = [f"m{i}" for i in range(4)]
    for name in names:
        install(models / name)
    choose = (
        "import sys; from clip2video_plugin.model.installed import *; [use_by_default(sys.argv[1]) for _ in range(50)]"
    )
    running = [subprocess.Popen([sys.executable, "-P", "-c", choose, name]) for name in names]
    seen = set()
    while any(one.poll() is None for one in running):
        seen.add(find_checkpoint()[0])
    assert [one.returncode for one in running] == [0] * 4
    assert seen <= {"shapes", *names}
    assert find_checkpoint()[0] in names
    assert sorted(path.name for path in models.iterdir()) == [".default", *names, "mine"]


def test_no_imported_folder_takes_the_place_of_the_embedded_model(models):
    install(models / "shapes")
    assert installed_checkpoints() == {"shapes": embedded_folder(), "mine": models / "mine"}


def test_the_lasting_name_is_found_from_everywhere(models, tmp_path, monkeypatch):
    install(tmp_path / "folder" / "mine")
    for folder in (models / "mine", tmp_path / "folder" / "mine", embedded_folder()):
        name = lasting_name(folder.name if folder != embedded_folder() else "shapes", folder)
        monkeypatch.chdir("/")
        assert find_checkpoint(name)[1] == folder


# What a checkpoint says of itself


def test_the_sentence_says_what_its_ranking_is_worth():
    assert Card(training="zero-shot").sentence == ("zero-shot: an image model, frames averaged; not trained on videos")
    assert Card(training="trained", trained_on="MSR-VTT 1k-A").sentence == "trained on MSR-VTT 1k-A"
    assert Card(training="trained").sentence == "trained on captioned videos"
    assert Card(training="untrained").sentence.startswith("untrained: ")
    assert Card(source="a", licence="b").sentence is None


def test_a_hostile_text_becomes_one_plain_line():
    card = Card(
        training="trained", trained_on="a\n\nb\x1b[31mred\u202e" + "x" * 5_000_000, source="\r\n\t ", licence="\x9b"
    )
    assert card.sentence.startswith(r"trained on a b\x1b[31mred\u202exxx")
    assert len(card.sentence) <= 220
    assert (card.source, card.licence) == (None, r"\u009b")
    for values in ({"training": "x" * 5_000_000}, {"source": ["\n"] * 1_000_000}, ["\x1b"] * 1_000_000):
        assert len(refusal(Card.from_dict, values)) < 400


def test_a_card_is_read_without_the_weights_and_is_empty_where_it_cannot_be(models):
    (models / "mine" / "model.safetensors").unlink()
    assert read_card(models / "mine").sentence == "trained on generated videos of moving shapes"
    for content in (b"", b"[]", b"\xff", b"[" * 100_000, b'{"about": 5}', b'{"about": {"training": 5}}', b"{}"):
        (models / "mine" / "config.json").write_bytes(content)
        assert read_card(models / "mine") == Card()
    (models / "mine" / "config.json").write_text(json.dumps({"about": {"licence": "MIT", "of a newer version": 1}}))
    assert read_card(models / "mine") == Card(licence="MIT")
    assert read_card(models / "nope") == Card()
