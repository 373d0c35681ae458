"""Checkpoints in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import CheckpointError, QueryError, first_line
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.config import ADDED, ModelConfig
from clip2video_plugin.model.frozen import freeze
from clip2video_plugin.model.identity import identity, seal
from clip2video_plugin.model.installed import (
    EMBEDDED,
    TOKENIZER,
    WEIGHTS,
    embedded_folder,
    find_checkpoint,
    installed_checkpoints,
    models_folder,
)
from clip2video_plugin.model.network import Clip2Video, TextEmbedding, VideoEmbedding, skeleton
from clip2video_plugin.model.parts import check_keys
from clip2video_plugin.model.reading import Files, Source, StoredWeights, opened, read_config, read_text
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.model.tokenizer import load_tokenizer, tokenize

__all__ = [  # some of these are defined in other modules
    "EMBEDDED",
    "PRECISIONS",
    "Description",
    "Model",
    "Precision",
    "best_device",
    "describe_checkpoint",
    "find_checkpoint",
    "installed_checkpoints",
    "load_model",
    "models_folder",
    "pays_in_bfloat16",
    "save_checkpoint",
]
Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""That of an image tower; ``auto`` is bfloat16 where it is measured more than twice as fast, else float32."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
QUERY_FIELDS = ("center_weight", "max_words", "max_frames")  # a query's own, and what Provenance counts by itself


@dataclass(frozen=True)
class Model:
    """A checkpoint in memory, ready to embed: network, tokenizer, and what tells it from others.

    ``sha256`` is that of model.safetensors, ``vocabulary`` stands for the tokenizer. Vectors of two models compare
    only when both are equal, and what of the configuration makes vectors (``makes_vectors``). ``folder`` is where
    it was loaded from, absolute; None of a network that was never saved. ``card`` is what it says of itself,
    ``precision`` that of its image tower: float32, bfloat16 or int8.
    Of a model for sentences alone (``load_model(text_only=True)``) ``network.image`` is None.
    """

    name: str
    sha256: str
    network: Clip2Video
    tokenizer: Tokenizer
    device: torch.device
    folder: Path | None = None
    vocabulary: str = ""
    precision: Precision = "float32"
    card: Card = field(default_factory=Card)
    source: Source | None = field(default=None, repr=False, compare=False)  # where weights lie that stay in the file
    loaded: tuple[object, ...] = field(default=(), repr=False, compare=False)  # ``seal`` of the network then

    def __repr__(self) -> str:
        side, network = self.config.image_size, f"{self.config.max_frames} frames of {self.config.image_size}"
        return f"Model({self.name!r}, {network}x{side}, {self.precision} on {self.device}, SHA-256 {self.sha256[:12]})"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "loaded": ()}  # a copy's numbers lie elsewhere in memory

    def makes_vectors(self) -> dict[str, object]:
        """What makes its vectors beside the weights and the number of frames.

        Raises:
            CheckpointError: its weights or configuration were changed in memory, so that ``sha256`` is not theirs.
        """
        if self.loaded and self.loaded != seal(self.network):
            raise CheckpointError(
                f"the network of model {self.name!r} was changed after it was loaded; "
                "save it (save_checkpoint) and load that"
            )
        config = self.config.to_dict()
        known = {"vocabulary": self.vocabulary} if self.vocabulary else {}
        usual = {f.name: f.default for f in fields(ModelConfig) if f.name in ADDED}
        config = {key: value for key, value in config.items() if key not in usual or value != usual[key]}
        return {key: config[key] for key in config if key not in QUERY_FIELDS} | known

    @property
    def config(self) -> ModelConfig:
        return self.network.config

    @property
    def warning(self) -> str | None:
        """What to know before its ranking is trusted, in one line: the embedded weights have seen no real video, and
        those of another may be no more than a start. What else it says of itself is ``card.sentence``.
        """
        if self.sha256 == _embedded_sha256():
            return (
                f"model {self.name} knows generated shapes only; for real videos: c2v models fetch clip-vit-b32 "
                "--default (c2v models list names others)"
            )
        if self.card.training == "untrained":
            return (
                f"the temporal parts of model {self.name} are not trained; fine-tune it (c2v finetune) before its "
                "ranking means anything"
            )
        return None

    def encode_frames(self, videos: Sequence[NDArray[np.uint8]]) -> VideoEmbedding:
        """Embeds videos given as uint8 frames [n, R, R, 3], 1 <= n <= F each; float32 on the CPU."""
        return self.start_encoding(videos).cpu()

    @torch.inference_mode()
    def start_encoding(self, videos: Sequence[NDArray[np.uint8]]) -> VideoEmbedding:
        """``encode_frames`` that leaves the vectors on the device, and does not wait for a GPU to make them."""
        f, side, gpu = self.config.max_frames, self.config.image_size, self.device.type == "cuda"
        # Copies from pinned memory go on beside the CPU; bytes are copied, a quarter of what float32 would be.
        pixels = torch.zeros(len(videos), f, side, side, 3, dtype=torch.uint8, pin_memory=gpu)  # [B, F, R, R, 3]
        mask = torch.zeros(len(videos), f)  # [B, F]
        for row, frames in enumerate(videos):
            pixels[row, : len(frames)] = torch.from_numpy(np.ascontiguousarray(frames))
            mask[row, : len(frames)] = 1
        images = self.network.normalised(pixels.to(self.device, non_blocking=gpu))  # [B, F, 3, R, R]
        features = self.network.frame_features(images, mask)  # [B, F, D]
        return self.network.embed_features(features, mask.to(self.device))

    @torch.inference_mode()
    def image_features(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """CLIP's features [n, D] of uint8 frames [n, R, R, 3], on the device: what ``embed_picks`` makes videos of."""
        images = self.network.normalised(torch.from_numpy(np.ascontiguousarray(frames)).to(self.device))
        return self.network.frame_features(images[None], torch.ones(1, len(frames)))[0]

    @torch.inference_mode()
    def embed_picks(self, features: torch.Tensor, picks: NDArray[np.int64]) -> VideoEmbedding:
        """Embeds videos, or windows of one, of frames that were encoded before; float32 on the CPU.

        Args:
            features: [n, D], from ``image_features``.
            picks: [W, F], the rows of ``features`` of each in order of time; -1 is none and comes last.
        """
        chosen = torch.from_numpy(picks)
        mask = (chosen >= 0).float()
        # A place without a frame is the feature of the zero image, as everywhere (``frame_features``).
        if bool((chosen < 0).any()):
            side = self.config.image_size
            padding = self.network.image(torch.zeros(1, 3, side, side, device=self.device))
            features = torch.cat([features, padding.to(features.dtype)])
            chosen = torch.where(chosen < 0, len(features) - 1, chosen)
        rows = features[chosen.to(self.device)]  # [W, F, D]
        return self.network.embed_features(rows, mask.to(self.device)).cpu()

    @torch.inference_mode()
    def encode_captions(self, captions: Sequence[str]) -> TextEmbedding:
        """Embeds sentences; float32 on the CPU.

        Raises:
            QueryError: one is without any words.
            CheckpointError: the weights stay in a file (``text_only``) that was written to since.
        """
        for caption in captions:
            if not isinstance(caption, str) or not caption.strip():
                raise QueryError(f"the query {caption!r} is empty; describe what happens in the video")
        if self.source and self.source.overwritten():
            raise CheckpointError(
                f"{self.source.path} was written to after model {self.name!r} was loaded; load it again"
            )
        ids, mask = tokenize(captions, self.tokenizer, self.config.max_words)
        if len(captions) and self.config.towers == "clip":  # no word sees those after it; SigLIP's see the padding
            longest = int(mask.sum(dim=1).max())
            ids, mask = ids[:, :longest], mask[:, :longest]
        out = self.network.encode_text(ids.to(self.device), mask.to(self.device))
        aligned = None if out.aligned_vector is None else out.aligned_vector.cpu()
        return TextEmbedding(out.global_vector.cpu(), aligned, out.weight)


