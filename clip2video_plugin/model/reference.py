"""Networks from the released CLIP2Video code's state dicts, strictly (reference sections 1, 2, 7.8, 10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import Alignment, Difference, ModelConfig
from clip2video_plugin.model.network import Clip2Video

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
    if sim_type not in ("meanP", "seqTransf"):
        raise CheckpointError(f"sim_type is {sim_type!r}; allowed are meanP and seqTransf")
    for option, value, allowed in (("temporal_type", temporal_type, "TDB"), ("center_type", center_type, "TAB")):
        if value not in ("", allowed):
            raise CheckpointError(f"{option} is {value!r}; allowed are '' and {allowed!r}")
    sequence = sim_type == "seqTransf"
    alignment: Alignment = ALIGNMENTS.get(center_proj, "frames") if center_type == "TAB" else "none"
    state = {_modern_name(key): value for key, value in state_dict.items()}
    sizes = clip_sizes(state)
    if alignment != "none":
        sizes["centers"] = _tensor(state, "weight_center", 2).shape[0]
    if sequence:
        sizes["temporal_layers"] = count_blocks(state, "transformerClip.")
    variant: dict[str, Any] = {
        "temporal_heads": sizes["text_heads"],
        "temporal": "mean" if not sequence else "difference" if temporal_type == "TDB" else "transformer",
        "difference": DIFFERENCES.get(temporal_proj, "subtract"),
        "alignment": alignment,
        "center_weight": center_weight,
        "max_frames": max_frames,
        "max_words": max_words,
    }
    config = ModelConfig(**(sizes | variant))
    with torch.device("meta"):
        network = Clip2Video(config)
    ours = {reference_key(key): key for key in network.state_dict()}
    expected = {theirs: tuple(network.state_dict()[key].shape) for theirs, key in ours.items()}
    expected |= _unused_keys(config, temporal_proj)
    check_keys(state, expected)
    weights = {key: state[theirs].detach().to(torch.float32).clone() for theirs, key in ours.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()


class Shaped(Protocol):
    """A tensor, or what is known of one in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_keys(state: Mapping[str, Shaped], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointError that lists every missing, unexpected and misshapen key."""
    problems = [f"missing {key} {list(shape)}" for key, shape in expected.items() if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in expected]
    problems += [
        f"misshapen {key}: {list(state[key].shape)}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    if problems:
        raise CheckpointError(f"{len(problems)} keys do not fit the network: " + "; ".join(problems))


def count_blocks(keys: Iterable[str], prefix: str) -> int:
    """Number of residual blocks below ``prefix``."""
    start = prefix + "resblocks."
    return len({key[len(start) :].split(".")[0] for key in keys if key.startswith(start)})


def _modern_name(key: str) -> str:
    """BERT's old names, which the reference renames before it loads."""
    return key.replace("gamma", "weight").replace("beta", "bias")


def _tensor(state: Mapping[str, Tensor], key: str, ndim: int) -> Tensor:
    if key not in state:
        raise CheckpointError(f"missing {key}; is this a CLIP2Video state dict?")
    if state[key].ndim != ndim:
        raise CheckpointError(f"misshapen {key}: {list(state[key].shape)}, expected {ndim} dimensions")
    return state[key]


def clip_sizes(state: Mapping[str, Tensor], prefix: str = "clip.") -> dict[str, int]:
    """Sizes of a ViT CLIP from its tensors (reference section 2), as fields of ModelConfig."""
    conv = _tensor(state, prefix + "visual.conv1.weight", 4)
    patches = _tensor(state, prefix + "visual.positional_embedding", 2).shape[0] - 1
    grid = round(patches**0.5)
    vocab_size, text_width = _tensor(state, prefix + "token_embedding.weight", 2).shape
    width, patch = conv.shape[0], conv.shape[-1]
    return {
        "image_size": patch * grid,
        "patch_size": patch,
        "vision_width": width,
        "vision_layers": count_blocks(state, prefix + "visual.transformer."),
        "vision_heads": max(width // HEAD_WIDTH, 1),
        "vocab_size": vocab_size,
        "context_length": _tensor(state, prefix + "positional_embedding", 2).shape[0],
        "text_width": text_width,
        "text_layers": count_blocks(state, prefix + "transformer."),
        "text_heads": max(text_width // HEAD_WIDTH, 1),
        "embed_dim": _tensor(state, prefix + "text_projection", 2).shape[1],
    }


def _unused_keys(config: ModelConfig, temporal_proj: str) -> dict[str, tuple[int, ...]]:
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
