"""The paper's two blocks: temporal difference (its section 3.2) and temporal alignment (3.3).

Shapes: B videos, n frames (F, or every other one), D embedding, K centres, J tokens of either modality.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.layers import Transformer, key_mask

TEMPORAL_EPS = 1e-12


def interleave(even: Tensor, odd: Tensor) -> Tensor:
    """even [B, n, ...], odd [B, n-1, ...] -> [B, 2n-1, ...]: even_0, odd_0, even_1, ..., even_{n-1}."""
    out = even.new_empty((even.shape[0], 2 * even.shape[1] - 1, *even.shape[2:]))
    out[:, 0::2] = even
    out[:, 1::2] = odd
    return out


class TemporalDifference(nn.Module):
    """Puts a difference token between neighbouring frames (docs/explanation/network.md#temporal-difference-block).

    The token is the difference as it is here, and what is made of it in the variants below.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.types = nn.Embedding(2, config.embed_dim)  # row 0 differences, row 1 frames

    def forward(self, frames: Tensor, mask: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """frames [B, n, D], mask [B, n], positions [n, D] -> tokens [B, 2n-1, D], mask [B, 2n-1].

        A difference carries the position and the mask of its earlier frame in the sequence, but
        those of its later frame inside the attention. So the difference between the last valid
        frame and the padding after it is visible, as in the reference (docs/explanation/network.md#masks-and-padding).
        """
        d = self.refine(frames[:, 1:] - frames[:, :-1], mask[:, 1:], positions[1:])  # [B, n-1, D]
        tokens = interleave(
            frames + positions + self.types.weight[1],
            d + positions[:-1] + self.types.weight[0],
        )  # [B, 2n-1, D]
        return tokens, interleave(mask, mask[:, :-1])

    def refine(self, d: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Differences [B, n-1, D] to tokens; mask [B, n-1] and positions [n-1, D] are of their later frames."""
        return d


class ProjectedDifference(TemporalDifference):
    """A matrix, then onto (-1, 1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        dim = config.embed_dim
        self.projection = nn.Parameter(torch.empty(dim, dim).normal_(std=dim**-0.5))  # (in, out)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def refine(self, d: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        return 2 * torch.sigmoid(self.norm(d @ self.projection)) - 1  # [B, n-1, D]


class AttendedDifference(TemporalDifference):
    """A block over all differences, then onto (-1, 1)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.attention = FrameBlocks(config, 1)
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-5)

    def refine(self, d: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        d = self.attention(d + positions, bias=key_mask(mask))  # [B, n-1, D]
        return 2 * torch.sigmoid(self.norm(d)) - 1  # [B, n-1, D]


class FrameBlocks(Transformer):
    """Blocks over frames in order."""

    def __init__(self, config: ModelConfig, layers: int) -> None:
        super().__init__(
            config.embed_dim, layers, config.temporal_heads, eps=TEMPORAL_EPS, activation=config.activation
        )

    def over(self, frames: Tensor, mask: Tensor, positions: Tensor, difference: TemporalDifference) -> Tensor:
        """frames [B, n, D], mask [B, n], positions [n, D] -> [B, n, D]; ``difference`` is not asked here."""
        out: Tensor = self(frames + positions, bias=key_mask(mask))
        return out


class DifferenceBlocks(FrameBlocks):
    """Blocks over frames and the difference tokens between them."""

    def over(self, frames: Tensor, mask: Tensor, positions: Tensor, difference: TemporalDifference) -> Tensor:
        tokens, token_mask = difference(frames, mask, positions)  # [B, 2n-1, D], [B, 2n-1]
        out: Tensor = self(tokens, bias=key_mask(token_mask))[:, 0::2]  # [B, n, D]
        return out


class TemporalAlignment(nn.Module):
    """Aggregates the tokens of a video, and those of a caption, around K shared centres.

    docs/explanation/network.md#temporal-alignment-block
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.weight_centers = nn.Parameter(torch.empty(config.centers, dim).normal_(std=0.125))
        self.centers = nn.Parameter(torch.empty(config.centers, dim).normal_(std=0.125))

    def video_tokens(
        self, features: Tensor, mask: Tensor, positions: Tensor | None, difference: TemporalDifference
    ) -> tuple[Tensor, Tensor]:
        """What of a video is aggregated: its frames [B, F, D], and their mask [B, F]."""
        return features, mask

    def aggregate(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens [B, J, D], mask [B, J] -> aligned vector [B, D], unit norm."""
        share = torch.softmax(tokens @ self.weight_centers.T, dim=-1) * mask[..., None]  # [B, J, K]
        # sum_j share_jk (t_j - C_k) without the [B, J, K, D] intermediate
        u = share.transpose(1, 2) @ tokens - share.sum(dim=1)[..., None] * self.centers  # [B, K, D]
        u = u / u.norm(dim=-1, keepdim=True)  # [B, K, D]
        return F.normalize(u.mean(dim=1), dim=-1)  # [B, D]


class ClipAlignment(TemporalAlignment):
    """With n clips, every other frame, among the tokens of a video: what a block of ``blocks`` makes of them."""

    def __init__(self, config: ModelConfig, blocks: type[FrameBlocks]) -> None:
        super().__init__(config)
        self.clip_transformer = blocks(config, 1)

    def video_tokens(
        self, features: Tensor, mask: Tensor, positions: Tensor | None, difference: TemporalDifference
    ) -> tuple[Tensor, Tensor]:
        """[B, F+n, D] and [B, F+n]."""
        assert positions is not None
        clips, clip_mask = features[:, 0::2], mask[:, 0::2]  # [B, n, D], [B, n]
        seen = self.clip_transformer.over(clips, clip_mask, positions[: clips.shape[1]], difference)  # [B, n, D]
        return torch.cat([features, seen + clips], dim=1), torch.cat([mask, clip_mask], dim=1)
