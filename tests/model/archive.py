"""A TorchScript archive of OpenAI's form, to be made with ``torch.jit``."""

import torch
from torch import nn


class Archive(nn.Module):
    """Parameters in a tree of their dotted names, as OpenAI's TorchScript archive has them."""

    def __init__(self, state):
        super().__init__()
        for key, value in state.items():
            module, *rest = self, *key.split(".")
            for part in rest[:-1]:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            module.register_buffer(rest[-1], value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def halved(state):
    """As OpenAI stores them: float16, but for whole numbers."""
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
