"""open_clip's CLIP: OpenAI's names, or those with the text tower below ``text.`` (CustomTextCLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import Activation
from clip2video_plugin.model.formats import huggingface
from clip2video_plugin.model.formats.clip import plain_clip
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.formats.openai import openai_part
from clip2video_plugin.model.formats.pictures import open_clip_pictures
from clip2video_plugin.model.formats.said import Said, agree, fraction, section, side, whole
from clip2video_plugin.model.parts import Layout, Part, tower_sizes
from clip2video_plugin.model.weights import Weights

WHERE = "open_clip_config.json"
UNUSED = ("attn_mask", "text.attn_mask", "logit_bias")  # the causal mask; and what adds the same to every score
USUAL_VISION = {"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16, "image_size": 224}
USUAL_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12, "mlp_ratio": 4.0}
# What else a configuration may say without changing a vector: keys of training and of parts that are not there, and
# keys at the value that ours has. A key that is neither is refused unless it is off.
IDLE = {
    *("patch_dropout", "output_tokens", "pad_id", "eos_id", "act_kwargs", "norm_kwargs"),
    *("timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path"),
    *("attn_pooler_queries", "attn_pooler_heads", "n_queries"),
    *("hf_model_pretrained", "hf_proj_type", "hf_pooler_type", "proj", "pooler_type"),
}
AS_OURS = {"pos_embed_type": "learnable", "proj_type": "linear"}


def custom_text_part(key: str) -> Part:
    """Where one of our parameters lies in a CustomTextCLIP."""
    return Part((key,)) if key.startswith("text.") else openai_part(key)


def _layout(weights: Weights) -> Layout:
    return custom_text_part if any(name.startswith("text.") for name in weights.tensors) else openai_part


def configured(weights: Weights, sizes: Mapping[str, Any]) -> Said | None:
    """What an open_clip_config.json says beside the tensors; None where there is none.

    Raises:
        CheckpointError: it contradicts the tensors, or says what ours does not do.
    """
    path = weights.path
    if "model_cfg" not in weights.config:
        return huggingface.configured(weights, sizes) if "model_type" in weights.config else None
    model = section(path, WHERE, weights.config, "model_cfg")
    vision = {**USUAL_VISION, **section(path, WHERE, model, "vision_cfg")}
    text = {**USUAL_TEXT, **section(path, WHERE, model, "text_cfg")}
    _refuse_unknown(weights, "vision_cfg", vision, USUAL_VISION, pool_type="tok")
    _refuse_unknown(weights, "text_cfg", text, USUAL_TEXT, pool_type="argmax")
    for name, values in (("vision_cfg", vision), ("text_cfg", text)):
        for key in ("width", "layers", "heads" if name == "text_cfg" else "head_width"):
            whole(path, WHERE, f"{name}.{key}", values[key])
        if not isinstance(values["mlp_ratio"], int | float) or not 0 < values["mlp_ratio"] < 1000:
            raise CheckpointError(
                f"{path}: {WHERE} says {name}.mlp_ratio is {values['mlp_ratio']!r}; it must be a number, as 4.0"
            )
    claims: dict[str, tuple[Any, Any]] = {
        "embed_dim": (model.get("embed_dim"), sizes["embed_dim"]),
        "vision_cfg.image_size": (side(vision["image_size"]), sizes["image_size"]),
        "vision_cfg.patch_size": (side(vision["patch_size"]), sizes["patch_size"]),
        "text_cfg.context_length": (text["context_length"], sizes["context_length"]),
        "text_cfg.vocab_size": (text["vocab_size"], sizes["vocab_size"]),
    }
    for tower, values in (("vision", vision), ("text", text)):
        width = sizes[f"{tower}_width"]
        claims |= {
            f"{tower}_cfg.width": (values["width"], width),
            f"{tower}_cfg.layers": (values["layers"], sizes[f"{tower}_layers"]),
            f"{tower}_cfg.width * mlp_ratio": (
                int(values["width"] * values["mlp_ratio"]),
                sizes[f"{tower}_mlp_width"] or 4 * width,
            ),
        }
    agree(path, WHERE, claims)
    activation, eps = _activation(weights, model, vision), _eps(weights, vision)
    _agreed(weights, "the activation", activation, _activation(weights, model, text))
    _agreed(weights, "eps", eps, _eps(weights, text))
    return Said(
        where=WHERE,
        heads=(max(vision["width"] // vision["head_width"], 1), text["heads"]),
        activation=activation,
        norm_eps=eps,
        pictures=open_clip_pictures(
            path, WHERE, section(path, WHERE, weights.config, "preprocess_cfg"), sizes["image_size"]
        ),
    )


def _activation(weights: Weights, model: Mapping[str, Any], values: Mapping[str, Any]) -> Activation:
    quick, options = model.get("quick_gelu") or False, section(weights.path, WHERE, values, "act_kwargs")
    approximate = options.get("approximate", "none")
    if quick not in (True, False):
        raise CheckpointError(f"{weights.path}: {WHERE} says quick_gelu is {quick!r}; allowed are true and false")
    if set(options) - {"approximate"} or approximate not in ("none", "tanh") or (quick and options):
        raise CheckpointError(
            f"{weights.path}: {WHERE} says act_kwargs are {dict(options)!r}; allowed is approximate, none or tanh, "
            "of a GELU"
        )
    return "quick_gelu" if quick else "gelu_tanh" if approximate == "tanh" else "gelu"


def _eps(weights: Weights, values: Mapping[str, Any]) -> float:
    options = section(weights.path, WHERE, values, "norm_kwargs")
    if set(options) - {"eps"}:
        raise CheckpointError(f"{weights.path}: {WHERE} says norm_kwargs are {dict(options)!r}; allowed is eps")
    return fraction(weights.path, WHERE, "eps", options.get("eps", 1e-5))


def _agreed(weights: Weights, name: str, image: object, text: object) -> None:
    if image != text:
        raise CheckpointError(
            f"{weights.path}: {WHERE} says {name} is {image} for images and {text} for text; here it is one"
        )


def _refuse_unknown(
    weights: Weights, name: str, values: Mapping[str, Any], usual: Mapping[str, Any], **ours: str
) -> None:
    for key, value in values.items():
        if key in usual or key in IDLE or value in (None, False, "", "none", {}) or value == (AS_OURS | ours).get(key):
            continue
        raise CheckpointError(
            f"{weights.path}: {WHERE} says {name}.{key} is {value!r}, which this network does not do; "
            "plain vision and text transformers of CLIP are read"
        )


def _recognises(weights: Weights) -> bool:
    starts = ("visual.conv1.", "visual.transformer.resblocks.", "visual.class_embedding", "visual.positional_embedding")
    return any(name.startswith(starts) for name in weights.tensors)


def _convert(weights: Weights, given: Given) -> Converted:
    layout = _layout(weights)
    said = configured(weights, tower_sizes(weights.tensors, layout))
    return plain_clip(weights, layout, said, given, unused=UNUSED)


OPEN_CLIP = Format("open_clip", _recognises, _convert)
