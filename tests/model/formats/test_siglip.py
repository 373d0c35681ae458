"""SigLIP as transformers saves it: the same features and logits here, its pictures and words, and what is refused."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipModel,
    SiglipProcessor,
    SiglipTextModel,
    SiglipVisionModel,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.convert import import_checkpoint
from clip2video_plugin.video.transform import resize_and_crop

from ..gemma import gemma_json, published, siglip_tokenizer, words

SMALL = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 3}
VISION = {"siglip": {"image_size": 24, "patch_size": 8}, "siglip2": {"num_patches": 9, "patch_size": 8}}
WIDER = {"hidden_size": 32, "num_attention_heads": 2, "projection_size": 48}  # as the giant's text tower is narrower
CAPTIONS = ["A Dog runs in the park", "the red ball bounces to the left " * 9, "一只狗 🐶"]
PROCESSOR = {
    "image_processor_type": "SiglipImageProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": {"height": 24, "width": 24},
}


def filled(model):
    """Every number drawn, biases too; scale and bias near those of SigLIP 2."""
    torch.manual_seed(0)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(std=0.2 if parameter.ndim > 1 else 0.1)
            if "norm" in key and key.endswith("weight"):
                parameter.add_(1)
        if hasattr(model, "logit_bias"):
            model.logit_scale.fill_(4.7)
            model.logit_bias.fill_(-15.75)
    return model.eval()


def made(kind="siglip", vision=None, text=None):
    text = {**SMALL, "vocab_size": len(words()[0]), **(text or {})}
    vision = {**SMALL, **VISION[kind], **(vision or {})}
    network, config = {"siglip": (SiglipModel, SiglipConfig), "siglip2": (Siglip2Model, Siglip2Config)}[kind]
    return filled(network(config(text_config=text, vision_config=vision)))


def saved(folder, model, processor=None):
    model.save_pretrained(folder)
    published(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder as SigLIP 2 is published; not to be written to."""
    return saved(tmp_path_factory.mktemp("small") / "siglip2-small", made(), PROCESSOR)


def changed(small, tmp_path, edit=None, **config):
    """A copy of ``small`` with other words in its config.json, or with ``edit`` done to it."""
    folder = shutil.copytree(small, tmp_path / "changed")
    values = json.loads((folder / "config.json").read_text())
    for key, value in config.items():
        place, _, name = key.rpartition("__")
        (values[place] if place else values)[name] = value
    (folder / "config.json").write_text(json.dumps(values))
    if edit:
        edit(folder)
    return folder


def imported(folder, **options):
    return load_model(import_checkpoint(folder, **options), device="cpu", precision="float32")


def patches(pictures, side):
    """[N, 3, R, R] as Siglip2Model takes them: [N, P, side x side x 3], rows of patches one after another."""
    n, _, size, _ = pictures.shape
    grid = size // side
    apart = pictures.numpy().reshape(n, 3, grid, side, grid, side)
    return torch.from_numpy(np.ascontiguousarray(apart.transpose(0, 2, 4, 3, 5, 1)).reshape(n, grid**2, -1))


def inputs_of(model, pictures, ids):
    if isinstance(model, SiglipModel):
        return {"pixel_values": pictures, "input_ids": ids}
    side = model.config.vision_config.patch_size
    values, grid = patches(pictures, side), pictures.shape[-1] // side
    return {
        "pixel_values": values,
        "pixel_attention_mask": torch.ones(values.shape[:2], dtype=torch.long),
        "spatial_shapes": torch.tensor([[grid, grid]] * len(values)),
        "input_ids": ids,
    }


def apart(ours, theirs):
    """The largest difference, in units of the largest number."""
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@torch.inference_mode()
def compare(model, ours, pictures=4, captions=CAPTIONS):
    """Features before and after normalisation, and logits, against transformers from pixels and sentences."""
    size = ours.config.image_size
    frames = torch.randn(pictures, 3, size, size, generator=torch.Generator().manual_seed(1))
    ids = siglip_tokenizer()(captions, padding="max_length", truncation=True, max_length=64, return_tensors="pt")
    wanted = model(**inputs_of(model, frames, ids["input_ids"]))
    video = ours.network.encode_video(frames[:, None], torch.ones(pictures, 1))  # videos of one frame
    text = ours.encode_captions(captions)
    assert apart(ours.network.image(frames), wanted.vision_model_output.pooler_output) < 1e-5
    assert apart(ours.network.text(ids["input_ids"])[0], wanted.text_model_output.pooler_output) < 1e-5
    assert apart(video.vector, wanted.image_embeds) < 1e-5
    assert apart(text.vector, wanted.text_embeds) < 1e-5
    assert apart(ours.network.similarity(text, video), wanted.logits_per_text) < 1e-5
    assert wanted.logits_per_text.std() > 0.1  # there is something to compare


