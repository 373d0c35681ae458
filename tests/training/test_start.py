"""The network that a run starts from: a zero-shot model as it is, or with temporal parts made from its text tower."""

import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError, TrainingError
from clip2video_plugin.model import ModelConfig
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.model.start import with_temporal_parts
from clip2video_plugin.training import load_config, train
from clip2video_plugin.training.config import with_changes
from clip2video_plugin.training.start import start
from clip2video_plugin.training.world import scene_videos

from .tiny import NETWORK, config

ZERO_SHOT = {"temporal": "mean", "alignment": "none", "text_layers": 5}
PAPER = {"temporal": "difference", "alignment": "difference"}


def saved(folder, **network):
    """A checkpoint of a network with numbers of its own everywhere."""
    made, tokenizer = start(config(network=network), scene_videos(40, seed=1))
    with torch.no_grad():
        for number, value in enumerate(made.parameters()):
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(number)) * 0.05)
    save_checkpoint(folder, made, tokenizer, card=Card(training="zero-shot"))
    return folder, made.state_dict()


@pytest.fixture
def clip(tmp_path):
    return saved(tmp_path / "clip", **ZERO_SHOT)


def from_checkpoint(folder, **network):
    """Settings of a short run that starts from a checkpoint and changes no more of its network than is said."""
    return with_changes(config(epochs=2), model=str(folder), network=network)


def started(folder, **network):
    return start(from_checkpoint(folder, **network), [])[0]


def test_a_zero_shot_model_is_fine_tuned_as_it_is(clip, tmp_path):
    folder, weights = clip
    made, _ = start(load_config("finetune", [f"model={folder}"]), [])
    assert made.config == load_model(folder, device="cpu").config
    assert all(torch.equal(value, weights[key]) for key, value in made.state_dict().items())
    changes = [f"model={folder}", "epochs=2", "batch_size=8", "per_epoch=videos", "workers=1", "device=cpu"]
    result = train(load_config("finetune", changes), scene_videos(48, 1), out=tmp_path / "run", progress=False)
    tuned = load_model(result.checkpoint, device="cpu", precision="float32")
    assert tuned.config == made.config
    after = tuned.network.state_dict()
    moved = {key for key, value in after.items() if not torch.equal(value, weights[key])}
    assert {"image.proj", "text.text_projection", "logit_scale"} < moved
    # At rates for weights that know something already: nowhere far from where they were.
    assert max((after[key] - weights[key]).abs().max().item() for key in moved) < 1e-4


def test_temporal_parts_that_are_asked_for_start_as_the_text_blocks(clip):
    """By hand (docs/explanation/network.md#start-from-a-clip)."""
    folder, weights = clip
    changes = [f"model={folder}", *(f"network.{name}={value}" for name, value in PAPER.items())]
    made, _ = start(load_config("finetune", changes), [])
    assert (made.config.temporal, made.config.alignment) == ("difference", "difference")
    assert (made.config.temporal_layers, made.config.temporal_heads) == (4, NETWORK["text_heads"])
    found, text = made.state_dict(), "text.transformer."
    for key, value in found.items():
        part, _, within = key.partition("resblocks.")
        if key in weights:
            assert torch.equal(value, weights[key]), key
        elif part in ("temporal.", "difference.attention.", "alignment.clip_transformer."):
            assert torch.equal(value, weights[f"{text}resblocks.{within}"]), key
        elif key == "frame_positions.weight":
            assert torch.equal(value, weights["text.positional_embedding"])
        elif key == "difference.types.weight":
            assert torch.equal(value, weights["text.positional_embedding"][:2])
        elif key.startswith("difference.norm."):
            assert value.eq(key.endswith("weight")).all()
        else:
            assert key in ("alignment.weight_centers", "alignment.centers")
            assert value.std().item() == pytest.approx(1 / 8, rel=0.2)
    assert {key.split("resblocks.")[1].split(".")[0] for key in found if key.startswith("temporal.")} == set("0123")
    again, _ = start(load_config("finetune", changes), [])
    other, _ = start(load_config("finetune", [*changes, "seed=1"]), [])
    assert torch.equal(again.alignment.centers, made.alignment.centers)
    assert not torch.equal(other.alignment.centers, made.alignment.centers)


def test_what_a_checkpoint_has_of_temporal_parts_is_kept(tmp_path):
    folder, weights = saved(tmp_path / "seq", temporal="transformer", alignment="none", temporal_heads=4)
    made = started(folder, **PAPER)
    found = made.state_dict()
    kept = [key for key in weights if key.startswith(("temporal.", "frame_positions."))]
    assert len(kept) == 13
    assert all(torch.equal(found[key], weights[key]) for key in kept)
    assert (made.config.temporal_layers, made.config.temporal_heads) == (1, 4)
    assert torch.equal(found["difference.types.weight"], weights["text.positional_embedding"][:2])


def test_the_projection_of_differences_comes_from_the_image_tower(clip):
    folder, weights = clip
    made = started(folder, temporal="difference", difference="mlp")
    assert torch.equal(made.difference.projection, weights["image.proj"][:32])
    assert made.config.alignment == "none"


def test_of_a_text_tower_that_does_not_fit_the_parts_are_drawn(tmp_path):
    folder, weights = saved(tmp_path / "narrow", **ZERO_SHOT, text_width=16)
    made = started(folder, **PAPER)
    assert torch.equal(made.image.proj, weights["image.proj"])
    assert made.frame_positions.weight.std().item() == pytest.approx(0.3, rel=0.1)  # frame_position_std
    network = ModelConfig.from_dict(NETWORK | ZERO_SHOT | {"text_width": 16})
    with pytest.raises(CheckpointError, match="text width 16 and embedding 32 differ, or its blocks are of"):
        with_temporal_parts(network, {})
    with pytest.raises(CheckpointError, match="towers are 'siglip'; temporal blocks are taken from the text tower of"):
        with_temporal_parts(ModelConfig.from_dict(NETWORK | ZERO_SHOT | {"towers": "siglip", "max_words": 32}), {})


def test_more_layers_than_the_text_tower_has_are_refused(clip):
    message = r"^\[network\] temporal_layers is 6; the text tower, which they are taken from, has 5 blocks$"
    with pytest.raises(TrainingError, match=message):
        started(clip[0], temporal="transformer", temporal_layers=6)


def test_a_start_with_temporal_parts_learns(clip, tmp_path):
    result = train(from_checkpoint(clip[0], **PAPER), scene_videos(48, 1), out=tmp_path / "run", progress=False)
    tuned = load_model(result.checkpoint, device="cpu", precision="float32")
    assert tuned.config.vector_dim == 64
    assert result.steps == 10


@pytest.mark.parametrize("name", ["msrvtt", "msvd", "vatex"])
def test_the_benchmarks_recipes_make_the_papers_network_of_a_zero_shot_clip(name):
    assert load_config(name).network == {**PAPER, "max_words": 32}
