"""OpenAI's CLIP: a TorchScript archive or a state dict, with three numbers beside the weights that tell it apart."""

from __future__ import annotations

from clip2video_plugin.model.formats.clip import plain_clip
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.formats.said import Said
from clip2video_plugin.model.parts import Part, tower_sizes
from clip2video_plugin.model.reference import code_heads, reference_key
from clip2video_plugin.model.weights import CLIP_EXTRAS, Weights


def openai_part(key: str) -> Part:
    """Where one of our parameters lies in OpenAI's names."""
    return Part((reference_key(key).removeprefix("clip."),))


def _recognises(weights: Weights) -> bool:
    return all(name in weights.tensors for name in CLIP_EXTRAS) and any(
        k.startswith("visual.") for k in weights.tensors
    )


def _convert(weights: Weights, given: Given) -> Converted:
    sizes = tower_sizes(weights.tensors, openai_part)
    heads = code_heads(sizes["vision_width"]), code_heads(sizes["text_width"])
    said = Said(where="OpenAI's code", heads=heads, activation="quick_gelu")
    return plain_clip(weights, openai_part, said, given, unused=CLIP_EXTRAS, codes_words=True)


OPENAI = Format("OpenAI CLIP", _recognises, _convert)
