"""How the Video search panel looks: its fields, buttons, texts and plots, from what it shows."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.panel.memory import Shown
from clip2video_plugin.app.panel.parts import plain
from clip2video_plugin.app.search import LENGTHS, brain_keys
from clip2video_plugin.app.videos import holds_videos, videos_of

COUNTS = (10, 25, 50, 100, 250)
DEFAULT_K = 25
ANY = "any"
TAG = "tag "  # before a tag that is a choice, so that one called "any" is no other choice
LONG_ERROR = 1000  # characters of an error that are shown
PLACEHOLDER = "type, and press Enter"
LAYOUT = types.GridView(gap=1, padding=1)
PLOT: dict[str, Any] = {
    "height": 160,
    "layout": {"height": 160, "margin": {"t": 10, "b": 30, "l": 35, "r": 10}, "bargap": 0.05},
    "config": {"displayModeBar": False},
}


def draw(on: foo.Panel, ctx: foo.ExecutionContext, shown: Shown) -> types.Property:
    """The whole panel; ``on`` has the methods that its fields and buttons call."""
    panel, state = types.Object(), ctx.panel.state
    if ctx.dataset is None or not holds_videos(videos_of(ctx.dataset)):
        panel.view("refusal", types.Warning(label="This is no dataset of videos"))
        return types.Property(panel, view=LAYOUT)
    keys = brain_keys(ctx.dataset)
    if not keys:
        panel.md("### Nothing to search yet\n\nCompute embeddings of these videos once; then type and find.", "empty")
        panel.btn("compute", label="Compute embeddings", on_click=on.on_compute, variant="contained")
        return types.Property(panel, view=LAYOUT)
    box = types.View(
        component="Clip2VideoQuery",
        composite_view=True,
        label="What happens in the video",
        placeholder=PLACEHOLDER,
        history=state.get("history") or [],
        on_query=on.method_to_uri("on_query"),
    )
    panel.str("query", view=box)
    if shown.error:
        panel.view("error_shown", types.Error(label=plain(shown.error, LONG_ERROR)))  # it shows Markdown, too
    if shown.message:
        panel.md(shown.message, "message_shown")
    _draw_options(on, ctx, panel, keys)
    if shown.ids:
        panel.btn("back", label="Back to all videos", icon="undo", on_click=on.on_back, variant="outlined")
    if shown.ids and not shown.sample:  # which needs the room
        row = panel.h_stack("keep", gap=1)
        row.str("tag", label="Tag these results", view=types.TextFieldView(placeholder="a tag"))
        row.btn("tag_it", label="Tag", on_click=on.on_tag, variant="outlined")
        row = panel.h_stack("save", gap=1)
        row.str("view_name", label="Save as view", view=types.TextFieldView(placeholder="a name"))
        row.btn("save_it", label="Save", on_click=on.on_save, variant="outlined")
    if shown.sample:
        panel.md(shown.sample, "sample_shown")
    if shown.needs_frames:
        panel.btn("embed_frames", label="Show where in the video", on_click=on.on_embed_frames, variant="outlined")
    if shown.timeline:
        row = panel.h_stack("marks", gap=1)
        row.btn("mark", label="Mark moments", on_click=on.on_mark, variant="outlined")
        panel.float("threshold", label="that score at least", view=types.FieldView())
        if shown.frame:
            panel.str("frame", view=types.ImageView(height="160px", alt="the frame at that time"))
    if warning := state.get("warning"):
        panel.md(f"*{plain(warning)}*", "warning_shown")
    elif about := state.get("about"):
        panel.md(f"*{plain(about)}*", "about_shown")
    # A plot comes last, as it takes all the room that is left.
    if shown.timeline:
        panel.plot("timeline", label="Score over time, seconds", on_click=on.on_time, **PLOT)
    elif shown.histogram:
        panel.plot("histogram", label="Scores", **PLOT)
    return types.Property(panel, view=LAYOUT)


def _draw_options(on: foo.Panel, ctx: foo.ExecutionContext, panel: types.Object, keys: list[str]) -> None:
    row, weight = panel.h_stack("options", gap=1), ctx.panel.state.get("weight")
    for name, label, choices, default in (
        ("brain_key", "Brain key", {key: key for key in keys}, keys[0]),
        ("k", "Results", {count: str(count) for count in COUNTS}, DEFAULT_K),
        ("only_tag", "Tagged", {ANY: "all", **{TAG + tag: tag for tag in ctx.dataset.distinct("tags")}}, ANY),
        ("length", "Length", {ANY: "all", **{length: length for length in LENGTHS}}, ANY),
    ):
        menu = types.DropdownView()
        for value, text in choices.items():
            menu.add_choice(value, label=text)
        row.enum(name, list(choices), default=default, view=menu, label=label, on_change=on.on_option)
    if weight is not None:
        slider = types.SliderView()
        panel.float("weight", min=0.0, max=1.0, default=weight, label="Appearance", view=slider, on_change=on.on_option)
