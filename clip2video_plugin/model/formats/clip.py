"""What the formats of a plain CLIP share: it becomes mean pooling over frames, CLIP4Clip's zero-shot form."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.formats.form import Converted, Given
from clip2video_plugin.model.formats.said import Said, settled
from clip2video_plugin.model.formats.words import clip_words
from clip2video_plugin.model.parts import Layout, fitted, tower_sizes
from clip2video_plugin.model.weights import CLIP_EXTRAS, Weights

OPTIONS = ("max_frames", "max_words")  # of every format
MEAN: dict[str, Any] = {"temporal": "mean", "alignment": "none"}


def plain_clip(
    weights: Weights,
    layout: Layout,
    said: Said | None,
    given: Given,
    *,
    unused: Collection[str] = (),
    codes_words: bool = False,
) -> Converted:
    """A CLIP whose vectors of frames are averaged. A sentence may be as long as CLIP's own.

    Args:
        unused: names that may be there and have no place here.
        codes_words: as ``codes`` of ``clip_words``.
    """
    sizes = tower_sizes(weights.tensors, layout)
    known = settled(weights.path, sizes, said, given)
    words = {"max_words": sizes["context_length"], "temporal_heads": temporal_heads(sizes["embed_dim"])}
    config = ModelConfig(**(MEAN | sizes | known | words | kept_options(weights, given)))
    tensors = fitted(weights.tensors, layout, config, unused=unused)
    left = tuple(name for name in unused if name in weights.tensors and name not in CLIP_EXTRAS)
    card = Card(training="zero-shot", source=weights.path.name)
    tokenizer = clip_words(weights, config.vocab_size, codes=codes_words)
    return Converted(config=config, tensors=tensors, tokenizer=tokenizer, card=card, dropped=left)


def temporal_heads(width: int) -> int:
    """Of blocks that this network does not have; a number that divides the width."""
    return width // 64 if width % 64 == 0 else 1


def kept_options(weights: Weights, given: Given, allowed: Collection[str] = OPTIONS) -> dict[str, Any]:
    """The options that are given. Raises CheckpointError for one that does not apply."""
    if wrong := [name for name in given.options if name not in allowed]:
        raise CheckpointError(
            f"{weights.path}: {', '.join(wrong)} does not apply to it; allowed are {', '.join(allowed)}"
        )
    return dict(given.options)
