"""The one reader of foreign weight files; it executes nothing."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.torchscript import is_torchscript, read_torchscript

CLIP_EXTRAS = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI stores beside the weights


@dataclass(frozen=True)
class Weights:
    """A weight file, or a folder of them, as data.

    Attributes:
        path: the file or folder that was asked for.
        tensors: by name, wrappers and prefixes peeled off. Mapped from the file where its form allows it, so that
            one costs memory when it is read and not before.
        config: config.json or open_clip_config.json beside the weights; empty where there is none.
        preprocessor: preprocessor_config.json beside them; empty where there is none.
        tokenizer: tokenizer.json beside them.
        container: the form of the file.
        dropped: what was peeled off, in words.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None
    container: Literal["torch", "torchscript", "safetensors"] = "torch"
    dropped: tuple[str, ...] = ()


def read_weights(path: Path) -> Weights:
    """Reads a weight file. No code in it is run.

    Raises:
        CheckpointError: it is missing, damaged, or holds more than tensors.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"no file {path}")
    try:
        if is_torchscript(path):
            state: Any = read_torchscript(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path} is refused: it holds more than tensors, and loading it could run code") from None
    except Exception as error:  # a file that no writer made can fail in any way
        raise CheckpointError(f"{path} is no weight file, or damaged: {first_line(error)}") from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict of tensors")
    for key, value in state.items():
        if not value.is_floating_point() and key not in CLIP_EXTRAS:
            raise CheckpointError(f"{path}: {key} holds {value.dtype}; weights are floating numbers")
    return Weights(path, {str(key): value for key, value in state.items()})