@lru_cache(maxsize=1)
def _embedded_sha256() -> str:
    return hashlib.sha256((embedded_folder() / WEIGHTS).read_bytes()).hexdigest()


def load_model(
    model: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    precision: Precision = "auto",
    text_only: bool = False,
) -> Model:
    """Loads a checkpoint by name or folder; by default the default one (``default_model``).

    A checkpoint that is replaced while it is read (``save_checkpoint`` and imports replace folders) is the old one or
    the new one, and whole. One whose model.safetensors is overwritten in place while it is read is refused.

    Args:
        model: name of an installed checkpoint, or its folder.
        device: "cpu", "cuda", "mps" ...; by default the best there is.
        precision: of the image tower: "float32"; "bfloat16"; "auto" for bfloat16 where it is measured more than
            twice as fast (benchmarks/encode.py; cosine to float32 .9999 at the median of generated videos, .9998 or
            more for each); or "int8" on a CPU (.9999, and .9997 or more; .9993 without VNNI), at a cost in accuracy
            that ``c2v bench`` prints for your videos. All else is float32. Only the network of "float32" can be
            trained and saved.
        text_only: load what sentences need and no more. On a CPU their weights stay in the file, which is read as
            they are used. It may be replaced meanwhile, but not written into: ``encode_captions`` refuses then.

    Raises:
        CheckpointError: the checkpoint is missing, incomplete, or does not fit its configuration, or the device
            cannot do what is asked.
    """
    check_choice("precision", precision, Precision, CheckpointError)
    name, folder = find_checkpoint(model)
    folder = folder.absolute()
    with opened(folder) as files:
        source = Source.of(folder / WEIGHTS, files[WEIGHTS])
        config, card = read_config(folder, files)
        weights, network = _stored(folder, files, config)
        if text_only:
            network.leave_out_video()
        tensor = weights.mapped if text_only else weights.read
        network.load_state_dict({key: tensor(key) for key in network.state_dict()}, assign=True)
        tokenizer = load_tokenizer(read_text(folder, files, TOKENIZER))
        if tokenizer.get_vocab_size() != config.vocab_size:
            raise CheckpointError(
                f"{folder}: tokenizer has {tokenizer.get_vocab_size()} tokens, the network {config.vocab_size}"
            )
        sha256, vocabulary = identity(folder, files[WEIGHTS], files[TOKENIZER])
        if source.overwritten():
            raise CheckpointError(f"{source.path} was written to while it was read; try again")
    try:
        place = torch.device(device) if device is not None else best_device()
        network = network.to(place).eval()
        if precision == "int8" and place.type != "cpu":
            raise CheckpointError(f"precision int8 is for the CPU; on {place} use auto")
        if precision == "auto":
            precision = "bfloat16" if pays_in_bfloat16(place) else "float32"
        if precision != "float32" and not text_only:
            freeze(network.image, precision)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"device {str(device)!r} cannot be used here: {first_line(error)}") from None
    mapped = source if text_only and place.type == "cpu" else None
    return Model(name, sha256, network, tokenizer, place, folder, vocabulary, precision, card, mapped, seal(network))


