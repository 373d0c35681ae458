"""CLIP2Video's state dicts, imported, equal those built by ``from_reference``, whose numbers the golden tests hold."""

import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model import from_reference
from clip2video_plugin.model.convert import import_checkpoint

from ..test_golden import CONFIG, PAPER, SPEC, state_dict

KEPT = {name: CONFIG[name] for name in ("center_weight", "max_frames", "max_words")}
# By its keys a file with block 11 may be of TAB or of TAB_TDB; the released ones are the latter.
GIVEN = {"tab_noTDBinTAB": {"center_proj": "TAB"}}


def grown(state):
    """The golden weights with as many words as CLIP's tokenizer has."""
    words = state["clip.token_embedding.weight"]
    return state | {"clip.token_embedding.weight": torch.zeros(49408, words.shape[1])}


@pytest.mark.parametrize("variant", SPEC["variants"])
def test_every_variant_is_known_by_its_keys(tmp_path, variant):
    state = grown(state_dict(variant))
    torch.save(state, tmp_path / "pytorch_model.bin.2")
    options = {**PAPER, **SPEC["variants"][variant]["overrides"]}
    expected = from_reference(state, **{key: options[key] for key in PAPER}, **KEPT)
    folder = import_checkpoint(tmp_path / "pytorch_model.bin.2", options=KEPT | GIVEN.get(variant, {}))
    model = load_model(folder, device="cpu", precision="float32")
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(model.network.state_dict()[key], value, rtol=0, atol=0)
    config = expected.config.to_dict() | ({} if expected.config.temporal == "difference" else {"difference": "any"})
    ours = model.config.to_dict() | ({} if expected.config.temporal == "difference" else {"difference": "any"})
    assert ours == config
    assert (model.card.training, model.card.source) == ("trained", "pytorch_model.bin.2")


def test_an_option_that_there_is_not_is_named(tmp_path):
    torch.save(grown(state_dict("main")), tmp_path / "pytorch_model.bin.2")
    with pytest.raises(CheckpointError, match="max_frame does not apply to it; allowed are sim_type"):
        import_checkpoint(tmp_path / "pytorch_model.bin.2", options={"max_frame": 3})


def test_old_names_of_norms_are_read(tmp_path):
    state = grown(state_dict("main"))
    state["trans_layernorm.gamma"] = state.pop("trans_layernorm.weight")
    state["trans_layernorm.beta"] = state.pop("trans_layernorm.bias")
    torch.save(state, tmp_path / "pytorch_model.bin.2")
    import_checkpoint(tmp_path / "pytorch_model.bin.2", options=KEPT)
