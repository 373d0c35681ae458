"""The network at any size and in any variant: shapes, unit norms, batch independence, the one-vector identity."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip2video_plugin.errors import CheckpointError, Clip2VideoError
from clip2video_plugin.model import Clip2Video, ModelConfig

SMALL = {
    "image_size": 12,
    "patch_size": 4,
    "vision_width": 16,
    "vision_layers": 1,
    "vision_heads": 2,
    "vocab_size": 50,
    "context_length": 20,
    "text_width": 24,
    "text_layers": 1,
    "text_heads": 3,
    "embed_dim": 32,
    "temporal_layers": 1,
    "temporal_heads": 4,
    "max_frames": 6,
    "max_words": 10,
}
VARIANTS = [
    ("mean", "subtract", "none"),
    ("mean", "subtract", "frames"),
    ("transformer", "subtract", "none"),
    ("transformer", "subtract", "frames"),
    ("transformer", "subtract", "clips"),
    *[
        ("difference", kind, alignment)
        for kind in ("subtract", "mlp", "attention")
        for alignment in ("none", "frames", "clips", "difference")
    ],
]


def build(**sizes):
    torch.manual_seed(0)
    return Clip2Video(ModelConfig(**{**SMALL, **sizes})).eval()


def batch(network, valid, frames):
    side = network.config.image_size
    mask = torch.tensor([[int(i < n) for i in range(frames)] for n in valid])
    return torch.randn(len(valid), frames, 3, side, side) * mask[..., None, None, None], mask


@pytest.mark.parametrize(("temporal", "difference", "alignment"), VARIANTS)
@torch.inference_mode()
def test_every_variant_gives_unit_vectors_and_one_dot_product(temporal, difference, alignment):
    network = build(temporal=temporal, difference=difference, alignment=alignment)
    video = network.encode_video(*batch(network, [6, 3, 1], 6))
    ids = torch.tensor([[48, 5, 6, 49, 0], [48, 7, 49, 0, 0]])
    text = network.encode_text(ids, (ids > 0).long())
    torch.testing.assert_close(video.vector.norm(dim=-1), torch.ones(3))
    assert video.vector.shape == (3, network.config.vector_dim)
    score = network.config.center_weight * text.global_vector @ video.global_vector.T
    if alignment == "none":
        score = text.global_vector @ video.global_vector.T
    else:
        score = score + (1 - network.config.center_weight) * text.aligned_vector @ video.aligned_vector.T
    torch.testing.assert_close(network.similarity(text, video), network.logit_scale.exp() * score)


@given(
    frames=st.integers(3, 9),
    patch=st.sampled_from([2, 3, 4, 6]),
    centers=st.integers(1, 9),
    weight=st.floats(0, 1),
    layers=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=20, deadline=None)
@torch.inference_mode()
def test_any_size_is_independent_of_the_batch(frames, patch, centers, weight, layers, data):
    network = build(
        max_frames=frames,
        patch_size=patch,
        centers=centers,
        center_weight=weight,
        temporal_layers=layers,
        vision_layers=layers,
    )
    valid = data.draw(st.lists(st.integers(3, frames), min_size=2, max_size=4))
    pixels, mask = batch(network, valid, frames)
    together = network.encode_video(pixels, mask).vector
    for i in range(len(valid)):
        torch.testing.assert_close(
            network.encode_video(pixels[i : i + 1], mask[i : i + 1]).vector[0], together[i], atol=2e-6, rtol=0
        )


@torch.inference_mode()
def test_another_weight_of_the_query():
    network = build()
    ids = torch.tensor([[48, 5, 6, 49, 0]])
    text = network.encode_text(ids, (ids > 0).long())
    torch.testing.assert_close(text.at_weight(0.5), text.vector)
    assert text.at_weight(1.0)[0, 32:].eq(0).all()
    with pytest.raises(Clip2VideoError, match=r"weight is 1\.1"):
        text.at_weight(1.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temporal": "lstm"}, "temporal is 'lstm'; allowed are mean, transformer, difference"),
        ({"patch_size": 5}, "not a multiple"),
        ({"vision_heads": 3}, "vision_width 16"),
        ({"embed_dim": 0}, "embed_dim is 0"),
        ({"center_weight": 1.5}, "center_weight is 1.5"),
        ({"max_words": 21}, "max_words is 21"),
        ({"max_frames": 21}, "max_frames 21"),
        ({"max_frames": 2}, "max_frames 2 is too few"),
        ({"temporal": "mean", "alignment": "clips"}, "frame positions"),
        ({"temporal": "transformer"}, "alignment 'difference' needs"),
    ],
)
def test_an_impossible_configuration_names_the_value(change, message):
    with pytest.raises(CheckpointError, match=message):
        ModelConfig(**{**SMALL, **change})


def test_wrong_shapes_are_named():
    network = build()
    with pytest.raises(Clip2VideoError, match=r"expected \[B, F, 3, 12, 12\]"):
        network.encode_video(torch.zeros(1, 6, 3, 8, 8), torch.ones(1, 6))
    with pytest.raises(Clip2VideoError, match="frame_mask"):
        network.encode_video(torch.zeros(1, 6, 3, 12, 12), torch.ones(1, 5))
    with pytest.raises(Clip2VideoError, match="frame positions"):
        network.encode_video(torch.zeros(1, 21, 3, 12, 12), torch.ones(1, 21))
    with pytest.raises(Clip2VideoError, match="token_ids"):
        network.encode_text(torch.zeros(1, 30, dtype=torch.long), torch.ones(1, 30))
