"""The one reader of foreign weight files; it executes nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.containers import Container, read_container
from clip2video_plugin.model.mapped import give_back
from clip2video_plugin.model.peeling import CLIP_EXTRAS, peel

__all__ = ["CLIP_EXTRAS", "Weights", "read_weights"]
INDEX = ".index.json"
CHOICE = (  # of several in a folder the first that is there
    *("model.safetensors", "model.safetensors" + INDEX, "open_clip_model.safetensors"),
    *("pytorch_model.bin", "pytorch_model.bin" + INDEX, "open_clip_pytorch_model.bin"),
)
WEIGHT_FILE = re.compile(r"[^.].*\.(pt|pth|ckpt|safetensors|bin(\.\d+)?)")
SHARD = re.compile(r"(.+)-\d{5}-of-(?!00001)\d{5}(\.(?:safetensors|bin))")
CONFIGS = ("config.json", "open_clip_config.json")
LARGEST_JSON = 64 << 20  # bytes


@dataclass(frozen=True)
class Weights:
    """A weight file, or a folder of them, as data.

    Attributes:
        path: the file or folder that was asked for.
        tensors: by name, wrappers and prefixes peeled off. Mapped from the file where its form allows it, so that
            one costs memory when it is read and not before. Not to be written into.
        config: config.json or open_clip_config.json beside the weights; empty where there is none.
        preprocessor: preprocessor_config.json beside them, or what stands in its place in processor_config.json, where
            transformers writes it since version 5; empty where there is none.
        tokenizer: tokenizer.json beside them.
        container: the form of the file.
        dropped: names of what was left out: what trainers keep beside the weights, and counts.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None
    container: Container = "torch"
    dropped: tuple[str, ...] = ()

    def give_back(self) -> None:
        """Frees the memory of what has been read of the mapped tensors; they can be read again."""
        give_back(self.tensors.values())


def read_weights(path: Path) -> Weights:
    """Reads a weight file, a folder of weights, or the index of a sharded one. No code in it is run.

    Of a folder that holds several, safetensors go before torch files and Hugging Face's names before open_clip's.
    What lies beside a lone file (configuration, tokenizer) counts as its own where the file has one of the names of
    ``CHOICE``, or is the only weight file there.

    Raises:
        CheckpointError: it is missing, damaged, or holds more than tensors; or a folder does not say which file.
    """
    is_folder = os.path.isdir(path)
    file = _chosen(path) if is_folder else path
    if file.name.endswith(INDEX):
        state, container = _shards(file)
    else:
        _whole(file)
        state, container = read_container(file)
    tensors, dropped = peel(path, state)
    weights = Weights(path, tensors, container=container, dropped=dropped)
    if file.name not in CHOICE and not _is_alone(file):
        return weights
    tokenizer = file.with_name("tokenizer.json")
    return replace(
        weights,
        config=_configuration(file, strict=is_folder),
        preprocessor=_preprocessor(file, strict=is_folder),
        tokenizer=tokenizer if tokenizer.is_file() else None,
    )


def _weight_files(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if WEIGHT_FILE.fullmatch(name))


def _is_alone(file: Path) -> bool:
    try:
        return _weight_files(file.parent) == [file.name]
    except OSError:  # a folder may be closed to those who may read a file in it
        return False


def _chosen(folder: Path) -> Path:
    for name in CHOICE:
        if os.path.lexists(folder / name):
            return folder / name
    try:
        names = _weight_files(folder)
    except OSError as error:
        raise CheckpointError(f"folder {folder} cannot be read: {error.strerror}") from None
    if len(names) == 1:
        return folder / names[0]
    if not names:
        raise CheckpointError(f"folder {folder} holds no weight file; expected {', '.join(CHOICE)} or one other")
    if found := SHARD.fullmatch(names[0]):
        raise CheckpointError(f"folder {folder} holds parts of a whole, but no {found[1]}{found[2]}{INDEX}")
    raise CheckpointError(f"folder {folder} holds {', '.join(names)}; name the one that is meant")


def _whole(file: Path) -> None:
    """Refuses one of several shards by itself."""
    if found := SHARD.fullmatch(file.name):
        raise CheckpointError(f"{file} is a part of several; name the folder, or {found[1]}{found[2]}{INDEX}")


def _shards(index: Path) -> tuple[dict[str, Tensor], Container]:
    """The tensors of all files that an index names, which hold what it says and nothing else."""
    places = _json(index, strict=True).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{index} is no index of weights: it has no weight_map of names to files")
    names = sorted(set(places.values()))
    for name in names:
        if not name.isprintable() or not re.fullmatch(r"[^/\\]*[^/\\.][^/\\]*", name):
            raise CheckpointError(f"{index} is refused: it names {name!r}, which is not in its folder")
    if missing := [name for name in names if not os.path.lexists(index.with_name(name))]:
        raise CheckpointError(f"{index} names files that are missing: {', '.join(missing)}")
    tensors: dict[str, Tensor] = {}
    container: Container = "torch"
    for name in names:
        state, container = read_container(index.with_name(name))
        expected = {key for key, place in places.items() if place == name}
        if not isinstance(state, Mapping) or (differ := sorted(map(str, expected.symmetric_difference(state)))):
            some = ", ".join(differ[:5]) if isinstance(state, Mapping) else type(state).__name__
            raise CheckpointError(f"{index} and {name} do not go together: only one of them has {some}")
        tensors |= state
    return tensors, container


def _configuration(file: Path, *, strict: bool) -> dict[str, Any]:
    """The configuration of weights beside a file: Hugging Face's, open_clip's or ours."""
    for name in sorted(CONFIGS, reverse=file.name.startswith("open_clip")):
        config = _json(file.with_name(name), strict=strict)
        if "model_type" in config or "model_cfg" in config or "vision_width" in config:
            return config
    return {}


def _preprocessor(file: Path, *, strict: bool) -> dict[str, Any]:
    """Of the two that may be there transformers takes the one of the whole processor."""
    whole = _json(file.with_name("processor_config.json"), strict=strict).get("image_processor")
    return whole if isinstance(whole, dict) else _json(file.with_name("preprocessor_config.json"), strict=strict)


def _json(path: Path, *, strict: bool) -> dict[str, Any]:
    """An object; nothing where there is none, or, unless ``strict``, where it cannot be read."""
    try:
        if not os.path.lexists(path):
            return {}
        if not path.is_file():
            raise ValueError("it is no file of bytes")
        with path.open("rb") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise ValueError(f"it is larger than {LARGEST_JSON >> 20} MB")
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}; expected an object")
    except (OSError, ValueError, RecursionError) as error:
        if strict:
            raise CheckpointError(f"{path} cannot be read: {first_line(error)}") from None
        return {}
    return value
