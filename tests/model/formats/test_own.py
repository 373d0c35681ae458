"""Checkpoint folders of this package, from another machine, import as they are."""

import json

import pytest

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.convert import import_checkpoint
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.model.tokenizer import clip_tokenizer


@pytest.fixture
def folder(tmp_path, model):
    save_checkpoint(
        tmp_path / "Trained There",
        load_model("shapes", device="cpu", precision="float32").network,
        model.tokenizer,
        half=True,
        card=Card(training="trained", trained_on="our lab's videos", licence="MIT"),
    )
    return tmp_path / "Trained There"


def test_it_is_the_same_under_its_name(folder):
    before = load_model(folder, device="cpu", precision="float32")
    after = load_model(import_checkpoint(folder), device="cpu", precision="float32")
    assert after.name == "trained-there"
    assert after.card == before.card
    assert after.makes_vectors() == before.makes_vectors()
    vectors = [loaded.encode_captions(["a red square moves left"]).vector for loaded in (before, after)]
    assert (vectors[0] == vectors[1]).all()


def test_what_a_query_may_change_can_be_given(folder):
    config = load_model(import_checkpoint(folder, options={"center_weight": 0.25}), device="cpu").config
    assert config.center_weight == 0.25
    for given in ({"heads": 2}, {"activation": "gelu"}):
        with pytest.raises(CheckpointError, match=r"config\.json says heads and activation"):
            import_checkpoint(folder, **given)


def test_one_without_its_tokenizer_or_of_another_version_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hologram": 3}))
    with pytest.raises(CheckpointError, match="unknown fields hologram; made by a newer version"):
        import_checkpoint(folder)
    (folder / "config.json").write_text(json.dumps(config))
    clip_tokenizer().save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"has 49408 tokens, the network \d+; they do not belong together"):
        import_checkpoint(folder)
    (folder / "tokenizer.json").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
        import_checkpoint(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json; import the whole checkpoint folder"):
        import_checkpoint(folder)


def test_it_is_no_plain_clip_to_start_from(folder):
    with pytest.raises(CheckpointError, match="is no OpenAI CLIP or other plain CLIP"):
        import_checkpoint(folder, init_from_clip=True)
