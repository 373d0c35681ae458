"""The image tower's blocks for running only: constants folded into the weights, sums in place, 8 bits on request."""

from __future__ import annotations

import warnings
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip2video_plugin.model.clip import ImageTower
from clip2video_plugin.model.layers import MLP, QUICK, Attention, ResidualBlock, quick_gelu
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


class FrozenBlock(ResidualBlock):
    """A ``ResidualBlock`` whose matrices are for running only, and whose sums are taken in place."""

    def __init__(self, block: ResidualBlock, linear: Linear) -> None:
        nn.Module.__init__(self)
        self.ln_1, self.ln_2 = block.ln_1, block.ln_2
        self.attn, self.mlp = FrozenAttention(block.attn, linear), FrozenMLP(block.mlp, linear)

    def forward(self, x: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Tensor:
        x = self.attn(self.ln_1(x), bias=bias, causal=causal).add_(x)  # [B, N, C]
        out: Tensor = self.mlp(self.ln_2(x)).add_(x)  # [B, N, C]
        return out


class FrozenAttention(Attention):
    def __init__(self, attention: Attention, linear: Linear) -> None:
        nn.Module.__init__(self)
        self.heads = attention.heads
        self.in_proj = linear(attention.in_proj_weight, attention.in_proj_bias)
        self.add_module("out_proj", linear(attention.out_proj.weight, attention.out_proj.bias))

    def project(self, x: Tensor) -> Tensor:
        out: Tensor = self.in_proj(x)  # [B, N, 3C]
        return out


class FrozenMLP(MLP):
    """Of quick_gelu(z) = silu(1.702 z) / 1.702 both factors lie in the weights, so that it is one pass over memory."""

    def __init__(self, mlp: MLP, linear: Linear) -> None:
        nn.Module.__init__(self)
        quick = mlp.act is quick_gelu
        slope = QUICK if quick else 1.0
        self.act = partial(F.silu, inplace=True) if quick else mlp.act
        self.add_module("c_fc", linear(slope * mlp.c_fc.weight, slope * mlp.c_fc.bias))
        self.add_module("c_proj", linear(mlp.c_proj.weight / slope, mlp.c_proj.bias))


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
    """y = x W' + b, float32 outside. Each row of W has a scale of its own, the activations one per call.

    A weight has eight bits; seven on a processor without VNNI, where sums of two products of eight would saturate.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        weight = weight.detach().float()
        largest = 127 if torch.cpu._is_vnni_supported() else 63
        scale = weight.abs().amax(dim=1).clamp(min=1e-12).double() / largest  # [out]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch will replace its 8-bit tensors some day
            rows = torch.quantize_per_channel(weight, scale, torch.zeros_like(scale, dtype=torch.long), 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(rows, bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.quantized.linear_dynamic(x, self.packed)
        return out


Linear = type[FrozenLinear] | type[Int8Linear]
