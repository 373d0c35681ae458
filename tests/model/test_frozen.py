"""Fewer bits: as close to float32 as ``load_model`` says, and no coarser than their bits are."""

import copy
from itertools import islice

import numpy as np
import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.frozen import Int8Linear, freeze
from clip2video_plugin.shapes.render import render
from clip2video_plugin.shapes.scene import scenes

CLAIMED = {"bfloat16": 0.9998, "int8": 0.9997}  # least cosine of a video's vector to that of float32
MEDIAN = 0.9999
OTHER_SIZE = ModelConfig(
    image_size=64,
    patch_size=16,
    vision_width=192,
    vision_layers=4,
    vision_heads=3,
    vocab_size=50,
    context_length=20,
    text_width=64,
    text_layers=1,
    text_heads=1,
    embed_dim=64,
    temporal_layers=1,
    temporal_heads=1,
    max_words=10,
)


@pytest.mark.parametrize("precision", CLAIMED)
def test_vectors_of_the_embedded_model_are_as_close_as_is_claimed(precision):
    videos = [render(scene, np.linspace(0, 1, 12), 48) for scene in islice(scenes(0), 32)]
    vectors = []
    for bits in ("float32", precision):
        model = load_model(device="cpu", precision=bits)
        vectors.append(torch.cat([model.encode_frames(videos[i : i + 8]).vector for i in range(0, 32, 8)]))
    cosines = (vectors[0] * vectors[1]).sum(dim=1)
    assert CLAIMED[precision] < cosines.min() < 1
    assert cosines.median() > MEDIAN


@pytest.mark.parametrize("precision", CLAIMED)
@torch.inference_mode()
def test_vectors_of_a_network_of_another_size_are_as_close(precision):
    torch.manual_seed(0)
    network = Clip2Video(OTHER_SIZE).eval()
    frames, mask = torch.randn(6, 12, 3, 64, 64), torch.ones(6, 12)
    fewer = copy.deepcopy(network)
    freeze(fewer.image, precision)
    cosines = (network.encode_video(frames, mask).vector * fewer.encode_video(frames, mask).vector).sum(dim=1)
    assert CLAIMED[precision] < cosines.min() < 1


def test_all_bits_of_a_weight_are_used():
    """It is at most half a step of its row from what is computed with; a step is the largest weight by 127.

    By 63 on processors that add up products in 16 bits.
    """
    torch.manual_seed(0)
    weight = torch.randn(64, 96) * torch.logspace(-3, 2, 64)[:, None]
    used = Int8Linear(weight, torch.zeros(64))(torch.eye(96)).T  # ones are exact in 8 bits
    steps = 127 if torch.cpu._is_vnni_supported() else 63
    half_step = weight.abs().amax(dim=1, keepdim=True) / steps / 2
    assert ((used - weight).abs() <= 1.001 * half_step).all()
