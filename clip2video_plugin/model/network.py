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
from clip2video_plugin.model.siglip import SiglipImageTower, SiglipTextTower
from clip2video_plugin.model.temporal import FrameBlocks, TemporalAlignment, TemporalDifference
from clip2video_plugin.model.variants import build_parts


@dataclass(frozen=True)
class VideoEmbedding:
    """Vectors of B videos, float32; ``global_vector`` and ``aligned_vector`` [B, D] have unit norm.

    ``frame_vectors`` [B, F, D]: unit vectors of the valid frames, zeros for padding; their masked
    mean, normalised, is ``global_vector``.
    """

    global_vector: Tensor
    aligned_vector: Tensor | None
    frame_vectors: Tensor

    def __repr__(self) -> str:
        return f"VideoEmbedding(vector {list(self.vector.shape)}, frame_vectors {list(self.frame_vectors.shape)})"

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

    def __repr__(self) -> str:
        return f"TextEmbedding(vector {list(self.vector.shape)}, weight {self.weight:g})"

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
    """The network of arXiv 2106.11097, in all its variants: ``build_parts`` of a ModelConfig.

    A part that the variant lacks is None.
    """

    image: ImageTower | SiglipImageTower
    text: TextTower | SiglipTextTower
    logit_bias: nn.Parameter
    frame_positions: nn.Embedding
    temporal: FrameBlocks
    difference: TemporalDifference
    alignment: TemporalAlignment

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_parameter("logit_bias", None)
        for name in ("image", "text", "frame_positions", "temporal", "difference", "alignment"):
            self.register_module(name, None)
        for name, part in build_parts(config).items():
            setattr(self, name, part)

    @property
    def text_only(self) -> bool:
        """Whether it makes vectors of sentences alone."""
        return self._modules["image"] is None

    def leave_out_video(self) -> None:
        """Keeps what makes vectors of sentences, and no more."""
        for name in ("image", "frame_positions", "temporal", "difference"):
            self.register_module(name, None)
        if self.alignment is not None:
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

        Keep ``frame_mask`` on the CPU: its values choose the frames to encode, and reading them from a GPU waits.
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
        aligned = None
        if self.alignment is not None:
            tokens = self.alignment.video_tokens(features, mask, self._positions(features), self.difference)
            aligned = self.alignment.aggregate(*tokens)  # [B, D]
        return VideoEmbedding(global_vector, aligned, vectors)

    def _check_video(self) -> None:
        if self.text_only:
            raise Clip2VideoError(
                "this model was loaded for sentences alone; load it wholly (text_only=False) for videos"
            )

    def _frame_vectors(self, features: Tensor, mask: Tensor) -> Tensor:
        x = features  # [B, F, D]
        if (positions := self._positions(x)) is not None:
            x = self.temporal.over(x, mask, positions, self.difference) + features  # [B, F, D]
        return F.normalize(x, dim=-1) * mask[..., None]  # [B, F, D]

    def _positions(self, x: Tensor) -> Tensor | None:
        if self.frame_positions is None:
            return None
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
            or (self.text.ALL_POSITIONS and token_ids.shape[1] != self.config.context_length)
        ):
            length = "" if self.text.ALL_POSITIONS else "at most "
            raise Clip2VideoError(
                f"token_ids have shape {tuple(token_ids.shape)} and token_mask {tuple(token_mask.shape)}; "
                f"expected both [T, L] with L {length}{self.config.context_length}"
            )
        sentence, tokens = self.text(token_ids)  # [T, D], [T, L, D]
        aligned = None
        if self.alignment is not None:
            aligned = self.alignment.aggregate(tokens, self.text.words(token_mask))  # [T, D]
        return TextEmbedding(F.normalize(sentence, dim=-1), aligned, self.config.center_weight)

    # Score

    def similarity(self, text: TextEmbedding, video: VideoEmbedding) -> Tensor:
        """The reference's inference logits [T, V]: exp(logit_scale) times the fused cosine, plus SigLIP's bias."""
        logits = self.logit_scale.exp() * (text.vector @ video.vector.T)
        return logits if self.logit_bias is None else logits + self.logit_bias


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
