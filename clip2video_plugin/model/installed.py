"""Which checkpoints there are: the embedded one, and the imported ones in the models folder."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.paths import expanded

EMBEDDED = "shapes"
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


def embedded_folder() -> Path:
    """Where the checkpoint that ships with the package lies."""
    return Path(str(files("clip2video_plugin.model").joinpath("embedded")))


def models_folder() -> Path:
    """Where imported checkpoints live: $C2V_MODELS, else ~/.cache/clip2video/models."""
    return Path(os.environ.get("C2V_MODELS") or Path.home() / ".cache" / "clip2video" / "models").expanduser()


def find_checkpoint(model: str | Path | None = None) -> tuple[str, Path]:
    """Name and folder of a checkpoint, by name or by path; the embedded one without argument.

    Raises:
        CheckpointError: there is none of that name; the message lists those there are.
    """
    known = installed_checkpoints()
    if model is None:
        return EMBEDDED, known[EMBEDDED]
    if str(model) in known:
        return str(model), known[str(model)]
    folder = expanded(model)
    if os.path.isfile(folder / CONFIG):
        return folder.resolve().name, folder
    if os.path.isfile(folder):
        raise CheckpointError(f"{model} is a file; a checkpoint is a folder. Convert it: c2v models import {model}")
    raise CheckpointError(f"no model {str(model)!r}; there are {', '.join(known)}, or name a checkpoint folder")


def installed_checkpoints() -> dict[str, Path]:
    """Name -> folder of the embedded checkpoint and of the imported ones."""
    found = {EMBEDDED: embedded_folder()}
    folder = models_folder()
    if folder.is_dir():
        shown = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]  # not what a killed import left
        found |= {path.name: path for path in shown if (path / CONFIG).is_file()}
    return found