@dataclass(frozen=True)
class Description:
    """What a checkpoint is, without its weights in memory. ``parameters`` are counted."""

    name: str
    folder: Path
    config: ModelConfig
    card: Card
    parameters: int

    @cached_property
    def sha256(self) -> str:
        """Of model.safetensors, which is read when this is asked for and not remembered."""
        with opened(self.folder) as files:
            return identity(self.folder, files[WEIGHTS], files[TOKENIZER])[0]


def describe_checkpoint(model: str | Path | None = None) -> Description:
    """What ``load_model`` would load, from config.json and the weights' names and shapes.

    Raises:
        CheckpointError: as ``load_model``; tokenizer.json and the numbers are not looked at.
    """
    name, folder = find_checkpoint(model)
    folder = folder.absolute()
    with opened(folder) as files:
        config, card = read_config(folder, files)
        weights, _ = _stored(folder, files, config)
    return Description(name, folder, config, card, sum(prod(entry.shape) for entry in weights.entries.values()))


def _stored(folder: Path, files: Files, config: ModelConfig) -> tuple[StoredWeights, Clip2Video]:
    """A checkpoint's weights, and the network that they are the weights of, without numbers."""
    weights, network = StoredWeights(folder / WEIGHTS, files[WEIGHTS]), skeleton(config)
    check_keys(weights.entries, {key: tuple(value.shape) for key, value in network.state_dict().items()})
    return weights, network


def best_device() -> torch.device:
    """CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pays_in_bfloat16(device: torch.device) -> bool:
    """Whether the image tower is clearly faster in bfloat16: GPUs and CPUs with instructions for it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.10
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16"))
