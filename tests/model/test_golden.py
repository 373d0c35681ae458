"""The network equals the reference implementation, number by number, in every variant."""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.model import clip_tokenizer, from_reference, tokenize

GOLDEN = Path(__file__).parent.parent / "golden"
SPEC = json.loads((GOLDEN / "golden.json").read_text())
ARRAYS = np.load(GOLDEN / "golden.npz")
CONFIG = SPEC["config"]
PAPER = {
    "sim_type": "seqTransf",
    "temporal_type": "TDB",
    "temporal_proj": "sigmoid_selfA",
    "center_type": "TAB",
    "center_proj": "TAB_TDB",
}


def draw(key, shape):
    seed = crc32(f"{CONFIG['seed']}:{key}".encode()) & 0xFFFFFFFF
    return np.random.RandomState(seed).standard_normal(shape)


def weight(key, shape):
    """The recipe of the golden weights (docs/explanation/network.md#golden-numbers)."""
    n = draw(key, shape if shape else None)
    norms = (".ln_1.", ".ln_2.", "ln_pre.", "ln_post.", "ln_final.", "trans_layernorm.")
    if key.endswith("logit_scale"):
        value = 3 + 0.1 * n
    elif key.endswith("weight") and any(name in key for name in norms):
        value = 1 + 0.1 * n
    elif key.endswith("bias"):
        value = 0.05 * n
    elif "token_embedding" in key:
        value = 0.5 * n
    elif "embedding" in key:
        value = 0.3 * n
    elif "center" in key:
        value = 0.1 * n
    elif key.endswith(("visual.proj", "text_projection", "frame2t_projection")):
        value = n / np.sqrt(shape[0])
    elif key.endswith("conv1.weight"):
        value = n / np.sqrt(3 * shape[-1] ** 2)
    else:
        value = n / np.sqrt(shape[-1])
    return torch.tensor(np.asarray(value), dtype=torch.float32)


def state_dict(variant):
    return {key: weight(key, spec["shape"]) for key, spec in SPEC["variants"][variant]["keys"].items()}


def build(variant, state=None, **options):
    options = {**PAPER, **SPEC["variants"][variant]["overrides"], **options}
    options = {key: value for key, value in options.items() if key in PAPER}
    return from_reference(
        state_dict(variant) if state is None else state,
        center_weight=CONFIG["center_weight"],
        max_frames=CONFIG["max_frames"],
        max_words=CONFIG["max_words"],
        **options,
    )


def videos():
    valid, f, r = CONFIG["valid_frames"], CONFIG["max_frames"], SPEC["image_resolution"]
    v = len(valid)
    base, frame = draw("input:video_base", (v, 1, 3, r, r)), draw("input:video_frame", (v, f, 3, r, r))
    frames = torch.tensor(0.8 * base + 0.6 * frame, dtype=torch.float32)
    mask = torch.tensor([[int(i < n) for i in range(f)] for n in valid])
    return frames * mask[..., None, None, None], mask


def captions():
    return torch.tensor(ARRAYS["inputs/token_ids"]), torch.tensor(ARRAYS["inputs/token_mask"])


def close(ours, name, tolerance):
    np.testing.assert_allclose(ours.numpy(), ARRAYS[name], rtol=0, atol=tolerance)


@pytest.mark.parametrize("variant", SPEC["variants"])
def test_weights_follow_the_golden_recipe(variant):
    for key, tensor in state_dict(variant).items():
        spec = SPEC["variants"][variant]["keys"][key]
        assert tensor.double().sum().item() == pytest.approx(spec["sum"], abs=1e-6), key


def test_inputs_follow_the_golden_recipe():
    frames, mask = videos()
    np.testing.assert_array_equal(mask, ARRAYS["inputs/video_mask"])
    probe = frames[:, :, :, 0, :4] if ARRAYS["inputs/video_probe"].shape[-1] == 4 else None
    np.testing.assert_allclose(probe, ARRAYS["inputs/video_probe"], atol=1e-6)


