"""What ``c2v models import`` prints."""

import pytest
import torch

from ..model.formats.foreign import extras, openai_state
from ..model.formats.peers import CLIPS_WORDS, clip_model


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A small CLIP in OpenAI's form."""
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "models"))
    state = openai_state(clip_model(text=CLIPS_WORDS, projection=64))
    torch.save(state | extras(state), tmp_path / "ViT-B-32.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "epoch_3.pt")
    return tmp_path / "ViT-B-32.pt"


def test_it_says_what_the_model_is_and_how_to_use_it(c2v_here, clip):
    code, out, _ = c2v_here("models", "import", clip)
    assert code == 0
    name, about, use = out.decode().splitlines()
    assert name == f"vit-b-32: {clip.parent / 'models' / 'vit-b-32'}"
    assert about.startswith("zero-shot: ")
    assert use == "use it: c2v embed FOLDER --model vit-b-32    make it the default: c2v models use vit-b-32"


def test_a_start_for_training_is_not_to_be_used(c2v_here, clip):
    code, out, _ = c2v_here("models", "import", clip, "--init-from-clip", "--name", "start")
    assert code == 0
    assert "untrained" in out.decode().splitlines()[1]
    assert out.decode().splitlines()[2].startswith("train it: c2v finetune DATASET --model start")


def test_heads_and_activation_are_given_and_what_is_left_out_is_said(c2v_here, clip):
    path = clip.parent / "epoch_3.pt"
    code, _, err = c2v_here("models", "import", path)
    assert code == 1
    assert len(err.splitlines()) == 1
    code, out, _ = c2v_here("models", "import", path, "--activation", "gelu", "--heads", "2,1")
    assert code == 0
    assert out.decode().splitlines()[0] == "left out, having no place here: epoch"
    code, out, _ = c2v_here("models", "import", path, "--activation", "gelu", "--heads", "2,1")
    assert out.decode().splitlines()[1] == "replaced the checkpoint 'epoch_3' that was there"


@pytest.mark.parametrize("heads", ["many", "2,", "2,1,1", "0", "-2"])
def test_heads_that_are_none_are_refused(c2v_here, clip, heads):
    code, _, err = c2v_here("models", "import", clip, f"--heads={heads}")
    assert code in (1, 2)
    assert b"heads" in err
    assert b"Traceback" not in err
