"""The paper's two blocks: temporal difference (section 3.2) and temporal alignment (section 3.3).

Shapes: B videos, n frames (F, or every other one), D embedding, K centres, J tokens of either modality.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.layers import Transformer, key_mask

TEMPORAL_EPS = 1e-12


def temporal_transformer(config: ModelConfig, layers: int) -> Transformer:
    """Blocks over frames."""
    return Transformer(config.embed_dim, layers, config.temporal_heads, eps=TEMPORAL_EPS, activation=config.activation)


def interleave(even: Tensor, odd: Tensor) -> Tensor:
    """even [B, n, ...], odd [B, n-1, ...] -> [B, 2n-1, ...]: even_0, odd_0, even_1, ..., even_{n-1}."""
    out = even.new_empty((even.shape[0], 2 * even.shape[1] - 1, *even.shape[2:]))
    out[:, 0::2] = even
    out[:, 1::2] = odd
    return out


class TemporalDifference(nn.Module):
    """Puts a difference token between neighbouring frames (reference section 4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.kind = config.difference
        self.types = nn.Embedding(2, dim)  # row 0 differences, row 1 frames
        if self.kind == "mlp":
            self.projection = nn.Parameter(torch.empty(dim, dim).normal_(std=dim**-0.5))  # (in, out)
        if self.kind == "attention":
            self.attention = temporal_transformer(config, 1)
        if self.kind != "subtract":
            self.norm = nn.LayerNorm(dim, eps=1e-5)
        nn.init.normal_(self.types.weight, std=0.02)

    def forward(self, frames: Tensor, mask: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """frames [B, n, D], mask [B, n], positions [n, D] -> tokens [B, 2n-1, D], mask [B, 2n-1].

        A difference carries the position and the mask of its earlier frame in the sequence, but
        those of its later frame inside the attention. So the difference between the last valid
        frame and the padding after it is visible, as in the reference (7.2).
        """
        d = frames[:, 1:] - frames[:, :-1]  # [B, n-1, D]
        if self.kind == "mlp":
            d = 2 * torch.sigmoid(self.norm(d @ self.projection)) - 1  # [B, n-1, D]
        elif self.kind == "attention":
            d = self.attention(d + positions[1:], bias=key_mask(mask[:, 1:]))  # [B, n-1, D]
            d = 2 * torch.sigmoid(self.norm(d)) - 1  # [B, n-1, D]
        tokens = interleave(
            frames + positions + self.types.weight[1],
            d + positions[:-1] + self.types.weight[0],
        )  # [B, 2n-1, D]
        return tokens, interleave(mask, mask[:, :-1])


class TemporalAlignment(nn.Module):
    """Aggregates the tokens of a video, and those of a caption, around K shared centres (reference section 6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.weight_centers = nn.Parameter(torch.empty(config.centers, dim).normal_(std=0.125))
        self.centers = nn.Parameter(torch.empty(config.centers, dim).normal_(std=0.125))
        if config.alignment in ("clips", "difference"):
            self.clip_transformer = temporal_transformer(config, 1)

    def aggregate(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens [B, J, D], mask [B, J] -> aligned vector [B, D], unit norm."""
        share = torch.softmax(tokens @ self.weight_centers.T, dim=-1) * mask[..., None]  # [B, J, K]
        # sum_j share_jk (t_j - C_k) without the [B, J, K, D] intermediate
        u = share.transpose(1, 2) @ tokens - share.sum(dim=1)[..., None] * self.centers  # [B, K, D]
        u = u / u.norm(dim=-1, keepdim=True)  # [B, K, D]
        return F.normalize(u.mean(dim=1), dim=-1)  # [B, D]
