"""The contrastive loss of CLIP2Video (section 3.4 of the paper; docs/explanation/network.md#loss).

Shapes: N pairs of one caption and one video, D embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from clip2video_plugin.model import TextEmbedding, VideoEmbedding


class Loss(NamedTuple):
    loss: Tensor
    global_loss: Tensor
    aligned_loss: Tensor | None


def contrastive_loss(
    text: TextEmbedding,
    video: VideoEmbedding,
    *,
    logit_scale: Tensor,
    weight: float,
    same_video: Tensor | None = None,
) -> Loss:
    """weight x global InfoNCE + (1 - weight) x aligned InfoNCE, each the mean of both directions.

    Args:
        logit_scale: the factor on the cosines, already exponentiated.
        weight: w in [0, 1]; without alignment block the global part counts alone.
        same_video: [N] group number of each pair; pairs of one group are no negatives of each other.
    """
    apart = None
    if same_video is not None:
        apart = (same_video[:, None] == same_video[None, :]) & ~torch.eye(
            len(same_video), dtype=torch.bool, device=same_video.device
        )
    global_loss = _info_nce(logit_scale * text.global_vector @ video.global_vector.T, apart)
    if text.aligned_vector is None or video.aligned_vector is None:
        return Loss(global_loss, global_loss, None)
    aligned_loss = _info_nce(logit_scale * text.aligned_vector @ video.aligned_vector.T, apart)
    return Loss(weight * global_loss + (1 - weight) * aligned_loss, global_loss, aligned_loss)


def _info_nce(logits: Tensor, apart: Tensor | None) -> Tensor:
    """logits [N, N], matching pairs on the diagonal; ``apart`` [N, N] is left out."""
    if apart is not None:
        logits = logits.masked_fill(apart, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
