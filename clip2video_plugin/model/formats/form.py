"""What a format is, and what comes out of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from clip2video_plugin.model.card import Card
from clip2video_plugin.model.config import Activation, ModelConfig
from clip2video_plugin.model.weights import Weights


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the user, or a published name, says beside the file.

    Attributes:
        heads: of the image tower, and of the text tower where a second number is there.
        activation: of the towers.
        options: of the released CLIP2Video code (``max_frames``, ``max_words``, ``center_weight``, ``center_proj``).
    """

    heads: tuple[int, ...] | None = None
    activation: Activation | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A network in our names, tensor by tensor.

    ``tensors`` holds, for every key of the network of ``config``, a function that makes the tensor when it is written.
    ``dropped`` names, in words, what of the file has no place in it.
    """

    config: ModelConfig
    tensors: Mapping[str, Callable[[], Tensor]]
    tokenizer: Tokenizer
    card: Card
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """``recognises`` looks at names and configuration; ``convert`` raises CheckpointError for what does not fit."""

    name: str
    recognises: Callable[[Weights], bool]
    convert: Callable[[Weights, Given], Converted]