@pytest.mark.parametrize("variant", SPEC["variants"])
@torch.inference_mode()
def test_vectors_and_logits_equal_the_reference(variant):
    model = build(variant)
    video, text = model.encode_video(*videos()), model.encode_text(*captions())
    close(video.global_vector, f"{variant}/fixed/video_global", 2e-6)
    close(model.similarity(text, video), f"{variant}/fixed/sim", 2e-5)
    if f"{variant}/fixed/video_tab" in ARRAYS:
        close(video.aligned_vector, f"{variant}/fixed/video_tab", 2e-6)
        close(text.aligned_vector, f"{variant}/fixed/text_tab", 2e-6)
    else:
        assert video.aligned_vector is None
        assert text.aligned_vector is None
    if variant == "main":
        close(text.global_vector, "main/fixed/text_global", 2e-6)


@pytest.mark.parametrize("variant", SPEC["variants"])
@torch.inference_mode()
def test_one_vector_per_side_gives_the_same_logits(variant):
    model = build(variant)
    video, text = model.encode_video(*videos()), model.encode_text(*captions())
    dots = text.vector @ video.vector.T
    close(dots * SPEC["variants"][variant]["logit_scale_exp"], f"{variant}/fixed/sim", 2e-5)
    torch.testing.assert_close(video.vector.norm(dim=-1), torch.ones(len(video.vector)))


@pytest.mark.parametrize("variant", SPEC["variants"])
@torch.inference_mode()
def test_a_video_has_the_same_vector_alone_and_in_any_batch(variant):
    model, (frames, mask) = build(variant), videos()
    together = model.encode_video(frames, mask).vector
    reversed_batch = model.encode_video(frames.flip(0), mask.flip(0)).vector.flip(0)
    alone = torch.cat([model.encode_video(frames[i : i + 1], mask[i : i + 1]).vector for i in range(len(frames))])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-6)
    torch.testing.assert_close(together, reversed_batch, rtol=0, atol=2e-6)


@torch.inference_mode()
def test_a_one_frame_video_agrees_within_the_quantisation_of_the_mask():
    model, (frames, mask) = build("main"), videos()
    frames, mask = frames[:1].clone(), mask[:1].clone()
    frames[:, 1:], mask[:, 1:] = 0, 0
    video, text = model.encode_video(frames, mask), model.encode_text(*captions())
    close(video.global_vector, "edge_one_frame/video_global", 1e-3)
    close(video.aligned_vector, "edge_one_frame/video_tab", 1e-3)
    close(model.similarity(text, video), "edge_one_frame/sim", 1e-3)


@pytest.mark.parametrize("variant", SPEC["variants"])
@torch.inference_mode()
def test_frame_vectors_average_to_the_global_vector(variant):
    model, (frames, mask) = build(variant), videos()
    mean = (model.frame_vectors(frames, mask) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    close(torch.nn.functional.normalize(mean, dim=-1), f"{variant}/fixed/video_global", 2e-6)


@torch.inference_mode()
def test_what_stands_in_the_padding_does_not_matter():
    model, (frames, mask) = build("main"), videos()
    noise = torch.randn(frames.shape) * (1 - mask)[..., None, None, None]
    assert torch.equal(model.encode_video(frames, mask).vector, model.encode_video(frames + noise, mask).vector)


def test_the_caption_mask_is_left_as_it_was():
    ids, mask = captions()
    mask = mask.float()
    build("main").encode_text(ids, mask)
    assert mask[:, 0].eq(1).all()


def test_a_video_without_frames_is_refused():
    frames, mask = videos()
    mask[2] = 0
    with pytest.raises(Clip2VideoError, match=r"\[2\]"):
        build("main").encode_video(frames, mask)


def test_every_wrong_key_is_listed():
    state = state_dict("main")
    del state["emb_center"]
    state["surprise"] = torch.zeros(1)
    state["trans_layernorm.weight"] = torch.zeros(3)
    with pytest.raises(Clip2VideoError) as error:
        build("main", state)
    for words in ("missing emb_center", "unexpected surprise", "misshapen trans_layernorm.weight"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"sim_type": "meanP"},
        {"temporal_type": ""},
        {"sim_type": "seqLSTM"},
        {"temporal_type": "tdb"},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(Clip2VideoError):
        build("main", **options)


TOKENS = json.loads((GOLDEN / "tokenizer.json").read_text())


def test_the_clip_tokenizer_equals_the_reference_on_every_caption():
    items = TOKENS["items"]
    for length in (32, 12):
        ids, mask = tokenize([item["caption"] for item in items], clip_tokenizer(), length)
        for row, item in enumerate(items):
            assert ids[row].tolist() == item[f"ids_{length}"], item["caption"]
            assert mask[row].sum().item() == item[f"len_{length}"], item["caption"]
