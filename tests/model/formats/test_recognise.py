"""Weights that are not read are refused in words, whatever they look like in part."""

from pathlib import Path

import pytest
import torch

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.formats import FORMATS, recognise
from clip2video_plugin.model.formats.form import Given
from clip2video_plugin.model.weights import Weights

from .foreign import custom_text, shapes, without_numbers

SIZES = {"vision": 768, "layers": 1, "patch": 32, "grid": 7, "text": 512, "text_layers": 1, "embed": 512}
CLIP = shapes(**SIZES)
FEW = (4, 4)


def huggingface(*keys, towers=("vision", "text")):
    return {f"{tower}_model.{key}": FEW for tower in towers for key in ("embeddings.position_embedding.weight", *keys)}


REFUSED = {
    "LoRA of peft": (
        {"base_model.model.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": FEW},
        "is a LoRA adapter: changes to a model, not one. Merge it",
    ),
    "LoRA of diffusers": ({"text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight": FEW}, "LoRA"),
    "LoRA within a CLIP": (CLIP | {"transformer.resblocks.0.attn.out_proj.lora_A": FEW}, "LoRA"),
    "GPTQ": (CLIP | {"visual.transformer.resblocks.0.mlp.c_fc.qweight": FEW}, "is quantised; take the original"),
    "bitsandbytes": (CLIP | {"transformer.resblocks.0.mlp.c_fc.SCB": FEW}, "is quantised"),
    "ResNet": ({"visual.layer1.0.conv1.weight": FEW, "visual.conv1.weight": (32, 3, 3, 3)}, "ResNet for images"),
    "ResNet below clip.": ({"clip.visual.layer1.0.conv1.weight": FEW}, "ResNet for images"),
    "timm": ({"visual.trunk.blocks.0.attn.qkv.weight": FEW, **custom_text(CLIP)}, "image tower of timm's"),
    "text of Hugging Face": (
        {"visual.conv1.weight": FEW, "text.transformer.encoder.layer.0.attention.self.query.weight": FEW},
        "text tower of Hugging Face's, such as XLM-RoBERTa",
    ),
    "text of Hugging Face, its head": (
        {"visual.conv1.weight": FEW, "text.proj.0.weight": FEW},
        "text tower of Hugging",
    ),
    "EVA": (
        {"visual.blocks.0.attn.q_proj.weight": FEW, "visual.cls_token": FEW, "text.ln_final.weight": FEW},
        "EVA-CLIP",
    ),
    "CoCa": (CLIP | {"text_decoder.resblocks.0.ln_1.weight": FEW}, "is a CoCa, a Perception Encoder"),
    "CoCa's image tower": (CLIP | {"visual.attn_pool.query": FEW}, "CoCa"),
    "BLIP": ({"visual_encoder.blocks.0.norm1.weight": FEW, "text_encoder.encoder.layer.0.x": FEW}, "is a BLIP"),
    "BLIP of Hugging Face": (
        huggingface()
        | {"text_model.encoder.layer.0.attention.self.query.weight": FEW, "visual_projection.weight": FEW},
        "BERT for sentences",
    ),
    "Chinese-CLIP": (
        huggingface() | {"text_model.embeddings.word_embeddings.weight": FEW, "visual_projection.weight": FEW},
        "BERT for sentences",
    ),
    "MobileCLIP": (
        {"image_encoder.model.patch_embed.0.weight": FEW, "text_encoder.embedding_layer.weight": FEW},
        "Mobile",
    ),
    "CLIPSeg": ({"clip.text_model.final_layer_norm.weight": FEW, "decoder.film_mul.weight": FEW}, "is a CLIPSeg"),
    "X-CLIP": (huggingface() | {"mit.encoder.layers.0.x": FEW, "visual_projection.weight": FEW}, "is an X-CLIP"),
    "image tower alone": (huggingface("pre_layrnorm.weight", towers=("vision",)), "holds one tower"),
    "text tower alone": (huggingface("final_layer_norm.weight", towers=("text",)), "holds one tower"),
    "weight norm": (CLIP | {"visual.ln_pre.parametrizations.weight.original0": FEW}, "save the finished model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_known_and_not_read_is_refused_in_words(name):
    tensors, words = REFUSED[name]
    with pytest.raises(CheckpointError, match=words) as error:
        recognise(Weights(Path("weights.pt"), without_numbers(tensors)))
    assert str(error.value).startswith("weights.pt ")
    assert "\n" not in str(error.value)


def test_what_is_of_no_form_names_the_forms_and_the_first_keys():
    weights = Weights(Path("resnet.pt"), without_numbers({"conv1.weight": FEW, "bn1.weight": FEW, "x" * 200: FEW}))
    with pytest.raises(CheckpointError) as error:
        recognise(weights)
    assert "its keys begin with conv1.weight, bn1.weight, xxx" in str(error.value)
    assert all(form.name in str(error.value) for form in FORMATS)
    assert "x" * 61 not in str(error.value)


@pytest.mark.parametrize("missing", ["token_embedding.weight", "visual.conv1.weight", "text_projection", "visual.proj"])
@pytest.mark.parametrize("made", [dict, custom_text])
def test_half_a_clip_is_refused(made, missing):
    tensors = without_numbers(made({key: shape for key, shape in CLIP.items() if key != missing}))
    weights = Weights(Path("clip.pt"), tensors)
    with pytest.raises(CheckpointError, match=f"missing (text.)?{missing}"):
        recognise(weights).convert(weights, Given(activation="gelu"))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.bool])
def test_numbers_of_fewer_bits_are_refused(dtype):
    key = "visual.transformer.resblocks.0.mlp.c_fc.weight"
    tensors = without_numbers(CLIP) | {key: torch.empty(CLIP[key], dtype=dtype, device="meta")}
    weights = Weights(Path("clip.pt"), tensors)
    with pytest.raises(CheckpointError, match=f"{key} holds {dtype}; .* Of a quantised model, take the original"):
        recognise(weights).convert(weights, Given(activation="gelu"))
