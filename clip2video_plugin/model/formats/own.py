"""Our own checkpoint folders, as they were trained or imported elsewhere."""

from __future__ import annotations

from dataclasses import replace

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.card import ABOUT, Card
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.formats.clip import OPTIONS, kept_options
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.parts import Part, fitted
from clip2video_plugin.model.tokenizer import load_tokenizer
from clip2video_plugin.model.weights import Weights


def _recognises(weights: Weights) -> bool:
    return {"embed_dim", "vision_width", "text_width", "max_frames"} <= set(weights.config)


def _convert(weights: Weights, given: Given) -> Converted:
    if given.heads or given.activation:
        raise CheckpointError(f"{weights.path}: its config.json says heads and activation; leave the options out")
    if weights.tokenizer is None:
        raise CheckpointError(f"{weights.path} has no tokenizer.json; import the whole checkpoint folder")
    config = ModelConfig.from_dict({key: value for key, value in weights.config.items() if key != ABOUT})
    config = replace(config, **kept_options(weights, given, (*OPTIONS, "center_weight")))
    try:
        tokenizer = load_tokenizer(weights.tokenizer.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{weights.tokenizer} cannot be read: {first_line(error)}") from None
    if tokenizer.get_vocab_size() != config.vocab_size:
        raise CheckpointError(
            f"{weights.tokenizer} has {tokenizer.get_vocab_size()} tokens, the network {config.vocab_size}; they do "
            "not belong together"
        )
    return Converted(
        config=config,
        tensors=fitted(weights.tensors, lambda key: Part((key,)), config),
        tokenizer=tokenizer,
        card=Card.from_dict(weights.config.get(ABOUT, {})),
    )


OWN = Format("a checkpoint of this package", _recognises, _convert)
