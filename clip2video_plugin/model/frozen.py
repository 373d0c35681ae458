"""The image tower's blocks for running only: constants folded into the weights, sums in place, 8 bits on request."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip2video_plugin.model.clip import ImageTower
from clip2video_plugin.model.layers import ResidualBlock, activate
from clip2video_plugin.model.siglip import SiglipImageTower


def freeze(tower: ImageTower | SiglipImageTower, precision: str) -> None:
    """Replaces the blocks of a tower that is neither trained nor saved from now on.

    Args:
        precision: "bfloat16" for the whole tower, or "int8" for its blocks' matrices, on a CPU.

    Raises:
        RuntimeError: this build of torch has no 8-bit kernels for its CPU.
    """
    linear = Int8Linear if precision == "int8" else FrozenLinear
    tower.transformer.resblocks = nn.ModuleList(FrozenBlock(block, linear) for block in tower.transformer.resblocks)  # type: ignore[arg-type]
    if precision == "bfloat16":
        tower.to(torch.bfloat16)


class FrozenBlock(nn.Module):
    """What a ``ResidualBlock`` computes, without gradients."""

    def __init__(self, block: ResidualBlock, linear: type[FrozenLinear | Int8Linear]) -> None:
        super().__init__()
        attention, mlp = block.attn, block.mlp
        self.heads, self.ln_1, self.ln_2 = attention.heads, block.ln_1, block.ln_2
        self.qkv = linear(attention.in_proj_weight, attention.in_proj_bias)
        self.out = linear(attention.out_proj.weight, attention.out_proj.bias)
        self.activation = mlp.activation
        self.fc = linear(mlp.slope * mlp.c_fc.weight, mlp.slope * mlp.c_fc.bias)
        self.proj = linear(mlp.c_proj.weight / mlp.slope, mlp.c_proj.bias)

    def forward(self, x: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal)  # [B, H, N, C/H]
        x = self.out(y.transpose(1, 2).reshape(b, n, c)).add_(x)  # [B, N, C]
        out: Tensor = self.proj(activate(self.fc(self.ln_2(x)), self.activation, inplace=True)).add_(x)  # [B, N, C]
        return out


class FrozenLinear(nn.Module):
    """y = x W' + b."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Int8Linear(nn.Module):
    """y = x W' + b, float32 outside. Each row of W has a scale of its own, the activations one per call."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        weight = weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12).double() / 127  # [out]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch will replace its 8-bit tensors some day
            rows = torch.quantize_per_channel(weight, scale, torch.zeros_like(scale, dtype=torch.long), 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(rows, bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.quantized.linear_dynamic(x, self.packed)
        return out
