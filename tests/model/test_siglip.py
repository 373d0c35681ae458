"""SigLIP's towers in the network of CLIP2Video: every way of pooling frames, fewer bits, training, saving."""

import copy
import dataclasses

import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError, Clip2VideoError
from clip2video_plugin.model import Clip2Video, ModelConfig, tokenize
from clip2video_plugin.model.checkpoint import save_checkpoint
from clip2video_plugin.model.frozen import FrozenBlock, freeze
from clip2video_plugin.model.tokenizer import load_tokenizer
from clip2video_plugin.training import train
from clip2video_plugin.training.config import config_of
from clip2video_plugin.training.optimiser import freeze as freeze_layers
from clip2video_plugin.training.world import scene_videos

from .gemma import gemma_json, words
from .test_network import VARIANTS

SMALL = ModelConfig(
    towers="siglip",
    activation="gelu_tanh",
    norm_eps=1e-6,
    image_size=16,
    patch_size=4,
    vision_width=32,
    vision_layers=2,
    vision_heads=2,
    vision_mlp_width=48,
    vocab_size=len(words()[0]),
    context_length=12,
    max_words=12,
    text_width=24,
    text_layers=2,
    text_heads=3,
    embed_dim=32,
    temporal_layers=1,
    temporal_heads=2,
    max_frames=4,
    image_mean=(0.5, 0.5, 0.5),
    image_std=(0.5, 0.5, 0.5),
    resize="squash",
)
ZERO_SHOT = {"temporal": "mean", "alignment": "none"}


def build(**changes):
    torch.manual_seed(0)
    return Clip2Video(dataclasses.replace(SMALL, **changes)).eval()


def videos():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 4, 3, 16, 16, generator=generator), mask


def captions():
    """Ids and mask of two captions: 7 and 3 tokens of 12, the last of them the end token, and padding."""
    ids, mask = torch.zeros(2, 12, dtype=torch.int64), torch.zeros(2, 12, dtype=torch.int64)
    ids[0, :7], ids[1, :3] = torch.tensor([9, 300, 12, 45, 6, 77, 1]), torch.tensor([9, 300, 1])
    mask[0, :7] = mask[1, :3] = 1
    return ids, mask


@pytest.mark.parametrize(("temporal", "difference", "alignment"), VARIANTS)
def test_every_variant_has_unit_vectors_a_bias_in_its_score_and_gradients(temporal, difference, alignment):
    network = build(temporal=temporal, difference=difference, alignment=alignment)
    video, text = network.encode_video(*videos()), network.encode_text(*captions())
    assert video.vector.shape == (3, network.config.vector_dim)
    assert text.vector.shape == (2, network.config.vector_dim)
    torch.testing.assert_close(video.vector.norm(dim=-1), torch.ones(3))
    pooled = torch.nn.functional.normalize(video.frame_vectors.sum(dim=1), dim=-1)
    torch.testing.assert_close(pooled, video.global_vector)
    score = network.similarity(text, video)
    expected = network.logit_scale.exp() * text.vector @ video.vector.T + network.logit_bias
    torch.testing.assert_close(score, expected)
    (score * torch.randn(2, 3)).sum().backward()
    without = {key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert without == {"logit_bias"}


@torch.inference_mode()
def test_a_video_has_one_vector_alone_and_in_any_batch():
    network = build(temporal="difference", alignment="difference")
    frames, mask = videos()
    together = network.encode_video(frames, mask).vector
    noise = torch.where(mask[..., None, None, None] == 0, 9.0, frames)  # what lies in the padding does not matter
    for row in range(3):
        alone = network.encode_video(noise[row : row + 1], mask[row : row + 1]).vector
        torch.testing.assert_close(alone[0], together[row], atol=2e-6, rtol=0)


@torch.inference_mode()
def test_padding_is_left_out_of_the_aligned_vector_and_no_word_is():
    network = build(temporal="mean", alignment="frames")
    ids, mask = captions()
    sentence, tokens = network.text(ids)
    assert sentence.equal(tokens[:, -1])
    short = network.alignment.aggregate(tokens[1:, :3], torch.ones(1, 3))
    torch.testing.assert_close(network.encode_text(ids, mask).aligned_vector[1], short[0])


@torch.inference_mode()
def test_the_sentence_reads_padding_and_every_word():
    """No mask and no order in the attention: the last position sees all, the first as well as the last."""
    network = build(**ZERO_SHOT)
    ids, mask = captions()
    vector = network.encode_text(ids, mask).vector
    for position in range(12):
        other = ids.clone()
        other[:, position] = 200
        assert (network.encode_text(other, mask).vector - vector).norm(dim=1).min() > 1e-6


def test_a_caption_that_is_not_padded_to_the_end_is_refused():
    network = build(**ZERO_SHOT)
    ids, mask = captions()
    with pytest.raises(Clip2VideoError, match=r"expected both \[T, L\] with L 12$"):
        network.encode_text(ids[:, :8], mask[:, :8])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_words": 8}, "max_words is 8; SigLIP reads a sentence at the last of its 12 positions"),
        ({"embed_dim": 16}, "embed_dim is 16; SigLIP's is its vision_width, 32"),
        ({"image_size": 3}, "image_size 3 is not a multiple of patch_size 4"),
    ],
)
def test_what_siglip_cannot_be_is_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        dataclasses.replace(SMALL, **change)


