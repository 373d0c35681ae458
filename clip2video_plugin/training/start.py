"""The network that a run starts from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice

import torch
from tokenizers import Tokenizer

from clip2video_plugin.errors import CheckpointError, TrainingError
from clip2video_plugin.model import Clip2Video, ModelConfig, load_model
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.installed import find_checkpoint, read_card
from clip2video_plugin.model.network import skeleton
from clip2video_plugin.model.start import Readers, text_fits, with_temporal_parts
from clip2video_plugin.model.tokenizer import train_tokenizer
from clip2video_plugin.training.config import TrainConfig
from clip2video_plugin.training.videos import CaptionedVideo

TOKENIZER_VIDEOS = 10_000  # whose captions a new vocabulary is learned from
TEMPORAL_FIELDS = ("temporal", "difference", "temporal_layers", "temporal_heads", "alignment", "centers")


def start(config: TrainConfig, videos: Sequence[CaptionedVideo]) -> tuple[Clip2Video, Tokenizer]:
    """Network in float32 on the CPU, and its tokenizer.

    With ``model``, its weights wherever ``network`` leaves them their shape, and for temporal parts that it lacks
    those of its text tower (``with_temporal_parts``) where that fits; what is left is drawn by the seed. Without,
    everything is drawn, and the vocabulary is learned from the training captions.

    Raises:
        TrainingError: neither ``model`` nor a complete ``network`` is given, or they do not fit together.
    """
    torch.manual_seed(config.seed)
    try:
        if config.model:
            return _from_checkpoint(config)
        if not config.network:
            raise TrainingError("name a model to start from, or all sizes of a new one under [network]")
        tokenizer = train_tokenizer(
            (text for video in islice(videos, TOKENIZER_VIDEOS) for text in (*video.captions, *video.reverse_captions)),
            int(config.network.get("vocab_size", 0)) or 49408,
        )
        sizes = ModelConfig.from_dict({**config.network, "vocab_size": tokenizer.get_vocab_size()})
        network = Clip2Video(sizes)
    except CheckpointError as error:
        raise TrainingError(f"[network] {error}") from None
    _draw_positions(network, config)
    return network, tokenizer


def card_of(config: TrainConfig, trained_on: str) -> Card:
    """What the trained checkpoint says of itself: its videos, after those of the one that it started from."""
    if not config.model:
        return Card(training="trained", trained_on=trained_on)
    name, folder = find_checkpoint(config.model)
    before = read_card(folder)
    if before.training == "trained" and before.trained_on:
        trained_on = f"{before.trained_on}, then {trained_on}"
    return Card(training="trained", trained_on=trained_on, source=before.source or name, licence=before.licence)


def _from_checkpoint(config: TrainConfig) -> tuple[Clip2Video, Tokenizer]:
    model = load_model(config.model, device="cpu", precision="float32")
    sizes, weights = model.config, model.network.state_dict()
    parts = {name: value for name, value in config.network.items() if name in TEMPORAL_FIELDS}
    asked = skeleton(ModelConfig.from_dict(sizes.to_dict() | parts)).state_dict()
    if text_fits(sizes) and _parts(asked) - _parts(weights):
        readers: Readers = {key: partial(weights.__getitem__, key) for key in weights}
        parts = {"temporal": sizes.temporal, "alignment": sizes.alignment, **parts}
        sizes, readers = with_temporal_parts(sizes, readers, seed=config.seed, **parts)
        weights = {key: read() for key, read in readers.items()}
    network = Clip2Video(ModelConfig.from_dict(sizes.to_dict() | config.network))
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    fitting = {key: value for key, value in weights.items() if key in shapes and value.shape == shapes[key]}
    if len(fitting) < len(weights) and not config.network:
        raise TrainingError(f"{config.model}: weights do not fit the network")
    if "frame_positions.weight" not in fitting:
        _draw_positions(network, config)
    network.load_state_dict(fitting, strict=False)
    return network, model.tokenizer


def _parts(keys: Iterable[str]) -> set[str]:
    """Names of parameters; of a block, its name alone."""
    return {key.partition(".resblocks.")[0] for key in keys}


def _draw_positions(network: Clip2Video, config: TrainConfig) -> None:
    if network.config.temporal != "mean":
        torch.nn.init.normal_(network.frame_positions.weight, std=config.frame_position_std)
