"""The loss and its gradients equal the reference's."""

import pytest
import torch

from clip2video_plugin.model.reference import reference_key
from clip2video_plugin.training import contrastive_loss

from ..model.test_golden import SPEC, build, captions, videos


@pytest.mark.parametrize("variant", SPEC["variants"])
def test_loss_and_gradients_equal_the_golden_ones(variant):
    golden = SPEC["variants"][variant]["train_fixed"]
    network = build(variant)
    frames, mask = videos()
    ids, token_mask = (t[: len(frames)] for t in captions())
    video, text = network.encode_video(frames, mask), network.encode_text(ids, token_mask)
    result = contrastive_loss(text, video, logit_scale=network.logit_scale.exp(), weight=network.config.center_weight)
    assert result.loss.item() == pytest.approx(golden["loss"], rel=1e-3)
    assert result.global_loss.item() == pytest.approx(golden["sim_loss"], rel=1e-3)
    if "tab_loss" in golden:
        assert result.aligned_loss.item() == pytest.approx(golden["tab_loss"], rel=1e-3)
    result.loss.backward()
    for key, parameter in network.named_parameters():
        expected = golden["grad_norm"][reference_key(key)]
        found = None if parameter.grad is None else parameter.grad.norm().item()
        if expected is None or expected < 1e-6:
            assert not found or found < 1e-5, key
        else:
            assert found == pytest.approx(expected, rel=1e-3), key


def test_pairs_of_one_group_are_no_negatives_of_each_other():
    from clip2video_plugin.model import TextEmbedding, VideoEmbedding

    vectors = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    twice = torch.cat([vectors, vectors])
    text, video = TextEmbedding(twice, None, 0.5), VideoEmbedding(twice, None, twice[:, None])
    group = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    scale = torch.tensor(100.0)
    apart = contrastive_loss(text, video, logit_scale=scale, weight=0.5, same_video=group).loss
    against = contrastive_loss(text, video, logit_scale=scale, weight=0.5).loss
    assert apart < 0.01
    assert against.item() == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=0.01)
