"""Which checkpoints there are: the embedded one, the imported ones in the models folder; and which is the default."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

from clip2video_plugin.alone import alone_in
from clip2video_plugin.errors import CheckpointError, Clip2VideoError
from clip2video_plugin.model.card import ABOUT, Card
from clip2video_plugin.paths import expanded

EMBEDDED = "shapes"
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
VARIABLE, COMMAND = "C2V_MODEL", "c2v models use"  # what sets the default
CHOSEN = ".default"  # in the models folder, the name that COMMAND was given
LONGEST = 255  # bytes of a file's name


def embedded_folder() -> Path:
    """Where the checkpoint that ships with the package lies."""
    return Path(str(files("clip2video_plugin.model").joinpath("embedded")))


def models_folder() -> Path:
    """Where imported checkpoints live: $C2V_MODELS, else ~/.cache/clip2video/models."""
    return Path(os.environ.get("C2V_MODELS") or Path.home() / ".cache" / "clip2video" / "models").expanduser()


def find_checkpoint(model: str | Path | None = None) -> tuple[str, Path]:
    """Name and folder of a checkpoint, by name or by path; of the default one (``default_model``) without argument.

    Raises:
        CheckpointError: there is none of that name; the message lists those there are. Or the default was set to one
            that is not there any more.
    """
    if model is None:
        return _find_default()
    known = installed_checkpoints()
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
        found |= {path.name: path for path in shown if path.name not in found and (path / CONFIG).is_file()}
    return found


def lasting_name(name: str, folder: Path) -> str:
    """How any process finds a checkpoint again: its name where it is installed, else its absolute folder."""
    installed = installed_checkpoints().get(name)
    return name if installed and installed.absolute() == folder.absolute() else str(folder.absolute())


def read_card(folder: Path) -> Card:
    """What a checkpoint says of itself; an empty card where that cannot be read."""
    try:
        return Card.from_dict(json.loads((folder / CONFIG).read_bytes()).get(ABOUT, {}))
    except (OSError, ValueError, RecursionError, AttributeError, Clip2VideoError):
        return Card()


# The default


def default_model() -> str:
    """Name or folder of the model that is used where none is named: $C2V_MODEL, else the one that ``use_by_default``
    was given last, else the embedded one.

    Raises:
        CheckpointError: what was set cannot be read. Whether it is there, ``find_checkpoint()`` says.
    """
    chosen = chosen_default()
    return chosen[0] if chosen else EMBEDDED


def chosen_default() -> tuple[str, str] | None:
    """The default that somebody set, and by what (VARIABLE or COMMAND); None where nobody did."""
    if model := os.environ.get(VARIABLE):
        return model, VARIABLE
    try:
        with (models_folder() / CHOSEN).open("rb") as file:
            return os.fsdecode(file.read(LONGEST + 1).removesuffix(b"\n")), COMMAND
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(
            f"the default model cannot be read from {models_folder() / CHOSEN}: {error.strerror}; remove that, and "
            f"choose again: {COMMAND} NAME"
        ) from None


def is_default(folder: Path) -> bool:
    """Whether the checkpoint in a folder is the default one."""
    try:
        return find_checkpoint()[1].absolute() == folder.absolute()
    except CheckpointError:
        return False


def use_by_default(name: str) -> None:
    """Makes an installed model the default of all processes with this models folder, unless $C2V_MODEL is set.

    Raises:
        CheckpointError: it is not installed, or this cannot be written down.
    """
    known = installed_checkpoints()
    if name not in known:
        raise CheckpointError(
            f"no installed model {str(name)!r}; there are {', '.join(known)}. "
            f"(A checkpoint folder elsewhere is named by {VARIABLE} or --model)"
        )
    file = models_folder() / CHOSEN
    new = file.with_name(f"{CHOSEN}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(file.parent):  # of several processes the last is right
            try:
                with new.open("wb") as written:
                    written.write(os.fsencode(name) + b"\n")
                    written.flush()
                    os.fsync(written.fileno())
                new.replace(file)
            finally:
                new.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be written: {error.strerror}; the default is as it was") from None


def _find_default() -> tuple[str, Path]:
    chosen = chosen_default()
    if chosen is None:
        return EMBEDDED, embedded_folder()
    model, by = chosen
    if by == VARIABLE:
        try:
            return find_checkpoint(model)
        except CheckpointError as error:
            raise CheckpointError(
                f"the default model, set by {by}: {error}. Set {by} to another, or unset it"
            ) from None
    known = installed_checkpoints()  # alone: a folder here may be called so, too
    if model not in known:
        raise CheckpointError(
            f"the default model {model!r}, set by {by}, is not installed any more; there are {', '.join(known)}. "
            f"Choose another: {COMMAND} NAME"
        )
    return model, known[model]
