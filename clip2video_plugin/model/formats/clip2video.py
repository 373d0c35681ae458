"""CLIP2Video's state dicts, in the names of the code that the paper's authors released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from clip2video_plugin.model.card import Card
from clip2video_plugin.model.formats.clip import kept_options
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.formats.said import Said, settled
from clip2video_plugin.model.formats.words import clip_words
from clip2video_plugin.model.parts import fitted
from clip2video_plugin.model.reference import modern_names, reference_config, reference_part, unused_keys
from clip2video_plugin.model.weights import Weights

# CLIP4Clip has none of these; the released code saves trans_layernorm in every variant.
MARKS = (
    *("trans_layernorm.", "type_position_embeddings.", "weight_center", "emb_center"),
    *("frame2t_projection", "frame2t_attention.", "actionClip."),
)


def reference_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of ``from_reference`` that a CLIP2Video state dict's keys speak for; else the paper's."""
    blocks = {key.split(".")[0] for key in state}
    difference = "type_position_embeddings" in blocks
    alignment = "weight_center" in blocks
    return {
        "sim_type": "seqTransf" if "transformerClip" in blocks else "meanP",
        "temporal_type": "TDB" if difference else "",
        "temporal_proj": "sigmoid_mlp"
        if "frame2t_projection" in blocks
        else "sigmoid_selfA"
        if "frame2t_attention" in blocks
        else "",
        "center_type": "TAB" if alignment else "",
        # The keys of TAB and TAB_TDB are the same; the released models are TAB_TDB.
        "center_proj": "" if "actionClip" not in blocks else "TAB_TDB" if difference else "TAB",
        "center_weight": 0.5,
        "max_frames": 12,
        "max_words": 32,
    }


def _recognises(weights: Weights) -> bool:
    names = weights.tensors
    return any(name.startswith("clip.") for name in names) and any(name.startswith(MARKS) for name in names)


def _convert(weights: Weights, given: Given) -> Converted:
    state = modern_names(weights.tensors)
    options = reference_options(state)
    options |= kept_options(weights, given, tuple(options))
    config = reference_config(state, **options)
    said = Said(
        where="the released code",
        heads=(config.vision_heads, config.text_heads),
        activation="quick_gelu",
        firm=False,
    )
    known = settled(weights.path, config.to_dict(), said, given)
    config = replace(config, **known, temporal_heads=known["text_heads"])
    tensors = fitted(state, reference_part, config, unused=unused_keys(config, options["temporal_proj"]))
    return Converted(
        config=config,
        tensors=tensors,
        tokenizer=clip_words(weights, config.vocab_size, codes=True),
        card=Card(training="trained", source=weights.path.name),
    )


CLIP2VIDEO = Format("CLIP2Video", _recognises, _convert)
