"""Writing checkpoints: folders of config.json, model.safetensors and tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from tokenizers import Tokenizer

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.card import ABOUT, Card
from clip2video_plugin.model.frozen import FrozenBlock
from clip2video_plugin.model.installed import CONFIG, TOKENIZER, WEIGHTS
from clip2video_plugin.model.network import Clip2Video
from clip2video_plugin.model.replacing import replacing


def save_checkpoint(
    folder: Path, network: Clip2Video, tokenizer: Tokenizer, *, half: bool = False, card: Card | None = None
) -> None:
    """Writes a checkpoint folder as a whole or not at all; ``half`` stores float16. Replaces an older one.

    ``card`` is what it says of itself.

    Raises:
        CheckpointError: the network is of fewer bits, something else is in its place, or it cannot be written; what
            was there is kept.
    """
    if any(isinstance(block, FrozenBlock) for block in network.image.transformer.resblocks):
        raise CheckpointError(
            "a network of fewer bits is for running only; load it with precision 'float32' to save it"
        )
    dtype = torch.float16 if half else torch.float32
    weights = {key: value.detach().cpu().to(dtype).contiguous() for key, value in network.state_dict().items()}
    try:
        if folder.exists() and not (folder / CONFIG).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
            raise CheckpointError(f"{folder} is no checkpoint, and is not replaced by one; choose another name")
        with replacing(folder) as new:
            values = network.config.to_dict() | ({ABOUT: card.to_dict()} if card else {})
            (new / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            (new / TOKENIZER).write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
            safetensors.torch.save_file(weights, new / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be written: {first_line(error)}; what was there is kept") from None
