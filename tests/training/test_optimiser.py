"""Optimisers, schedule and freezing, against the formulas of the reference's recipe.

docs/explanation/network.md#training-recipe
"""

import math

import numpy as np
import pytest
import torch

from clip2video_plugin.training.optimiser import ReferenceAdam, freeze, make_optimiser, make_schedule

from .tiny import config, network_and_batch


def test_the_reference_optimiser_follows_its_formula():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(3, 4)), rng.normal(size=(5, 3, 4)) * [[[3.0]]] * 5
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = ReferenceAdam([{"params": [parameter], "lr": 0.1, "weight_decay": 0.2}], 0.1, (0.9, 0.98), 1e-6)
    expected, mean, square = start.copy(), np.zeros((3, 4)), np.zeros((3, 4))
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
        norm = np.linalg.norm(gradient)
        clipped = gradient * min(1.0, 1.0 / (norm + 1e-6))
        mean = 0.9 * mean + 0.1 * clipped
        square = 0.98 * square + 0.02 * clipped**2
        expected -= 0.1 * (mean / (np.sqrt(square) + 1e-6) + 0.2 * expected)
    assert np.allclose(parameter.detach().numpy(), expected, atol=1e-12)


def test_the_schedule_rises_linearly_and_falls_with_the_cosine_of_the_whole_run():
    network, _ = network_and_batch(2)
    settings = config(learning_rate=1.0, warmup=0.1)
    optimiser = make_optimiser(network, settings)
    schedule = make_schedule(optimiser, settings, 100)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.1)))  # the small drop from 1
    assert rates[50] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001


def test_towers_learn_at_their_own_rate_and_only_matrices_decay():
    network, _ = network_and_batch(2)
    names = {id(p): key for key, p in network.named_parameters()}
    settings = config(learning_rate=1e-4, clip_coefficient=1e-3, weight_decay=0.2)
    groups = {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in make_optimiser(network, settings).param_groups
        for p in group["params"]
    }
    assert groups.keys() == {key for key, _ in network.named_parameters()}
    assert groups["image.conv1.weight"] == pytest.approx((1e-7, 0.2))
    assert groups["logit_scale"] == pytest.approx((1e-7, 0.0))
    assert groups["temporal.resblocks.0.mlp.c_fc.weight"] == (1e-4, 0.2)
    assert groups["temporal.resblocks.0.ln_1.weight"] == (1e-4, 0.0)
    assert groups["alignment.centers"] == (1e-4, 0.2)


def test_the_reference_decays_by_name_as_clip4clip_does():
    """Its rule spares "bias" and "LayerNorm.weight"; CLIP's own norms are called ln_1 and decay."""
    network, _ = network_and_batch(2)
    names = {id(p): key for key, p in network.named_parameters()}
    settings = config(optimiser="reference", weight_decay=0.2)
    decays = {
        names[id(p)]: group["weight_decay"]
        for group in make_optimiser(network, settings).param_groups
        for p in group["params"]
    }
    assert decays["temporal.resblocks.0.ln_1.weight"] == 0.2
    assert decays["temporal.resblocks.0.ln_1.bias"] == 0.0
    assert decays["image.transformer.resblocks.0.attn.in_proj_bias"] == 0.0
    assert decays["logit_scale"] == 0.2


@pytest.mark.parametrize("layers", [-1, 0, 1])
def test_freezing_lower_layers(layers):
    network, _ = network_and_batch(2)
    freeze(network, layers)
    trained = {key for key, p in network.named_parameters() if p.requires_grad}
    inputs = {"image.conv1.weight", "image.positional_embedding", "image.class_embedding", "image.ln_pre.weight"}
    inputs |= {"text.token_embedding.weight", "text.positional_embedding"}
    assert inputs.isdisjoint(trained) == (layers >= 0)
    first = {key for key, _ in network.named_parameters() if "image.transformer.resblocks.0" in key}
    assert (first <= trained) == (layers < 1)
    always = {"image.proj", "text.text_projection", "logit_scale", "image.ln_post.weight", "text.ln_final.weight"}
    always |= {"temporal.resblocks.0.mlp.c_fc.weight", "image.transformer.resblocks.1.mlp.c_fc.weight"}
    assert always <= trained
