"""SigLIP in Hugging Face's form: ``SiglipModel``, and ``Siglip2Model`` (NaFlex) on the square grid of its positions.

With the tokenizer of SigLIP 2; its models of fixed size are of the first class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.formats.clip import MEAN, kept_options, temporal_heads
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.formats.huggingface import UNUSED, WHERE, described, huggingface_part, tower_section
from clip2video_plugin.model.formats.pictures import huggingface_pictures
from clip2video_plugin.model.formats.said import Said, settled, side, whole
from clip2video_plugin.model.formats.words import siglip_words
from clip2video_plugin.model.parts import Part, fitted, tower_sizes
from clip2video_plugin.model.weights import Weights

KINDS = ("siglip", "siglip2")
PATCHES = "vision_model.embeddings.patch_embedding.weight"
OUTSIDE = {
    "logit_bias": "logit_bias",
    "image.conv1.bias": "vision_model.embeddings.patch_embedding.bias",
    "image.head.probe": "vision_model.head.probe",
    "text.head.weight": "text_model.head.weight",
    "text.head.bias": "text_model.head.bias",
}
POOLING = {"attn.": "attention.", "ln.": "layernorm.", "mlp.c_fc.": "mlp.fc1.", "mlp.c_proj.": "mlp.fc2."}
# SiglipConfig's and Siglip2Config's own, where config.json has no such key: SigLIP 2's say little more than their kind
USUAL = {
    **{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    **{"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
}
USUAL_VISION = {"image_size": 224, "patch_size": 16, "num_patches": 256, "num_channels": 3, "vision_use_head": True}
USUAL_TEXT = {"vocab_size": 32000, "max_position_embeddings": 64}
RESAMPLE = {"siglip": 3, "siglip2": 2}  # of their image processors: bicubic, bilinear
HALF = (0.5, 0.5, 0.5)


def siglip_part(key: str) -> Part:
    """Where one of our parameters lies in Hugging Face's names."""
    if key in OUTSIDE:
        return Part((OUTSIDE[key],))
    name = key.removeprefix("image.head.")
    for ours, theirs in POOLING.items():
        if name != key and name.startswith(ours):
            return Part((f"vision_model.head.{theirs}{name.removeprefix(ours)}",))
    return huggingface_part(key)


def _recognises(weights: Weights) -> bool:
    if any(name.startswith(("vision_model.head.", "text_model.head.")) for name in weights.tensors):
        return True
    named = str(weights.config.get("model_type", "")).startswith("siglip")
    return named and "visual_projection.weight" not in weights.tensors  # a CLIP's format says that the name is wrong


def _convert(weights: Weights, given: Given) -> Converted:
    path, kind = weights.path, weights.config.get("model_type")
    if kind is None:
        raise CheckpointError(
            f"{path} is a SigLIP without its {WHERE}, which says how many attention heads it has; import the folder "
            "that has both"
        )
    if kind not in KINDS:
        raise CheckpointError(
            f"{path}: {WHERE} says model_type is {kind!r}; read are {' and '.join(KINDS)}, with both their towers"
        )
    tensors = _with_convolution(weights.tensors)
    sizes = tower_sizes(tensors, siglip_part, "siglip")
    said = _configured(weights, sizes)
    known = settled(path, sizes, said, given)
    config = ModelConfig(
        towers="siglip",
        max_words=sizes["context_length"],
        temporal_heads=temporal_heads(sizes["embed_dim"]),
        **MEAN | sizes | known | kept_options(weights, given, ("max_frames",)),
    )
    return Converted(
        config=config,
        tensors=fitted(tensors, siglip_part, config, unused=UNUSED),
        tokenizer=siglip_words(weights, config.vocab_size),
        card=Card(training="zero-shot", source=path.name),
    )


def _with_convolution(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """``Siglip2Model`` multiplies patches, laid out as [P, P, 3], by a matrix; here it is the same as a convolution."""
    patches = tensors.get(PATCHES)
    if patches is None or patches.ndim != 2:
        return tensors
    width, numbers = patches.shape
    patch = math.isqrt(numbers // 3)
    if numbers != 3 * patch**2:
        raise CheckpointError(f"misshapen {PATCHES}: {list(patches.shape)}, expected square patches of 3 colours")
    return {**tensors, PATCHES: patches.reshape(width, patch, patch, 3).permute(0, 3, 1, 2)}


def _configured(weights: Weights, sizes: Mapping[str, Any]) -> Said:
    """What config.json and preprocessor_config.json say; a square of ``image_size`` may be more than its patches."""
    path, kind = weights.path, weights.config["model_type"]
    vision = {**USUAL, **USUAL_VISION, **tower_section(weights, "vision_config")}
    text = {**USUAL, **USUAL_TEXT, **tower_section(weights, "text_config")}
    if not vision["vision_use_head"]:
        raise CheckpointError(
            f"{path}: {WHERE} says vision_use_head is false; without its head a picture has no vector"
        )
    size, patch = sizes["image_size"], sizes["patch_size"]
    positions = (size // patch) ** 2
    claims = {
        "vision_config.num_channels": (vision["num_channels"], 3),
        "text_config.projection_size": (text.get("projection_size") or text["hidden_size"], sizes["embed_dim"]),
    }
    if kind == "siglip2":
        claims["vision_config.num_patches"] = (vision["num_patches"], positions)
    else:
        size = whole(path, WHERE, "vision_config.image_size", side(vision["image_size"]))
        claims["patches of vision_config.image_size"] = ((size // patch) ** 2, positions)
    said = described(path, sizes, vision, text, claims)
    usual = {"resample": RESAMPLE[kind], "size": {"height": size, "width": size}, "image_mean": HALF, "image_std": HALF}
    pictures = huggingface_pictures(path, weights.preprocessor or usual, size, usual)
    return replace(said, pictures={"image_size": size, **pictures})


SIGLIP = Format("Hugging Face SiglipModel", _recognises, _convert)
