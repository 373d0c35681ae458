"""Hugging Face's ``CLIPModel``: projections of queries, keys and values apart, those of the towers transposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import Activation
from clip2video_plugin.model.formats.clip import plain_clip
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.formats.pictures import huggingface_pictures
from clip2video_plugin.model.formats.said import Said, agree, fraction, section, side, whole
from clip2video_plugin.model.parts import Part, tower_sizes
from clip2video_plugin.model.tokenizer import END
from clip2video_plugin.model.weights import Weights

WHERE = "config.json"
ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": "quick_gelu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}
OUTSIDE = {
    "logit_scale": Part(("logit_scale",)),
    "image.proj": Part(("visual_projection.weight",), transposed=True),
    "text.text_projection": Part(("text_projection.weight",), transposed=True),
}
TOWERS = {"image": "vision_model.", "text": "text_model."}
EMBEDDINGS = {
    "conv1.weight": "embeddings.patch_embedding.weight",
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
}
NORMS = {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm", "ln_final": "final_layer_norm"}  # spelt so
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
UNUSED = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")  # of old files: 0, 1, 2, ...
# CLIPConfig's own, where config.json has no such key: only what is not usual need be written
USUAL = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
USUAL_VISION = {
    **{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    **{"image_size": 224, "patch_size": 32},
}
USUAL_TEXT = {
    **{"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8},
    **{"vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407},
}
LARGEST = 2  # an eos_token_id of old files, which stands for the largest token


def huggingface_part(key: str) -> Part:
    """Where one of our parameters lies in Hugging Face's names."""
    if key in OUTSIDE:
        return OUTSIDE[key]
    tower, _, rest = key.partition(".")
    prefix = TOWERS[tower]
    if rest in EMBEDDINGS:
        return Part((prefix + EMBEDDINGS[rest],))
    if not rest.startswith("transformer.resblocks."):
        norm, _, kind = rest.partition(".")
        return Part((f"{prefix}{NORMS[norm]}.{kind}",))
    _, _, number, rest = rest.split(".", 3)
    layer = f"{prefix}encoder.layers.{number}."
    if rest.startswith("attn.in_proj_"):
        kind = rest.removeprefix("attn.in_proj_")
        return Part(tuple(f"{layer}self_attn.{letter}_proj.{kind}" for letter in "qkv"))
    name, _, kind = rest.rpartition(".")
    return Part((f"{layer}{BLOCK[name]}.{kind}",))


def configured(weights: Weights, sizes: Mapping[str, Any]) -> Said | None:
    """What a config.json of a CLIPModel says beside the tensors; None where there is none.

    Raises:
        CheckpointError: it is of another model, contradicts the tensors, or says what ours does not do.
    """
    path, config = weights.path, weights.config
    if not {"model_type", "vision_config", "text_config"} & set(config):
        return None  # none, or another program's
    if config.get("model_type", "clip") != "clip":
        raise CheckpointError(
            f"{path}: {WHERE} beside it is of a {config['model_type']!r}, which is not read. If it is another model's, "
            "move the weights to a folder of their own"
        )
    vision = {**USUAL, **USUAL_VISION, **tower_section(weights, "vision_config")}
    text = {**USUAL, **USUAL_TEXT, **tower_section(weights, "text_config")}
    claims = {
        "projection_dim": (config.get("projection_dim", 512), sizes["embed_dim"]),
        "vision_config.image_size": (side(vision["image_size"]), sizes["image_size"]),
    }
    said = described(path, sizes, vision, text, claims)
    return replace(said, pictures=huggingface_pictures(path, weights.preprocessor, sizes["image_size"]))


def described(
    path: Path,
    sizes: Mapping[str, Any],
    vision: Mapping[str, Any],
    text: Mapping[str, Any],
    claims: Mapping[str, tuple[Any, Any]],
) -> Said:
    """What the sections of a config.json, completed with what is usual, say beside the tensors; pictures apart.

    Args:
        claims: what it says and what is found, beside what it says of every model.

    Raises:
        CheckpointError: it contradicts the tensors, or says what ours does not do.
    """
    claims = dict(claims)
    for tower, values in (("vision", vision), ("text", text)):
        width = sizes[f"{tower}_width"]
        claims |= {
            f"{tower}_config.hidden_size": (values["hidden_size"], width),
            f"{tower}_config.num_hidden_layers": (values["num_hidden_layers"], sizes[f"{tower}_layers"]),
            f"{tower}_config.intermediate_size": (
                values["intermediate_size"],
                sizes[f"{tower}_mlp_width"] or 4 * width,
            ),
        }
    claims |= {
        "vision_config.patch_size": (side(vision["patch_size"]), sizes["patch_size"]),
        "text_config.vocab_size": (text["vocab_size"], sizes["vocab_size"]),
        "text_config.max_position_embeddings": (text["max_position_embeddings"], sizes["context_length"]),
    }
    agree(path, WHERE, claims)
    for name in ("hidden_act", "layer_norm_eps"):
        if vision[name] != text[name]:
            raise CheckpointError(
                f"{path}: {WHERE} says {name} is {vision[name]!r} for images and {text[name]!r} for text; "
                "here it is one"
            )
    if vision["hidden_act"] not in tuple(ACTIVATIONS):
        raise CheckpointError(
            f"{path}: {WHERE} says hidden_act is {vision['hidden_act']!r}; allowed are {', '.join(ACTIVATIONS)}"
        )
    return Said(
        where=WHERE,
        heads=(
            whole(path, WHERE, "vision_config.num_attention_heads", vision["num_attention_heads"]),
            whole(path, WHERE, "text_config.num_attention_heads", text["num_attention_heads"]),
        ),
        activation=ACTIVATIONS[vision["hidden_act"]],
        norm_eps=fraction(path, WHERE, "layer_norm_eps", vision["layer_norm_eps"]),
    )


def tower_section(weights: Weights, name: str) -> Mapping[str, Any]:
    """Old files write it twice, and the second, where it is not null, counts."""
    chosen = f"{name}_dict" if weights.config.get(f"{name}_dict") is not None else name
    return section(weights.path, WHERE, weights.config, chosen)


def _recognises(weights: Weights) -> bool:
    starts = {name.split(".")[0] for name in weights.tensors}
    return {"vision_model", "text_model", "visual_projection"} <= starts


def _convert(weights: Weights, given: Given) -> Converted:
    said = configured(weights, tower_sizes(weights.tensors, huggingface_part))
    converted = plain_clip(weights, huggingface_part, said, given, unused=UNUSED)
    if said:
        end = tower_section(weights, "text_config").get("eos_token_id", USUAL_TEXT["eos_token_id"])
        last = converted.tokenizer.token_to_id(END)
        if end not in (LARGEST, last):
            raise CheckpointError(
                f"{weights.path}: {WHERE} says a sentence is read at token {end!r} (text_config.eos_token_id), and the "
                f"tokenizer ends it with {last}"
            )
    return converted


HUGGINGFACE = Format("Hugging Face CLIPModel", _recognises, _convert)
