"""CLIP2Video: two towers, CLIP's or SigLIP's, temporal blocks, and one vector per video and per caption.

Shapes, here and in the other modules of this package:
    B videos   F frames   R pixels a side   T captions   L words   V videos scored
    D embedding (512 in the paper)   K centres   n = ceil(F/2) clips

A caption t and a video v score  w s.g + (1-w) s'.l  where g, l are the video's global and aligned
vectors and s, s' the caption's. Neither side reads the other, so a video is one vector
[g ; l]/sqrt(2) and a caption is one vector sqrt(2) [w s ; (1-w) s'], whose dot product is that score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.model.clip import ImageTower, TextTower
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.layers import key_mask
from clip2video_plugin.model.siglip import SiglipImageTower, SiglipTextTower
from clip2video_plugin.model.temporal import TemporalAlignment, TemporalDifference, temporal_transformer


@dataclass(frozen=True)
class VideoEmbedding:
    """Vectors of B videos, float32; ``global_vector`` and ``aligned_vector`` [B, D] have unit norm.

    ``frame_vectors`` [B, F, D]: unit vectors of the valid frames, zeros for padding; their masked
    mean, normalised, is ``global_vector``.
    """

    global_vector: Tensor
    aligned_vector: Tensor | None
    frame_vectors: Tensor

    @property
    def vector(self) -> Tensor:
        """The stored vector, unit norm: [B, 2D] with alignment block, else [B, D]."""
        if self.aligned_vector is None:
            return self.global_vector
        return torch.cat([self.global_vector, self.aligned_vector], dim=-1) * math.sqrt(0.5)

    def cpu(self) -> VideoEmbedding:
        """The same on the CPU."""
        aligned = None if self.aligned_vector is None else self.aligned_vector.cpu()
        return VideoEmbedding(self.global_vector.cpu(), aligned, self.frame_vectors.cpu())


@dataclass(frozen=True)
class TextEmbedding:
    """Vectors of T captions, float32; ``global_vector`` and ``aligned_vector`` [T, D] have unit norm."""

    global_vector: Tensor
    aligned_vector: Tensor | None
    weight: float

    @property
    def vector(self) -> Tensor:
        """The query vector at the model's own w: [T, 2D] with alignment block, else [T, D]."""
        return self.at_weight(self.weight)

    def at_weight(self, weight: float) -> Tensor:
        """The query vector at another w in [0, 1], the weight of the global part."""
        if not 0.0 <= weight <= 1.0:
            raise Clip2VideoError(f"weight is {weight}; it must lie in [0, 1]")
        if self.aligned_vector is None:
            return self.global_vector
        return torch.cat([weight * self.global_vector, (1 - weight) * self.aligned_vector], dim=-1) * math.sqrt(2)