@pytest.mark.parametrize("kind", VISION)
@pytest.mark.parametrize("text", [{}, WIDER], ids=["same width", "narrower text"])
def test_features_and_logits_equal_those_of_transformers(tmp_path, kind, text):
    model = made(kind, text=text)
    ours = imported(saved(tmp_path / kind, model))
    assert (ours.config.towers, ours.config.temporal, ours.config.alignment) == ("siglip", "mean", "none")
    assert (ours.config.activation, ours.config.norm_eps, ours.config.max_words) == ("gelu_tanh", 1e-6, 64)
    assert ours.card.training == "zero-shot"
    compare(model, ours)


@pytest.mark.parametrize("change", [{"hidden_act": "gelu", "layer_norm_eps": 1e-3}, {"hidden_act": "quick_gelu"}])
def test_another_activation_and_norm_are_taken_from_config_json(tmp_path, change):
    model = made(vision=change, text=change)
    compare(model, imported(saved(tmp_path / "other", model)))


def test_a_picture_larger_than_its_patches(tmp_path):
    """As in so400m-patch14-384: 27 patches of 14 are 378 pixels."""
    model = made(vision={"image_size": 29})
    ours = imported(saved(tmp_path / "rest", model))
    assert ours.config.image_size == 29
    compare(model, ours)


def test_halves_and_sharded_files_are_read(tmp_path):
    model = made().to(torch.bfloat16)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    published(tmp_path / "shards")
    compare(model.float(), imported(tmp_path / "shards"))


def test_base_with_the_few_words_of_its_config_json(tmp_path):
    """SigLIP 2's says its kind and its vocabulary; all else is what transformers takes for granted. Of 12 blocks 2."""
    few = {"num_hidden_layers": 2}
    vocabulary = few | {"vocab_size": len(words()[0])}
    model = filled(SiglipModel(SiglipConfig(text_config=vocabulary, vision_config=few)))
    folder = saved(tmp_path / "siglip2-base-patch16-224", model)
    config = {"model_type": "siglip", "text_config": vocabulary, "vision_config": few}
    (folder / "config.json").write_text(json.dumps(config))
    ours = imported(folder)
    sizes = {"vision_width": 768, "vision_heads": 12, "patch_size": 16, "text_width": 768, "image_size": 224}
    assert {key: getattr(ours.config, key) for key in sizes} == sizes
    compare(model, ours, pictures=2, captions=CAPTIONS[:2])


@pytest.mark.parametrize(
    ("kind", "processor", "interpolation"),
    [
        ("siglip", None, "bicubic"),
        ("siglip2", None, "bilinear"),
        ("siglip", PROCESSOR, "bilinear"),
        ("siglip", PROCESSOR | {"resample": 3}, "bicubic"),
        ("siglip2", {"max_num_patches": 256, "patch_size": 8, "resample": 2}, "bilinear"),
    ],
)
def test_how_pictures_are_made(tmp_path, kind, processor, interpolation):
    config = imported(saved(tmp_path / "pictures", made(kind), processor)).config
    assert config.preprocessing == (
        type(config.preprocessing)(24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "squash", interpolation)
    )


@pytest.mark.parametrize("resample", [2, 3])
@torch.inference_mode()
def test_a_picture_of_any_shape_has_the_vector_it_has_in_transformers(tmp_path, resample):
    model = made()
    ours = imported(saved(tmp_path / "picture", model, PROCESSOR | {"resample": resample}))
    pictures = [np.random.default_rng(0).integers(0, 256, size, np.uint8) for size in ((60, 91, 3), (33, 20, 3))]
    theirs = SiglipImageProcessorPil(size={"height": 24, "width": 24}, resample=resample)(pictures, return_tensors="pt")
    wanted = torch.nn.functional.normalize(model.get_image_features(**theirs).pooler_output, dim=-1)
    seen = [resize_and_crop(picture, ours.config.preprocessing)[None] for picture in pictures]  # videos of one frame
    assert apart(ours.encode_frames(seen).vector, wanted) < 1e-5


def test_a_processor_as_transformers_5_saves_it_is_read(tmp_path):
    folder = saved(tmp_path / "processor", made())
    picture = SiglipImageProcessorPil(size={"height": 24, "width": 24}, resample=2)
    SiglipProcessor(picture, siglip_tokenizer()).save_pretrained(folder)
    assert not (folder / "preprocessor_config.json").exists()
    assert imported(folder).config.interpolation == "bilinear"


def test_other_numbers_of_colour_and_a_longer_video_are_kept(tmp_path):
    other = PROCESSOR | {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    config = imported(saved(tmp_path / "colour", made(), other), options={"max_frames": 16}).config
    assert (config.image_mean, config.image_std, config.max_frames) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 16)


def without(name):
    return lambda folder: (folder / name).unlink()


