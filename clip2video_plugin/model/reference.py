"""Networks from the released CLIP2Video code's state dicts, strictly (docs/explanation/network.md#key-names)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import Alignment, Difference, ModelConfig
from clip2video_plugin.model.network import Clip2Video, skeleton
from clip2video_plugin.model.parts import Part, check_keys, fitted, tower_sizes

__all__ = ["check_keys", "from_reference", "reference_key"]  # check_keys is defined in parts.py

# (our prefix, the reference's prefix), the first match wins
RENAMES = (
    ("image.", "clip.visual."),
    ("text.", "clip."),
    ("logit_scale", "clip.logit_scale"),
    ("frame_positions.", "frame_position_embeddings."),
    ("temporal.", "transformerClip."),
    ("difference.types.", "type_position_embeddings."),
    ("difference.projection", "frame2t_projection"),
    ("difference.attention.", "frame2t_attention."),
    ("difference.norm.", "trans_layernorm."),
    ("alignment.weight_centers", "weight_center"),
    ("alignment.centers", "emb_center"),
    ("alignment.clip_transformer.", "actionClip."),
)
DIFFERENCES: dict[str, Difference] = {"sigmoid_mlp": "mlp", "sigmoid_selfA": "attention"}
ALIGNMENTS: dict[str, Alignment] = {"TAB": "clips", "TAB_TDB": "difference"}
HEAD_WIDTH = 64


def reference_key(key: str) -> str:
    """Name in the released code of one of our parameters."""
    for ours, theirs in RENAMES:
        if key.startswith(ours):
            return theirs + key[len(ours) :]
    raise KeyError(key)


def reference_part(key: str) -> Part:
    """Where one of our parameters lies in a state dict of the released code, or of CLIP4Clip's."""
    return Part((reference_key(key),))


def from_reference(
    state_dict: Mapping[str, Tensor],
    *,
    sim_type: str,
    temporal_type: str,
    temporal_proj: str,
    center_type: str,
    center_proj: str,
    center_weight: float,
    max_frames: int,
    max_words: int,
) -> Clip2Video:
    """Builds the network of a state dict in the reference's key names; options are the reference's own values.

    Sizes are read from the tensors; weights become float32.

    Raises:
        CheckpointError: an option's value or combination is not the reference's, or keys are
            missing, unexpected or misshapen (all of them are listed).
    """
    state = modern_names(state_dict)
    config = reference_config(
        state,
        sim_type=sim_type,
        temporal_type=temporal_type,
        temporal_proj=temporal_proj,
        center_type=center_type,
        center_proj=center_proj,
        center_weight=center_weight,
        max_frames=max_frames,
        max_words=max_words,
    )
    tensors = fitted(state, reference_part, config, unused=unused_keys(config, temporal_proj), most=None)
    return in_memory(config, {key: read() for key, read in tensors.items()})


def in_memory(config: ModelConfig, tensors: Mapping[str, Tensor]) -> Clip2Video:
    """The network of a configuration with copies of ``tensors``, float32."""
    network = skeleton(config)
    weights = {key: value.detach().to(torch.float32).clone() for key, value in tensors.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()


def reference_config(
    state: Mapping[str, Tensor],
    *,
    sim_type: str,
    temporal_type: str,
    temporal_proj: str,
    center_type: str,
    center_proj: str,
    **kept: Any,
) -> ModelConfig:
    """The configuration of ``from_reference``; ``kept`` are options whose names we share."""
    if sim_type not in ("meanP", "seqTransf"):
        raise CheckpointError(f"sim_type is {sim_type!r}; allowed are meanP and seqTransf")
    for option, value, allowed in (("temporal_type", temporal_type, "TDB"), ("center_type", center_type, "TAB")):
        if value not in ("", allowed):
            raise CheckpointError(f"{option} is {value!r}; allowed are '' and {allowed!r}")
    sequence = sim_type == "seqTransf"
    alignment: Alignment = ALIGNMENTS.get(center_proj, "frames") if center_type == "TAB" else "none"
    sizes = reference_sizes(state)
    if alignment != "none":
        sizes["centers"] = _centers(state)
    if sequence:
        sizes["temporal_layers"] = count_blocks(state, "transformerClip.")
    variant: dict[str, Any] = {
        "temporal": "mean" if not sequence else "difference" if temporal_type == "TDB" else "transformer",
        "difference": DIFFERENCES.get(temporal_proj, "subtract"),
        "alignment": alignment,
    }
    return ModelConfig(**(sizes | variant | kept))


def reference_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes and heads of the towers, and heads of the temporal blocks, of a state dict in the reference's names."""
    sizes = tower_sizes(state, reference_part)
    text_heads = code_heads(sizes["text_width"])
    return sizes | {
        "vision_heads": code_heads(sizes["vision_width"]),
        "text_heads": text_heads,
        "temporal_heads": text_heads,
    }


def code_heads(width: int) -> int:
    """As OpenAI's code, CLIP4Clip's and the reference's count them: 64 numbers wide."""
    return max(width // HEAD_WIDTH, 1)


def count_blocks(keys: Iterable[str], prefix: str) -> int:
    """Number of residual blocks below ``prefix``."""
    start = prefix + "resblocks."
    return len({key[len(start) :].split(".")[0] for key in keys if key.startswith(start)})


def modern_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """BERT's old names, gamma and beta, as the released codes rename them before they load."""
    if not any("gamma" in key or "beta" in key for key in state):
        return state
    return {key.replace("gamma", "weight").replace("beta", "bias"): value for key, value in state.items()}


def _centers(state: Mapping[str, Tensor]) -> int:
    if "weight_center" not in state or state["weight_center"].ndim != 2:
        raise CheckpointError("missing weight_center [K, D]; is this a CLIP2Video state dict?")
    return state["weight_center"].shape[0]


def unused_keys(config: ModelConfig, temporal_proj: str) -> dict[str, tuple[int, ...]]:
    """Parameters that the reference creates, and saves, without using them in this variant."""
    d = config.embed_dim
    keys: dict[str, tuple[int, ...]] = {"trans_layernorm.weight": (d,), "trans_layernorm.bias": (d,)}
    if config.temporal != "difference" and temporal_proj == "sigmoid_mlp":
        keys["frame2t_projection"] = (d, d)
    if config.temporal != "difference" and temporal_proj == "sigmoid_selfA":
        block = "frame2t_attention.resblocks.0."
        shapes = {
            "attn.in_proj_weight": (3 * d, d),
            "attn.in_proj_bias": (3 * d,),
            "attn.out_proj.weight": (d, d),
            "mlp.c_fc.weight": (4 * d, d),
            "mlp.c_fc.bias": (4 * d,),
            "mlp.c_proj.weight": (d, 4 * d),
        }
        vectors = ("attn.out_proj.bias", "mlp.c_proj.bias", "ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias")
        keys |= {block + name: shape for name, shape in shapes.items()}
        keys |= {block + name: (d,) for name in vectors}
    return keys