class Clip2Video(nn.Module):
    """The network of arXiv 2106.11097, in all its variants (see ModelConfig)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        siglip = config.towers == "siglip"
        self.image = SiglipImageTower(config) if siglip else ImageTower(config)
        self.text = SiglipTextTower(config) if siglip else TextTower(config)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if siglip:  # of its sigmoid; a softmax over captions or videos does not feel it, so it is not trained
            self.logit_bias = nn.Parameter(torch.tensor(-10.0), requires_grad=False)
        if config.temporal != "mean":
            self.frame_positions = nn.Embedding(config.context_length, config.embed_dim)
            self.temporal = temporal_transformer(config, config.temporal_layers)
            nn.init.normal_(self.frame_positions.weight, std=0.02)
        if config.temporal == "difference":
            self.difference = TemporalDifference(config)
        if config.alignment != "none":
            self.alignment = TemporalAlignment(config)

    @property
    def text_only(self) -> bool:
        """Whether it makes vectors of sentences alone."""
        return self._modules["image"] is None

    def leave_out_video(self) -> None:
        """Keeps what makes vectors of sentences, and no more."""
        for name in ("image", "frame_positions", "temporal", "difference"):
            self.register_module(name, None)
        if self.config.alignment != "none":
            self.alignment.register_module("clip_transformer", None)

    # Video side

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 [..., R, R, 3] -> float32 [..., 3, R, R], the mean and deviation of its configuration taken out."""
        mean, std = (
            torch.tensor(value, device=pixels.device)[:, None, None]
            for value in (self.config.image_mean, self.config.image_std)
        )
        return (pixels.movedim(-1, -3).float() / 255 - mean) / std

    def encode_video(self, frames: Tensor, frame_mask: Tensor) -> VideoEmbedding:
        """Embeds B videos.

        Args:
            frames: [B, F, 3, R, R] float, ``normalised``. Frames outside the mask are taken as exact zeros, whatever
                they hold.
            frame_mask: [B, F], 1 for a frame, 0 for padding; at least one frame per video.

        Raises:
            Clip2VideoError: a shape does not fit the network, or a video has no frame.
        """
        features = self.frame_features(frames, frame_mask)  # [B, F, D]
        return self.embed_features(features, frame_mask)

    def frame_vectors(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """[B, F, D]: the vectors whose masked mean, normalised, is the global vector of ``encode_video``."""
        features = self.frame_features(frames, frame_mask)
        return self._frame_vectors(features, frame_mask.float())

    def frame_features(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """CLIP's feature of every frame, [B, F, D], not normalised; padding is encoded once, as a zero image.

        A ``frame_mask`` on the CPU spares a GPU's frames a wait: what is in it decides what is encoded.
        """
        self._check_video()
        side = self.config.image_size
        if frames.ndim != 5 or tuple(frames.shape[2:]) != (3, side, side):
            raise Clip2VideoError(f"frames have shape {tuple(frames.shape)}; expected [B, F, 3, {side}, {side}]")
        if frame_mask.shape != frames.shape[:2]:
            raise Clip2VideoError(f"frame_mask has shape {tuple(frame_mask.shape)}; expected {tuple(frames.shape[:2])}")
        valid = frame_mask.bool()
        if not bool(valid.any(dim=1).all()):
            empty = (~valid.any(dim=1)).nonzero().flatten().tolist()
            raise Clip2VideoError(f"videos {empty} of the batch have no valid frame")
        padded = not bool(valid.all())
        images = frames[valid] if padded else frames.flatten(0, 1)  # [M, 3, R, R], M valid frames
        if padded:
            images = torch.cat([images, images.new_zeros(1, 3, side, side)])  # [M+1, 3, R, R]
        features: Tensor = self.image(images)  # [M(+1), D]
        if not padded:
            return features.view(*frames.shape[:2], -1)  # [B, F, D]
        # Row of each frame in `features`: its rank among the valid ones, or the padding row M.
        rows = torch.where(valid, valid.flatten().cumsum(0).view_as(valid) - 1, len(features) - 1)  # [B, F]
        return features[rows]  # [B, F, D]

    def embed_features(self, features: Tensor, frame_mask: Tensor) -> VideoEmbedding:
        """Everything after the image tower: features [B, F, D], frame_mask [B, F]."""
        self._check_video()
        mask = frame_mask.float()
        vectors = self._frame_vectors(features, mask)  # [B, F, D]
        # The reference divides by the number of frames before normalising; a scale that cancels.
        global_vector = F.normalize(vectors.sum(dim=1), dim=-1)  # [B, D]
        aligned = self._aligned_video(features, mask) if self.config.alignment != "none" else None
        return VideoEmbedding(global_vector, aligned, vectors)

    def _check_video(self) -> None:
        if self.text_only:
            raise Clip2VideoError(
                "this model was loaded for sentences alone; load it wholly (text_only=False) for videos"
            )

    def _frame_vectors(self, features: Tensor, mask: Tensor) -> Tensor:
        x = features  # [B, F, D]
        if self.config.temporal == "transformer":
            x = self.temporal(x + self._positions(x), bias=key_mask(mask)) + features  # [B, F, D]
        elif self.config.temporal == "difference":
            tokens, token_mask = self.difference(x, mask, self._positions(x))  # [B, 2F-1, D], [B, 2F-1]
            x = self.temporal(tokens, bias=key_mask(token_mask))[:, 0::2] + features  # [B, F, D]
        return F.normalize(x, dim=-1) * mask[..., None]  # [B, F, D]

    def _aligned_video(self, features: Tensor, mask: Tensor) -> Tensor:
        tokens, token_mask = features, mask  # [B, F, D], [B, F]
        if self.config.alignment in ("clips", "difference"):
            clips, clip_mask = features[:, 0::2], mask[:, 0::2]  # [B, n, D], [B, n]
            if self.config.alignment == "difference":
                x, x_mask = self.difference(clips, clip_mask, self._positions(clips))  # [B, 2n-1, D]
                x = self.alignment.clip_transformer(x, bias=key_mask(x_mask))[:, 0::2]  # [B, n, D]
            else:
                x = self.alignment.clip_transformer(clips + self._positions(clips), bias=key_mask(clip_mask))
            tokens = torch.cat([features, x + clips], dim=1)  # [B, F+n, D]
            token_mask = torch.cat([mask, clip_mask], dim=1)  # [B, F+n]
        return self.alignment.aggregate(tokens, token_mask)  # [B, D]

    def _positions(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.config.context_length:
            raise Clip2VideoError(f"{x.shape[1]} frames; this network has {self.config.context_length} frame positions")
        return self.frame_positions.weight[: x.shape[1]]  # [n, D]

    # Text side

    def encode_text(self, token_ids: Tensor, token_mask: Tensor) -> TextEmbedding:
        """Embeds T captions: token_ids [T, L] and token_mask [T, L] as ``tokenize`` makes them."""
        if (
            token_ids.ndim != 2
            or token_ids.shape != token_mask.shape
            or token_ids.shape[1] > self.config.context_length
            or (self.config.towers == "siglip" and token_ids.shape[1] != self.config.context_length)
        ):
            length = "" if self.config.towers == "siglip" else "at most "
            raise Clip2VideoError(
                f"token_ids have shape {tuple(token_ids.shape)} and token_mask {tuple(token_mask.shape)}; "
                f"expected both [T, L] with L {length}{self.config.context_length}"
            )
        sentence, tokens = self.text(token_ids)  # [T, D], [T, L, D]
        aligned = None
        if self.config.alignment != "none":
            mask = token_mask.float().clone()
            if self.config.towers == "clip":
                mask[:, 0] = 0  # the start token is left out, the end token is not
            aligned = self.alignment.aggregate(tokens, mask)  # [T, D]
        return TextEmbedding(F.normalize(sentence, dim=-1), aligned, self.config.center_weight)

    # Score

    def similarity(self, text: TextEmbedding, video: VideoEmbedding) -> Tensor:
        """The reference's inference logits [T, V]: exp(logit_scale) times the fused cosine, plus SigLIP's bias."""
        logits = self.logit_scale.exp() * (text.vector @ video.vector.T)
        return logits + self.logit_bias if self.config.towers == "siglip" else logits


def skeleton(config: ModelConfig) -> Clip2Video:
    """The network of a configuration without numbers: names and shapes, on the meta device."""
    with torch.device("meta"), _Uninitialised():
        return Clip2Video(config)


class _Uninitialised(TorchFunctionMode):
    """Leaves out first weights that are replaced at once; on the meta device they import torch's compiler, a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init" or func is Tensor.normal_:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
