"""Trainers' files to the weights in them: wrappers, prefixes and what is no weight are peeled off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError

CLIP_EXTRAS = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI stores beside the weights
COUNTS = ("position_ids", "num_batches_tracked", "n_averaged")  # last names of whole numbers that are no weights
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "ema")  # the first that is there
PREFIXES = ("module.", "model.", "_orig_mod.")
COMPILED = "_orig_mod."  # in front of the name of any part that torch.compile was given
DEEPEST = 8
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def peel(path: Path, state: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by name, and the names of what was dropped.

    Raises:
        CheckpointError: there are no tensors, two have one name, or one is quantised, sparse or has no numbers.
    """
    state, dropped = _unwrapped(path, state)
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    dropped += [str(key) for key in state if key not in tensors]
    counts = [key for key in tensors if key.split(".")[-1] in COUNTS]
    tensors = {key: value for key, value in tensors.items() if key not in counts}
    dropped += sorted({key.split(".")[-1] for key in counts})
    if not tensors:
        raise CheckpointError(f"{path} holds no state dict of tensors{_holds(dropped)}")
    tensors = _shortened(path, tensors)
    for key, value in tensors.items():
        _check(path, key, value)
    return tensors, tuple(dropped)


def _unwrapped(path: Path, state: Any) -> tuple[Mapping[str, Any], list[str]]:
    dropped: list[str] = []
    for _ in range(DEEPEST):
        if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
            raise CheckpointError(f"{path} holds no state dict of tensors: it holds a {type(state).__name__}")
        if any("." in key and isinstance(value, Tensor) for key, value in state.items()):
            return state, dropped
        inner = [name for name in WRAPPERS if isinstance(state.get(name), Mapping) and state[name]]
        if not inner:
            return state, dropped
        dropped += [key for key in state if key != inner[0]]
        state = state[inner[0]]
    raise CheckpointError(f"{path} is refused: its weights are wrapped more than {DEEPEST} deep")


def _holds(names: list[str]) -> str:
    return f"; it holds {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else ""


def _shortened(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without prefixes that all names have, and without torch.compile's mark anywhere."""
    names = list(tensors)
    while shared := [p for p in PREFIXES if all(name.startswith(p) for name in names)]:
        names = [name.removeprefix(shared[0]) for name in names]
    found: dict[str, str] = {}
    for key, name in zip(tensors, names, strict=True):
        name = name.replace(COMPILED, "")
        if name in found:
            raise CheckpointError(f"{path}: {found[name]} and {key} are both {name}; which of them is meant?")
        found[name] = key
    return {name: tensors[key] for name, key in found.items()}


def _check(path: Path, key: str, value: Tensor) -> None:
    if value.is_quantized or (value.dtype not in FLOATS and key not in CLIP_EXTRAS):
        raise CheckpointError(
            f"{path}: {key} holds {value.dtype}; weights are floating numbers of 16 to 64 bits, not quantised ones"
        )
    plain = type(value) in (Tensor, torch.nn.Parameter) and value.layout == torch.strided and not value.is_nested
    if not plain or value.device.type != "cpu" or value.is_neg():
        raise CheckpointError(f"{path}: {key} is no plain tensor with numbers ({value.layout} on {value.device})")
    if math.prod(value.shape) * value.element_size() > value.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {key} of shape {list(value.shape)} has fewer numbers than that")
