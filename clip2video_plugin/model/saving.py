"""Writing checkpoints: folders of config.json, model.safetensors and tokenizer.json."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.card import ABOUT, Card
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.frozen import FrozenBlock
from clip2video_plugin.model.identity import remember
from clip2video_plugin.model.installed import CONFIG, TOKENIZER, WEIGHTS
from clip2video_plugin.model.network import Clip2Video, skeleton
from clip2video_plugin.model.replacing import replacing
from clip2video_plugin.paths import expanded

DTYPES = {torch.float32: ("F32", "<f4"), torch.float16: ("F16", "<f2")}  # names in the file, and in NumPy
CHUNK = 1 << 15  # numbers: so few that torch starts no threads, which wait for each other on a busy machine

Shape = tuple[int, ...]


def save_checkpoint(
    folder: str | Path, network: Clip2Video, tokenizer: Tokenizer, *, half: bool = False, card: Card | None = None
) -> str:
    """Writes a checkpoint folder as a whole or not at all; ``half`` stores float16. Replaces an older one.

    ``card`` is what it says of itself. Returns the SHA-256 of model.safetensors.

    Raises:
        CheckpointError: an argument is something else, the network is of fewer bits or has weights that are not finite,
            something else is in its place, or it cannot be written; what was there is kept.
    """
    for name, given, kind in (("network", network, Clip2Video), ("tokenizer", tokenizer, Tokenizer)):
        if not isinstance(given, kind):
            raise CheckpointError(
                f"{name} is a {type(given).__name__}, not a {kind.__name__}; "
                "call save_checkpoint(FOLDER, model.network, model.tokenizer)"
            )
    if network.text_only:
        raise CheckpointError("this model was loaded for sentences alone; load it wholly (text_only=False) to save it")
    if any(isinstance(block, FrozenBlock) for block in network.image.transformer.resblocks):
        raise CheckpointError(
            "a network of fewer bits is for running only; load it with precision 'float32' to save it"
        )
    state = network.state_dict()
    tensors = {key: lambda key=key: state[key] for key in state}
    return write_checkpoint(expanded(folder), network.config, tensors, tokenizer, half=half, card=card)


def write_checkpoint(
    folder: Path,
    config: ModelConfig,
    tensors: Mapping[str, Callable[[], Tensor]],
    tokenizer: Tokenizer,
    *,
    half: bool = False,
    card: Card | None = None,
) -> str:
    """``save_checkpoint`` of a network that is made while it is written, one tensor in memory at a time.

    Args:
        tensors: for every key of the network of ``config``, a function that makes its tensor, of any floating type.

    Raises:
        CheckpointError: as ``save_checkpoint``; also for keys that are missing or unexpected, and for tensors of
            another shape.
    """
    shapes = {key: tuple(value.shape) for key, value in skeleton(config).state_dict().items()}
    problems = [f"missing {key} {list(shape)}" for key, shape in shapes.items() if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in shapes]
    if problems:
        raise CheckpointError(f"{len(problems)} keys do not fit the network: " + "; ".join(problems))
    values = config.to_dict() | ({ABOUT: card.to_dict()} if card else {})
    try:
        if folder.exists() and not (folder / CONFIG).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
            raise CheckpointError(f"{folder} is no checkpoint, and is not replaced by one; choose another name")
        with replacing(folder) as new:
            (new / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            (new / TOKENIZER).write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
            sha256 = write_safetensors(new / WEIGHTS, shapes, tensors, torch.float16 if half else torch.float32)
            remember(new, sha256)
        return sha256
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {first_line(error)}; what was there is kept") from None


def write_safetensors(
    path: Path, shapes: Mapping[str, Shape], tensors: Mapping[str, Callable[[], Tensor]], dtype: torch.dtype
) -> str:
    """Writes tensors in the safetensors form, byte for byte as that library would; its own writer needs all at once.

    The form: the header's length (8 bytes, little endian), the header (JSON, padded by spaces to a multiple of 8),
    the numbers. Returns the SHA-256 of the file.

    Raises:
        CheckpointError: a tensor is of another shape, or has numbers that are not finite in ``dtype``.
        OSError: the file cannot be written.
    """
    header: dict[str, object] = {}
    end = 0
    for key in sorted(shapes):
        begin, end = end, end + torch.Size(shapes[key]).numel() * dtype.itemsize
        header[key] = {"dtype": DTYPES[dtype][0], "shape": shapes[key], "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("xb") as file:

        def put(part: bytes | memoryview) -> None:
            digest.update(part)
            file.write(part)

        put(struct.pack("<Q", len(text)))
        put(text)
        for key in header:
            _put_numbers(put, key, tensors[key](), shapes[key], dtype)
    return digest.hexdigest()


def _put_numbers(put: Callable[[memoryview], None], key: str, tensor: Tensor, shape: Shape, dtype: torch.dtype) -> None:
    """A function of its own, so that nothing of a tensor is kept while the next one is made."""
    if tuple(tensor.shape) != shape:
        raise CheckpointError(f"misshapen {key}: {list(tensor.shape)}, expected {list(shape)}")
    flat = tensor.detach().reshape(-1)
    for start in range(0, len(flat), CHUNK):
        chunk = flat[start : start + CHUNK].cpu().to(dtype).contiguous().numpy()
        if not np.isfinite(chunk).all():
            raise CheckpointError(
                f"{key} has numbers that are not finite{' as float16' if dtype == torch.float16 else ''}; "
                "every vector would be without meaning"
            )
        put(chunk.astype(DTYPES[dtype][1], copy=False).view(np.uint8).data)