@torch.inference_mode()
def test_a_picture_may_be_larger_than_its_patches():
    """384 pixels in patches of 14, as SoViT has them: what is left over at the right and below is not seen."""
    network = build(image_size=18, **ZERO_SHOT)
    assert network.image.positional_embedding.shape == (16, 32)
    frames = torch.randn(1, 1, 3, 18, 18)
    cut = frames.clone()
    cut[..., 16:, :], cut[..., 16:] = 0, 0
    mask = torch.ones(1, 1)
    assert network.encode_video(frames, mask).vector.equal(network.encode_video(cut, mask).vector)


@pytest.mark.parametrize(("precision", "claimed"), [("bfloat16", 0.9998), ("int8", 0.9997)])
@torch.inference_mode()
def test_fewer_bits_are_as_close_as_is_claimed(precision, claimed):
    network = build(image_size=64, patch_size=16, vision_width=192, vision_heads=3, embed_dim=192, **ZERO_SHOT)
    fewer = copy.deepcopy(network)
    freeze(fewer.image, precision)
    assert all(isinstance(block, FrozenBlock) for block in fewer.image.transformer.resblocks)
    assert fewer.image.head.probe.dtype == (torch.bfloat16 if precision == "bfloat16" else torch.float32)
    frames, mask = torch.randn(6, 4, 3, 64, 64), torch.ones(6, 4)
    vectors = [net.encode_video(frames, mask).vector for net in (network, fewer)]
    assert vectors[1].dtype == torch.float32
    assert claimed < (vectors[0] * vectors[1]).sum(dim=1).min() < 1


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_weights_bias_and_words(tmp_path, half):
    network, tokenizer = build(**ZERO_SHOT), load_tokenizer(gemma_json())
    with torch.no_grad():
        network.logit_bias.fill_(-15.75)
    save_checkpoint(tmp_path / "siglip", network, tokenizer, half=half)
    model = load_model(tmp_path / "siglip", device="cpu", precision="float32")
    assert model.config == network.config
    assert model.network.logit_bias.item() == -15.75
    assert len(model.vocabulary) == 16
    text = ["A Dog  runs", "the red ball bounces " * 5]
    ids, mask = tokenize(text, tokenizer, 12)
    wanted = network.encode_text(ids, mask).vector
    torch.testing.assert_close(model.encode_captions(text).vector, wanted, atol=2e-3 if half else 1e-6, rtol=0)
    alone = load_model(tmp_path / "siglip", device="cpu", text_only=True)
    assert alone.network.image is None
    torch.testing.assert_close(alone.encode_captions(text).vector, model.encode_captions(text).vector)


def test_fine_tuning_with_frozen_layers_spares_the_heads():
    network = build(**ZERO_SHOT)
    freeze_layers(network, 2)
    trained = {key for key, p in network.named_parameters() if p.requires_grad}
    assert {key.split(".")[1] for key in trained if "." in key} == {"ln_post", "ln_final", "head"}
    assert sum(key.startswith("image.head.") for key in trained) == 11  # the probe, and five layers' weight and bias
    assert {"text.head.weight", "text.head.bias", "logit_scale"} <= trained


@pytest.mark.parametrize("temporal", ["mean", "difference"])
def test_a_siglip_is_fine_tuned_with_temporal_blocks_and_keeps_its_bias(tmp_path, temporal):
    network = build(**ZERO_SHOT)
    with torch.no_grad():
        network.logit_bias.fill_(-15.75)
    save_checkpoint(tmp_path / "siglip", network, load_tokenizer(gemma_json()))
    result = train(
        config_of(
            {
                "model": str(tmp_path / "siglip"),
                "network": {"temporal": temporal, "alignment": "none" if temporal == "mean" else "difference"},
                "batch_size": 8,
                "epochs": 1,
                "per_epoch": "videos",
                "learning_rate": 1e-3,
                "workers": 1,
                "device": "cpu",
            }
        ),
        scene_videos(24, seed=1),
        out=tmp_path / "run",
        progress=False,
    )
    tuned = load_model(result.checkpoint, device="cpu", precision="float32")
    assert tuned.config.temporal == temporal
    assert tuned.network.logit_bias.item() == -15.75
    assert not tuned.network.image.head.probe.equal(network.image.head.probe)
    assert tuned.vocabulary == load_model(tmp_path / "siglip", device="cpu").vocabulary
