"""SigLIP's two towers, of its first and second version (arXiv 2303.15343, 2502.14786).

Shapes: N images, R pixels a side, P patches, T captions, L words, W tower width, D embedding (the image tower's width).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clip2video_plugin.model.clip import text_transformer, vision_transformer
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.layers import MLP, Attention


class SiglipImageTower(nn.Module):
    """Vision transformer without class token, pooled by attention: one D-vector per image, not normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, patches = config.vision_width, (config.image_size // config.patch_size) ** 2
        self.conv1 = nn.Conv2d(3, width, config.patch_size, stride=config.patch_size)
        self.positional_embedding = nn.Parameter(torch.empty(patches, width).normal_(std=width**-0.5))
        self.transformer = vision_transformer(config)
        self.ln_post = nn.LayerNorm(width, eps=config.norm_eps)
        self.head = AttentionPooling(config)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images.to(self.conv1.weight.dtype))  # [N, 3, R, R] -> [N, W, R/patch, R/patch]
        x = x.flatten(2).transpose(1, 2) + self.positional_embedding  # [N, P, W]
        features: Tensor = self.head(self.ln_post(self.transformer(x)))  # [N, D]
        return features.float()


class AttentionPooling(nn.Module):
    """One learned query over the patches: y = attention(probe, x); y + mlp(ln y)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.vision_width
        self.probe = nn.Parameter(torch.empty(1, 1, width).normal_(std=width**-0.5))
        self.attn = Attention(width, config.vision_heads)
        self.ln = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = MLP(width, config.vision_mlp_width or 4 * width, config.activation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.attn.pool(self.probe, x)  # [N, P, W] -> [N, W]
        out: Tensor = y + self.mlp(self.ln(y))  # [N, W]
        return out


class SiglipTextTower(nn.Module):
    """Transformer without mask: token features and, at the last position of the padded caption, the sentence's.

    Padding is seen by every token, as in SigLIP's training; a caption is always padded to all positions.
    """

    ALL_POSITIONS = True  # see ``TextTower``

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.text_width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width).normal_(std=0.01))
        self.transformer = text_transformer(config)
        self.ln_final = nn.LayerNorm(width, eps=config.norm_eps)
        self.head = nn.Linear(width, config.embed_dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.token_embedding(token_ids) + self.positional_embedding  # [T, L, W]
        tokens = self.head(self.ln_final(self.transformer(x))).float()  # [T, L, D]
        return tokens[:, -1], tokens

    def words(self, mask: Tensor) -> Tensor:
        """Which tokens [T, L] the alignment block sees: all of the mask's, since there is no start token."""
        return mask.float()
