"""Optimisers, their parameter groups, and the schedule (docs/explanation/network.md#training-recipe)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from clip2video_plugin.model import Clip2Video
from clip2video_plugin.model.reference import reference_key
from clip2video_plugin.training.config import TrainConfig


def freeze(network: Clip2Video, layers: int) -> None:
    """Freezes what ``freeze_layers`` says: -1 nothing, 0 the towers' inputs, n their first n blocks as well."""
    if layers < 0:
        return
    for key, parameter in network.named_parameters():
        if not key.startswith(("image.", "text.")):
            continue
        if "resblocks." in key:
            frozen = int(key.split("resblocks.")[1].split(".")[0]) < layers
        else:
            output = any(part in key for part in ("ln_post", "ln_final", ".head."))
            frozen = not output and not key.endswith(("proj", "text_projection"))
        if frozen:
            parameter.requires_grad_(False)


def make_optimiser(network: Clip2Video, config: TrainConfig) -> Optimizer:
    """The optimiser over the trained parameters, in groups by learning rate and decay."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        tower = key.startswith(("image.", "text.", "logit_scale"))
        rate = config.learning_rate * (config.clip_coefficient if tower else 1.0)
        decay = config.weight_decay if _decays(key, parameter, config) else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    listed = [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
    make: Callable[..., Optimizer] = AdamW if config.optimiser == "adamw" else ReferenceAdam
    return make(listed, lr=config.learning_rate, betas=config.betas, eps=config.eps)


def _decays(key: str, parameter: Tensor, config: TrainConfig) -> bool:
    if config.optimiser == "adamw":
        return parameter.ndim >= 2
    # By name alone: CLIP's ln_1.weight and the like decay as well.
    name = reference_key(key)
    return not any(part in name for part in ("bias", "LayerNorm.weight"))


def make_schedule(optimiser: Optimizer, config: TrainConfig, steps: int) -> LambdaLR:
    """Linear warm-up from 0, then cosine of the share of the whole run (so 0 at its end)."""

    def factor(step: int) -> float:
        share = step / steps
        if share < config.warmup:
            return share / config.warmup
        return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    return LambdaLR(optimiser, factor)


class ReferenceAdam(Optimizer):
    """CLIP4Clip's Adam: decoupled decay, no bias correction, each parameter's gradient clipped to norm 1."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                torch.nn.utils.clip_grad_norm_(parameter, 1.0)
                gradient = parameter.grad
                state["mean"].lerp_(gradient, 1 - first)
                state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
                update = state["mean"] / (state["square"].sqrt() + group["eps"])
                parameter.sub_(group["lr"] * (update + group["weight_decay"] * parameter))
