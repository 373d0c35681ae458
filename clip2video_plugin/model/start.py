"""Where training starts from a CLIP: the temporal parts, made from its text tower.

Which part comes from where: docs/explanation/network.md#start-from-a-clip
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.network import skeleton

TEMPORAL_LAYERS = 4  # of the paper; the reference's cross_num_hidden_layers
PAPER = {"temporal": "difference", "alignment": "difference"}

Readers = dict[str, Callable[[], Tensor]]


def text_fits(config: ModelConfig) -> bool:
    """Whether the blocks of a network's text tower can be blocks over its frames."""
    hidden = config.text_mlp_width or 4 * config.text_width
    return config.towers == "clip" and config.text_width == config.embed_dim and hidden == 4 * config.embed_dim


def with_temporal_parts(
    config: ModelConfig, tensors: Mapping[str, Callable[[], Tensor]], *, seed: int = 0, **parts: Any
) -> tuple[ModelConfig, Readers]:
    """A network and the temporal parts that it lacks: a start for training, of no use before.

    Frame positions and types are the first text positions, blocks over frames the text blocks, the projection of
    differences the first rows of the image tower's; the alignment centres are drawn, N(0, 1/64).

    Args:
        config, tensors: of the network as it is: its parameters by name, each as a function that reads it.
        seed: of the alignment centres.
        parts: fields of ModelConfig that say which parts; by default the paper's, with as many heads as the text tower.

    Raises:
        CheckpointError: the text tower's blocks do not fit, or are fewer than the temporal layers.
    """
    if config.towers != "clip":
        raise CheckpointError(f"towers are {config.towers!r}; temporal blocks are taken from the text tower of a CLIP")
    if not text_fits(config):
        raise CheckpointError(
            f"text width {config.text_width} and embedding {config.embed_dim} differ, or its blocks are of another "
            "form; temporal blocks cannot be taken from this CLIP"
        )
    made: dict[str, Any] = dict(PAPER)
    if config.temporal == "mean":
        layers = min(TEMPORAL_LAYERS, config.text_layers)
        made |= {"temporal_layers": layers, "temporal_heads": config.text_heads}
    new = replace(config, **(made | parts))
    if new.temporal == "difference" and new.difference == "mlp" and config.vision_width < config.embed_dim:
        raise CheckpointError(
            f"vision_width is {config.vision_width}, less than embed_dim {config.embed_dim}; the projection of "
            "differences is taken from the image tower's, which is too small: choose difference attention or subtract"
        )
    generator = torch.Generator().manual_seed(seed)

    def first(key: str, shape: tuple[int, ...]) -> Callable[[], Tensor]:
        if key in ("alignment.weight_centers", "alignment.centers"):
            drawn = torch.randn(shape, generator=generator) * 64**-0.5
            return lambda: drawn
        if key.startswith("difference.norm."):
            return lambda: torch.ones(shape) if key.endswith("weight") else torch.zeros(shape)
        if key in ("frame_positions.weight", "difference.types.weight"):
            return lambda: tensors["text.positional_embedding"]()[: shape[0]]
        if key == "difference.projection":
            return lambda: tensors["image.proj"]()[: shape[0]]
        block = "text.transformer.resblocks." + key.split("resblocks.")[1]
        if block not in tensors:
            raise CheckpointError(
                f"temporal_layers is {new.temporal_layers}; the text tower, which they are taken from, has "
                f"{config.text_layers} blocks"
            )
        return tensors[block]

    shapes = {key: tuple(value.shape) for key, value in skeleton(new).state_dict().items()}
    return new, {key: tensors.get(key) or first(key, shape) for key, shape in shapes.items()}
