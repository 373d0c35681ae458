"""CLIP's two towers (docs/explanation/network.md#towers).

Shapes: N images, R pixels a side, P patches, W tower width, T captions, L words, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.layers import Transformer


def vision_transformer(config: ModelConfig) -> Transformer:
    """The blocks of an image tower."""
    return Transformer(
        config.vision_width,
        config.vision_layers,
        config.vision_heads,
        eps=config.norm_eps,
        activation=config.activation,
        mlp_width=config.vision_mlp_width,
    )


def text_transformer(config: ModelConfig) -> Transformer:
    """The blocks of a text tower."""
    return Transformer(
        config.text_width,
        config.text_layers,
        config.text_heads,
        eps=config.norm_eps,
        activation=config.activation,
        mlp_width=config.text_mlp_width,
    )


class ImageTower(nn.Module):
    """Vision transformer: one D-vector per image, not normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, patches = config.vision_width, (config.image_size // config.patch_size) ** 2
        self.conv1 = nn.Conv2d(3, width, config.patch_size, stride=config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width).normal_(std=width**-0.5))
        self.positional_embedding = nn.Parameter(torch.empty(patches + 1, width).normal_(std=width**-0.5))
        self.ln_pre = nn.LayerNorm(width, eps=config.norm_eps)
        self.transformer = vision_transformer(config)
        self.ln_post = nn.LayerNorm(width, eps=config.norm_eps)
        self.proj = nn.Parameter(torch.empty(width, config.embed_dim).normal_(std=width**-0.5))

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images.to(self.proj.dtype))  # [N, 3, R, R] -> [N, W, R/patch, R/patch]
        x = x.flatten(2).transpose(1, 2)  # [N, P, W]
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], dim=1)  # [N, 1+P, W]
        x = self.transformer(self.ln_pre(x + self.positional_embedding))  # [N, 1+P, W]
        features: Tensor = self.ln_post(x[:, 0]) @ self.proj  # [N, D]
        return features.float()


class TextTower(nn.Module):
    """Causal transformer: token features and, at the end-of-text token, the sentence feature."""

    ALL_POSITIONS = False  # whether a caption must be padded to the whole context

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.text_width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width).normal_(std=0.01))
        self.transformer = text_transformer(config)
        self.ln_final = nn.LayerNorm(width, eps=config.norm_eps)
        self.text_projection = nn.Parameter(torch.empty(width, config.embed_dim).normal_(std=width**-0.5))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.token_embedding(token_ids) + self.positional_embedding[: token_ids.shape[1]]  # [T, L, W]
        x = self.ln_final(self.transformer(x, causal=True))  # [T, L, W]
        tokens = (x @ self.text_projection).float()  # [T, L, D]
        # The end-of-text token has the largest id; argmax takes the first of several.
        sentence = tokens[torch.arange(tokens.shape[0], device=tokens.device), token_ids.argmax(dim=-1)]  # [T, D]
        return sentence, tokens

    def words(self, mask: Tensor) -> Tensor:
        """Which tokens [T, L] the alignment block sees: of the mask's all but the start token; the end token counts."""
        words = mask.float().clone()
        words[:, 0] = 0
        return words
