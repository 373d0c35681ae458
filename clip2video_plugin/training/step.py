"""One training step's forward pass: a batch of every process to the loss over all of them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clip2video_plugin.model import Clip2Video, TextEmbedding, VideoEmbedding
from clip2video_plugin.training.batches import Batch
from clip2video_plugin.training.distributed import gather
from clip2video_plugin.training.loss import Loss, contrastive_loss


class Step(nn.Module):
    """Embeds a batch and compares it with those of all other processes.

    Embeddings are gathered with their gradients, so that W processes with N pairs each have the loss and, after
    DistributedDataParallel's mean, the gradients of one process with W x N pairs.
    """

    def __init__(self, network: Clip2Video, *, mask_same_video: bool, autocast: torch.dtype | None) -> None:
        super().__init__()
        self.network = network
        self.mask_same_video, self.autocast = mask_same_video, autocast

    def forward(self, batch: Batch) -> tuple[Loss, Tensor]:
        """The loss, and the share of captions that find their own video among those of all processes."""
        network = self.network
        device = network.logit_scale.device
        with torch.autocast(device.type, dtype=self.autocast, enabled=self.autocast is not None):
            mask = batch.frame_mask.to(device, non_blocking=True)
            images = network.normalised(batch.pixels.to(device, non_blocking=True))
            features = network.frame_features(images, mask)
            back = batch.reversed_rows.to(device)
            if len(back):
                features = torch.cat([features, _reverse(features[back], mask[back])])
                mask = torch.cat([mask, mask[back]])
            video = network.embed_features(features.float(), mask)
            text = network.encode_text(batch.ids.to(device), batch.mask.to(device))
        meaning = batch.meaning.to(device)
        if dist.is_initialized() and dist.get_world_size() > 1:
            text, video, meaning = _everyones(text, video, meaning)
        loss = contrastive_loss(
            text,
            video,
            logit_scale=network.logit_scale.exp(),
            weight=network.config.center_weight,
            same_video=meaning if self.mask_same_video else None,
        )
        with torch.no_grad():
            found = (text.vector @ video.vector.T).argmax(dim=1)
            hits = found.eq(torch.arange(len(found), device=device)).float().mean()
        return loss, hits


def _reverse(features: Tensor, mask: Tensor) -> Tensor:
    """The valid frames of each video in reverse order, padding where it was: [N, F, D]."""
    count = mask.sum(dim=1, keepdim=True).long()  # [N, 1]
    place = torch.arange(mask.shape[1], device=mask.device)[None]  # [1, F]
    rows = torch.where(place < count, count - 1 - place, place)  # [N, F]
    return features.gather(1, rows[..., None].expand_as(features))


def _everyones(
    text: TextEmbedding, video: VideoEmbedding, meaning: Tensor
) -> tuple[TextEmbedding, VideoEmbedding, Tensor]:
    def aligned(x: Tensor | None) -> Tensor | None:
        return None if x is None else gather(x)

    return (
        TextEmbedding(gather(text.global_vector), aligned(text.aligned_vector), text.weight),
        VideoEmbedding(gather(video.global_vector), aligned(video.aligned_vector), video.frame_vectors),
        gather(meaning),
    )
