"""Inputs that several operators ask for, and how they refuse."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.search import brain_keys
from clip2video_plugin.app.videos import holds_videos, videos_of
from clip2video_plugin.model.checkpoint import EMBEDDED, installed_checkpoints

URI = "@clip2video/clip2video"
PANEL = "video_search"


def refuse(inputs: types.Object, why: str) -> None:
    """Shows why the operator cannot run here, and keeps it from running."""
    inputs.view("refusal", types.Warning(label=why))
    inputs.str("refused", view=types.HiddenView(), required=True, invalid=True)


def refused(inputs: types.Object, ctx: foo.ExecutionContext, *, indexed: bool = False) -> bool:
    """Refuses where there are no videos, or no index where one is needed."""
    if ctx.dataset is None or not holds_videos(videos_of(ctx.dataset)):
        refuse(inputs, "This is no dataset of videos")
        return True
    if indexed and not brain_keys(ctx.dataset):
        refuse(inputs, "This dataset has no CLIP2Video index yet: run 'Compute CLIP2Video embeddings' first")
        return True
    return False


def ask_key(inputs: types.Object, ctx: foo.ExecutionContext, name: str = "brain_key", label: str = "Brain key") -> None:
    """A choice among the CLIP2Video runs of the dataset."""
    keys, shown = brain_keys(ctx.dataset), types.DropdownView()
    for key in keys:
        shown.add_choice(key, label=key)
    inputs.enum(name, keys, default=keys[0], view=shown, label=label)


def ask_model(inputs: types.Object) -> None:
    """A choice among the installed checkpoints."""
    names = types.DropdownView()
    for name, folder in installed_checkpoints().items():
        names.add_choice(name, label=name, description=str(folder))
    inputs.enum("model", names.values(), default=EMBEDDED, view=names, label="Model")


def ask_number(
    inputs: types.Object, ctx: foo.ExecutionContext, name: str, *, default: int, least: int, most: int, **more: Any
) -> None:
    """A whole number within bounds; one outside is refused with them."""
    value = ctx.params.get(name)
    wrong = value is not None and not (
        isinstance(value, int | float) and least <= value <= most and value == int(value)
    )
    said = {"invalid": True, "error_message": f"{name} is {value}; it must lie between {least} and {most}"}
    inputs.int(name, default=default, **more, **(said if wrong else {}))
