"""Our own checkpoint folders, as they were trained or imported elsewhere."""

from __future__ import annotations

from dataclasses import replace

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.card import ABOUT, Card
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.formats.clip import OPTIONS, kept_options
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.formats.words import checkpoint_words
from clip2video_plugin.model.parts import Part, fitted
from clip2video_plugin.model.weights import Weights


def _recognises(weights: Weights) -> bool:
    return {"embed_dim", "vision_width", "text_width", "max_frames"} <= set(weights.config)


def _convert(weights: Weights, given: Given) -> Converted:
    if given.heads or given.activation:
        raise CheckpointError(f"{weights.path}: its config.json says heads and activation; leave the options out")
    config = ModelConfig.from_dict({key: value for key, value in weights.config.items() if key != ABOUT})
    config = replace(config, **kept_options(weights, given, (*OPTIONS, "center_weight")))
    tokenizer = checkpoint_words(weights, config.vocab_size)
    return Converted(
        config=config,
        tensors=fitted(weights.tensors, lambda key: Part((key,)), config),
        tokenizer=tokenizer,
        card=Card.from_dict(weights.config.get(ABOUT, {})),
    )


OWN = Format("a checkpoint of this package", _recognises, _convert)
