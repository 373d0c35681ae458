"""The one transformer block that every part of the network is made of.

Shapes: B batch, N tokens, C channels, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clip2video_plugin.model.config import Activation

# The reference masks with -1e6, not -inf: a row whose keys are all masked then stays finite and
# near uniform (docs/explanation/network.md#masks-and-padding), which happens for one-frame videos.
MASKED = -1e6


def key_mask(mask: Tensor) -> Tensor:
    """mask [B, N] (1 keep, 0 hide) -> additive attention bias [B, 1, 1, N], per video, for all heads and queries."""
    return ((1.0 - mask.float()) * MASKED)[:, None, None, :]


QUICK = 1.702  # the slope within quick_gelu


def quick_gelu(z: Tensor) -> Tensor:
    """z sigmoid(1.702 z), written by PyTorch's silu(z) = z sigmoid(z); so training keeps one tensor, not two."""
    return F.silu(QUICK * z) / QUICK


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


class MLP(nn.Module):
    """c_proj(act(c_fc x)); act is one of ``ModelConfig.activation``."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.act = ACTIVATIONS[activation]
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(self.act(self.c_fc(x)))  # [B, N, C] -> [B, N, 4C] -> [B, N, C]
        return out


class Attention(nn.Module):
    """Multi-head attention with packed projections (parameter names of nn.MultiheadAttention)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)

    def forward(self, x: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Tensor:
        b, n, c = x.shape
        qkv = self.project(x).view(b, n, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x [B, H, N, C/H]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal)  # [B, H, N, C/H]
        out: Tensor = self.out_proj(y.transpose(1, 2).reshape(b, n, c))  # [B, N, C]
        return out

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values side by side: [B, N, 3C]."""
        return F.linear(x, self.in_proj_weight, self.in_proj_bias)

    def pool(self, query: Tensor, x: Tensor) -> Tensor:
        """One query for all, [1, 1, C], over x [B, N, C] -> [B, C]."""
        b, n, c = x.shape
        weight, bias = self.in_proj_weight, self.in_proj_bias
        q = F.linear(query, weight[:c], bias[:c]).view(1, self.heads, 1, c // self.heads).expand(b, -1, -1, -1)
        kv = F.linear(x, weight[c:], bias[c:])  # [B, N, 2C]
        k, v = kv.view(b, n, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)  # 2 x [B, H, N, C/H]
        y = F.scaled_dot_product_attention(q, k, v)  # [B, H, 1, C/H]
        out: Tensor = self.out_proj(y.reshape(b, c))  # [B, C]
        return out


class ResidualBlock(nn.Module):
    """x += attention(ln_1 x); x += mlp(ln_2 x)."""

    def __init__(
        self, width: int, heads: int, *, eps: float, activation: Activation, mlp_width: int | None = None
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, mlp_width or 4 * width, activation)

    def forward(self, x: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Tensor:
        x = x + self.attn(self.ln_1(x), bias=bias, causal=causal)  # [B, N, C]
        out: Tensor = x + self.mlp(self.ln_2(x))  # [B, N, C]
        return out


class Transformer(nn.Module):
    """A stack of residual blocks. ``eps`` is 1e-5 in the CLIP towers and 1e-12 in the temporal modules."""

    def __init__(
        self, width: int, layers: int, heads: int, *, eps: float, activation: Activation, mlp_width: int | None = None
    ) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(
            ResidualBlock(width, heads, eps=eps, activation=activation, mlp_width=mlp_width) for _ in range(layers)
        )
        self.recompute = False  # in training: keep only the blocks' inputs, compute the rest again going back

    def forward(self, x: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Tensor:
        for block in self.resblocks:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, bias=bias, causal=causal, use_reentrant=False)
            else:
                x = block(x, bias=bias, causal=causal)
        return x  # [B, N, C]
