"""CLIP4Clip's state dicts: towers against transformers, the header over frames against torch's own attention."""

import pytest
import torch
from torch import nn

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.convert import import_checkpoint

from .foreign import openai_state
from .peers import CLIPS_WORDS, clip_model, differences, features, relative

CLOSE = 1e-5


@pytest.fixture(scope="module")
def truth():
    """CLIP4Clip's towers are QuickGELU with heads of 64; its header needs text as wide as the embedding."""
    return clip_model(
        text={**CLIPS_WORDS, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}, projection=128
    )


def clip4clip(truth, header=None):
    state = {f"clip.{key}": value for key, value in openai_state(truth).items()}
    return state | (header or {})


class Norm(nn.Module):
    """CLIP4Clip's own, with its eps within the square root."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(width) + 0.5), nn.Parameter(torch.randn(width) / 5)

    def forward(self, x):
        x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-12)
        return self.weight * x + self.bias


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """Of CLIP4Clip's transformerClip."""

    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = Norm(width), Norm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        nn.init.normal_(self.attn.in_proj_bias, std=0.3)
        nn.init.normal_(self.attn.out_proj.bias, std=0.3)

    def forward(self, x, padding):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        return x + self.mlp["c_proj"](QuickGELU()(self.mlp["c_fc"](self.ln_2(x))))


class Header(nn.Module):
    """seqTransf."""

    def __init__(self, width=128, layers=4, heads=2, frames=77):
        super().__init__()
        self.frame_position_embeddings = nn.Embedding(frames, width)
        self.transformerClip = nn.Module()
        self.transformerClip.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, frames, mask):
        x = frames + self.frame_position_embeddings(torch.arange(frames.shape[1]))
        for block in self.transformerClip.resblocks:
            x = block(x, mask == 0)
        return mean(x + frames, mask)


def mean(frames, mask):
    frames = frames / frames.norm(dim=-1, keepdim=True)
    video = (frames * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return video / video.norm(dim=-1, keepdim=True)


def videos(truth):
    """Pixels of two videos of five frames, one of them with three, and transformers' features of them."""
    pixels = torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.inference_mode():
        frames = truth.get_image_features(pixel_values=pixels.flatten(0, 1)).pooler_output.view(2, 5, -1)
    return pixels, mask, frames


def save(state, tmp_path, name="pytorch_model.bin.4"):
    torch.save(state, tmp_path / name)
    return tmp_path / name


@torch.inference_mode()
def test_mean_pooling_is_read_and_says_that_it_is_trained(tmp_path, truth):
    folder = import_checkpoint(save(clip4clip(truth), tmp_path))
    assert max(differences(features(truth), folder).values()) < CLOSE
    model = load_model(folder, device="cpu", precision="float32")
    assert (model.config.temporal, model.config.alignment) == ("mean", "none")
    assert (model.card.training, model.card.trained_on, model.card.source) == ("trained", None, "pytorch_model.bin.4")
    assert (model.config.max_frames, model.config.max_words) == (12, 32)
    pixels, mask, frames = videos(truth)
    assert relative(model.network.encode_video(pixels, mask).vector, mean(frames, mask)) < CLOSE


@torch.inference_mode()
@pytest.mark.parametrize("layers", [4, 2])
def test_a_sequential_transformer_over_frames_equals_torchs_attention(tmp_path, truth, layers):
    torch.manual_seed(3)
    header = Header(layers=layers).eval()
    folder = import_checkpoint(save(clip4clip(truth, header.state_dict()), tmp_path))
    model = load_model(folder, device="cpu", precision="float32")
    assert (model.config.temporal, model.config.temporal_layers, model.config.temporal_heads) == (
        "transformer",
        layers,
        2,
    )
    pixels, mask, frames = videos(truth)
    expected = header(frames, mask)
    assert relative(model.network.encode_video(pixels, mask).vector, expected) < CLOSE
    assert relative(mean(frames, mask), expected) > 100 * CLOSE


def test_frames_and_words_of_its_training_can_be_given(tmp_path, truth):
    path = save(clip4clip(truth), tmp_path)
    folder = import_checkpoint(path, options={"max_frames": 64, "max_words": 64})
    config = load_model(folder, device="cpu").config
    assert (config.max_frames, config.max_words) == (64, 64)
    with pytest.raises(CheckpointError, match="max_words is 100; allowed are 2 to 77"):
        import_checkpoint(path, options={"max_words": 100})
    with pytest.raises(CheckpointError, match="center_weight does not apply"):
        import_checkpoint(path, options={"center_weight": 0.5})


def test_old_names_of_norms_are_read(tmp_path, truth):
    state = {
        key.replace("ln_post.weight", "ln_post.gamma").replace("ln_post.bias", "ln_post.beta"): value
        for key, value in clip4clip(truth).items()
    }
    assert "clip.visual.ln_post.gamma" in state
    assert max(differences(features(truth), import_checkpoint(save(state, tmp_path))).values()) < CLOSE


def test_a_clip_of_other_code_below_the_same_prefix_can_be_told(tmp_path, truth):
    path = save(clip4clip(truth), tmp_path)
    config = load_model(import_checkpoint(path, activation="gelu", heads=(4, 4)), device="cpu").config
    assert (config.activation, config.vision_heads, config.text_heads, config.temporal_heads) == ("gelu", 4, 4, 4)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("lstm_visual.weight_ih_l0", "header seqLSTM, .* meanP and seqTransf, are read"),
        ("cross.transformer.resblocks.0.ln_1.weight", "header tightTransf, .* no video has a vector to search by"),
        ("similarity_dense.weight", "header tightTransf"),
        ("clip.visual.conv2.weight", "linear_patch 3d, whose patches reach over neighbouring frames"),
        ("surprise.weight", "1 keys do not fit the network: unexpected surprise.weight"),
    ],
)
def test_other_headers_are_refused_in_words(tmp_path, truth, key, words):
    path = save(clip4clip(truth, {key: torch.ones(2)}), tmp_path)
    with pytest.raises(CheckpointError, match=words):
        import_checkpoint(path)


@pytest.mark.parametrize("lost", ["frame_position_embeddings.weight", "transformerClip.resblocks.0.mlp.c_fc.bias"])
def test_a_header_that_is_not_whole_is_refused(tmp_path, truth, lost):
    header = Header().state_dict()
    del header[lost]
    with pytest.raises(CheckpointError, match=f"missing {lost}"):
        import_checkpoint(save(clip4clip(truth, header), tmp_path))


def test_positions_without_a_transformer_are_refused(tmp_path, truth):
    header = {"frame_position_embeddings.weight": torch.ones(77, 128)}
    with pytest.raises(CheckpointError, match=r"unexpected frame_position_embeddings.weight"):
        import_checkpoint(save(clip4clip(truth, header), tmp_path))
