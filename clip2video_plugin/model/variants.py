"""The variants of a network: what each word of a ModelConfig builds (docs/explanation/network.md#variants).

Names of parts are those of checkpoints, and their order is that in which a seed draws them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from clip2video_plugin.model.clip import ImageTower, TextTower
from clip2video_plugin.model.config import Alignment, Difference, ModelConfig, Temporal, Towers
from clip2video_plugin.model.siglip import SiglipImageTower, SiglipTextTower
from clip2video_plugin.model.temporal import (
    AttendedDifference,
    ClipAlignment,
    DifferenceBlocks,
    FrameBlocks,
    ProjectedDifference,
    TemporalAlignment,
    TemporalDifference,
)

Parts = dict[str, nn.Module | nn.Parameter]
Builder = Callable[[ModelConfig], Parts]


def build_parts(config: ModelConfig) -> Parts:
    """The parts of a network by name; those that its variant lacks are not among them."""
    towers, temporal = TOWERS[config.towers](config), TEMPORAL[config.temporal](config)
    return {**towers, **temporal, **ALIGNMENT[config.alignment](config)}


def clip_towers(config: ModelConfig) -> Parts:
    return {"image": ImageTower(config), "text": TextTower(config)}


def siglip_towers(config: ModelConfig) -> Parts:
    # The bias is of its sigmoid; a softmax over captions or videos does not feel it, so it is not trained.
    bias = nn.Parameter(torch.tensor(-10.0), requires_grad=False)
    return {"image": SiglipImageTower(config), "text": SiglipTextTower(config), "logit_bias": bias}


def mean_of_frames(config: ModelConfig) -> Parts:
    return {}


def blocks_over_frames(config: ModelConfig, blocks: type[FrameBlocks] = FrameBlocks) -> Parts:
    positions = nn.Embedding(config.context_length, config.embed_dim)
    temporal = blocks(config, config.temporal_layers)
    nn.init.normal_(positions.weight, std=0.02)
    return {"frame_positions": positions, "temporal": temporal}


def blocks_over_differences(config: ModelConfig) -> Parts:
    parts = blocks_over_frames(config, DifferenceBlocks)
    difference = DIFFERENCE[config.difference](config)
    nn.init.normal_(difference.types.weight, std=0.02)
    return {**parts, "difference": difference}


def no_alignment(config: ModelConfig) -> Parts:
    return {}


def alignment_of_frames(config: ModelConfig) -> Parts:
    return {"alignment": TemporalAlignment(config)}


def alignment_of_clips(config: ModelConfig) -> Parts:
    return {"alignment": ClipAlignment(config, FrameBlocks)}


def alignment_of_differences(config: ModelConfig) -> Parts:
    return {"alignment": ClipAlignment(config, DifferenceBlocks)}


TOWERS: dict[Towers, Builder] = {"clip": clip_towers, "siglip": siglip_towers}
TEMPORAL: dict[Temporal, Builder] = {
    "mean": mean_of_frames,
    "transformer": blocks_over_frames,
    "difference": blocks_over_differences,
}
DIFFERENCE: dict[Difference, type[TemporalDifference]] = {
    "subtract": TemporalDifference,
    "mlp": ProjectedDifference,
    "attention": AttendedDifference,
}
ALIGNMENT: dict[Alignment, Builder] = {
    "none": no_alignment,
    "frames": alignment_of_frames,
    "clips": alignment_of_clips,
    "difference": alignment_of_differences,
}
