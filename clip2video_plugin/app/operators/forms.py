"""Inputs that several operators ask for, and how they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.search import brain_keys
from clip2video_plugin.app.similarity import Clip2VideoSimilarityIndex
from clip2video_plugin.app.videos import holds_videos, videos_of
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.installed import find_checkpoint, installed_checkpoints, lasting_name, read_card
from clip2video_plugin.paths import printable

URI = "@clip2video/clip2video"
PANEL = "video_search"


def refuse(inputs: types.Object, why: str) -> None:
    """Shows why the operator cannot run here, and keeps it from running; from Python it is the error's reason."""
    inputs.view("refusal", types.Warning(label=why))
    inputs.str("refused", view=types.HiddenView(), required=True, invalid=True, error_message=why)


def refused(inputs: types.Object, ctx: foo.ExecutionContext, *, indexed: bool = False) -> bool:
    """Refuses where there are no videos, or no index where one is needed."""
    if ctx.dataset is None or not holds_videos(videos_of(ctx.dataset)):
        refuse(inputs, "This is no dataset of videos")
        return True
    if indexed and not brain_keys(ctx.dataset):
        refuse(inputs, "This dataset has no CLIP2Video index yet: run 'Compute CLIP2Video embeddings' first")
        return True
    return False


def form(inputs: types.Object, ctx: foo.ExecutionContext, label: str, *more: str) -> types.Property:
    """The finished form. A parameter that it does not ask for is refused, unless it is one ``more``."""
    if "refused" in inputs.properties:
        return types.Property(inputs)
    allowed = dict.fromkeys([*(name for name in inputs.properties), *more])
    if unknown := [name for name in ctx.params if name not in allowed]:
        refuse(inputs, f"there is no parameter {', '.join(map(repr, unknown))}; allowed are {', '.join(allowed)}")
    return types.Property(inputs, view=types.View(label=label))


def wrong(message: str | None) -> dict[str, Any]:
    """What marks an input whose value is refused, if there is a message that says why."""
    return {"invalid": True, "error_message": message} if message else {}


def ask_choice(
    inputs: types.Object,
    ctx: foo.ExecutionContext,
    name: str,
    choices: Mapping[str, str],
    *,
    label: str,
    default: str | None,
    refusal: str | None = None,
) -> None:
    """A choice among values, each with its label; another value is refused with those there are."""
    shown, value = types.DropdownView(), ctx.params.get(name)
    for choice, its_label in choices.items():
        shown.add_choice(choice, label=its_label)
    known = value is None or value in list(choices)
    refusal = refusal if known else f"{name} is {value!r}; allowed are {', '.join(choices)}"
    inputs.enum(name, list(choices), default=default, view=shown, label=label, **wrong(refusal))


def ask_key(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    """A choice among the CLIP2Video runs of the dataset."""
    keys = {key: key for key in brain_keys(ctx.dataset)}
    ask_choice(inputs, ctx, "brain_key", keys, label="Brain key", default=next(iter(keys)))


def ask_model(inputs: types.Object, ctx: foo.ExecutionContext, run: Clip2VideoSimilarityIndex | None = None) -> None:
    """A choice among the installed checkpoints and the default one, which is preselected; of a run its own, alone."""
    own, chosen = run.config.checkpoint if run else None, ctx.params.get("model")
    checkpoints, default, refusal = installed_checkpoints(), None, None
    try:
        default = lasting_name(*find_checkpoint(own))
        checkpoints[default] = find_checkpoint(own)[1]
    except CheckpointError as error:
        refusal = None if chosen else str(error)
    if run is not None and chosen not in (None, own):
        refusal = f"the index {run.key} was made with model {own}; choose that, or another brain key"
    shown = {name: _labelled(name, folder) for name, folder in checkpoints.items() if name == printable(name)}
    ask_choice(
        inputs, ctx, "model", shown, label="Model", default=default if default in shown else None, refusal=refusal
    )


def _labelled(name: str, folder: Path) -> str:
    about = read_card(folder).sentence
    return printable(f"{name}, {about}" if about else name)


def ask_number(
    inputs: types.Object, ctx: foo.ExecutionContext, name: str, *, default: int, least: int, most: int, **more: Any
) -> None:
    """A whole number within bounds; one outside is refused with them."""
    value = ctx.params.get(name)
    fits = value is None or (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
        and value == int(value)
    )
    refusal = None if fits else f"{name} is {value!r}; it must lie between {least} and {most}"
    inputs.int(name, default=default, **more, **wrong(refusal))