def weights(change):
    """Does ``change`` to the tensors of a folder."""

    def edit(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return edit


def written(name, text):
    return lambda folder: (folder / name).write_text(text)


def lose(name):
    return weights(lambda tensors: tensors.pop(name))


def shorter(tensors):
    name = "vision_model.head.attention.in_proj_weight"
    tensors[name] = tensors[name][:-1].clone()


@pytest.mark.parametrize(
    ("config", "edit", "message"),
    [
        ({}, without("config.json"), "is a SigLIP without its config.json"),
        ({}, without("tokenizer.json"), "has no tokenizer.json beside it"),
        ({"vision_config__vision_use_head": False}, None, "vision_use_head is false"),
        ({"vision_config__hidden_size": 64}, None, "contradicts the tensors: vision_config.hidden_size is 64, not 48"),
        ({"vision_config__image_size": 32}, None, "patches of vision_config.image_size is 16, not 9"),
        ({"vision_config__num_channels": 1}, None, "vision_config.num_channels is 1, not 3"),
        ({"text_config__projection_size": 32}, None, "text_config.projection_size is 32, not 48"),
        ({"text_config__vocab_size": 256000}, None, "text_config.vocab_size is 256000, not 399"),
        ({"text_config__num_attention_heads": 5}, None, "5 heads do not divide the text tower's width of 48"),
        ({"vision_config__num_attention_heads": "3"}, None, "num_attention_heads is '3'"),
        ({"vision_config__hidden_act": "relu", "text_config__hidden_act": "relu"}, None, "hidden_act is 'relu'"),
        ({"vision_config__hidden_act": "gelu"}, None, "for images and 'gelu_pytorch_tanh' for text"),
        (
            {"model_type": "siglip_vision_model"},
            None,
            "model_type is 'siglip_vision_model'; read are siglip and siglip2",
        ),
        ({"model_type": "siglip2"}, None, "vision_config.num_patches is 256, not 9"),
        ({}, lose("vision_model.head.probe"), "1 keys do not fit the network: missing vision_model.head.probe"),
        (
            {},
            lose("text_model.encoder.layers.1.self_attn.k_proj.bias"),
            "missing text_model.encoder.layers.1.self_attn.k",
        ),
        ({}, weights(lambda tensors: tensors.update(more=torch.zeros(2))), "unexpected more"),
        (
            {},
            weights(shorter),
            r"misshapen vision_model.head.attention.in_proj_weight: \[143, 48\], expected \[144, 48\]",
        ),
        ({}, written("preprocessor_config.json", json.dumps(PROCESSOR | {"resample": 1})), "resample is 1"),
        ({}, written("preprocessor_config.json", json.dumps(PROCESSOR | {"size": {"height": 32, "width": 32}})), "32"),
        ({}, written("tokenizer.json", "{}"), "tokenizer.json"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(small, tmp_path, config, edit, message):
    folder = changed(small, tmp_path, edit, **config)
    with pytest.raises(CheckpointError, match=message) as refused:
        import_checkpoint(folder)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "models" / "changed").exists()


def first_siglips_words():
    """A tokenizer of the first SigLIP's kind, Unigram."""
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    return Tokenizer(Unigram([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0)], 2)).to_str()


def clips_words():
    from clip2video_plugin.model import clip_tokenizer

    return clip_tokenizer().to_str()


def fewer_words():
    values = json.loads(gemma_json())
    word = max(values["model"]["vocab"], key=values["model"]["vocab"].get)
    values["model"]["vocab"].pop(word)
    values["model"]["merges"] = [merge for merge in values["model"]["merges"] if "".join(merge) != word]
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (first_siglips_words(), r"the first SigLIP's is not read"),
        (clips_words(), "is CLIP's; SigLIP 2's has <eos> and <pad>"),
        (fewer_words(), "has 398 tokens, the network 399"),
    ],
)
def test_words_of_another_model_are_refused(small, tmp_path, text, message):
    folder = changed(small, tmp_path, written("tokenizer.json", text))
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(folder)


@pytest.mark.parametrize("network", [SiglipVisionModel, SiglipTextModel, SiglipForImageClassification])
def test_one_tower_is_refused_in_words(tmp_path, network):
    both = made().config
    part = {SiglipVisionModel: both.vision_config, SiglipTextModel: both.text_config}.get(network, both)
    folder = saved(tmp_path / "one", network(part))
    with pytest.raises(CheckpointError, match=r"with both their towers|holds one tower"):
        import_checkpoint(folder)


def test_an_option_that_contradicts_or_does_not_apply_is_refused(small):
    for options, message in (
        ({"heads": 4}, r"--heads \(image\) is 4, but config.json says 3"),
        ({"activation": "gelu"}, "--activation is gelu, but config.json says gelu_tanh"),
        ({"options": {"max_words": 32}}, "max_words does not apply to it; allowed are max_frames"),
        ({"init_from_clip": True}, "--init-from-clip does not apply"),
    ):
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(small, **options)


@torch.inference_mode()
def test_siglips_bias_makes_its_probabilities(small):
    """A sigmoid of the logits, as transformers' pipelines take it."""
    ours = imported(small)
    text = ours.encode_captions(CAPTIONS)
    video = ours.network.encode_video(torch.zeros(1, 1, 3, 24, 24), torch.ones(1, 1))
    cosine = (text.vector @ video.vector.T).double()
    wanted = 1 / (1 + np.exp(-(math.exp(4.7) * cosine.numpy() - 15.75)))
    assert torch.sigmoid(ours.network.similarity(text, video)).numpy() == pytest.approx(wanted, abs=1e-5)
