"""What the Video search panel shows, by name; ``panel.js`` lays it out."""

from __future__ import annotations

import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.panel.line import ANY, DEFAULT_K, TAG, text_of
from clip2video_plugin.app.panel.memory import Shown
from clip2video_plugin.app.panel.parts import nothing, plain
from clip2video_plugin.app.playing import with_media
from clip2video_plugin.app.search import LENGTHS, brain_keys
from clip2video_plugin.app.videos import holds_videos, videos_of

COUNTS = (10, 25, 50, 100, 250)
LONG_ERROR = 1000  # characters of an error that are shown
LAYOUT = types.GridView(gap=1, padding=1)
EVENTS = (
    "on_query",
    "on_option",
    "on_calibrate",
    "on_back",
    "on_tag",
    "on_save",
    "on_embed_frames",
    "on_time",
    "on_mark",
    "on_mark_all",
    "on_tool",
)
# Operators that the menu opens
TOOLS = {
    "find_similar_videos": "Videos like the selected ones",
    "nearest_captions": "Captions that fit the selected video",
    "find_duplicates": "Find copies of videos",
    "audit_captions": "Audit captions",
    "evaluate_retrieval": "Evaluate retrieval",
    "compute_embeddings": "Compute embeddings",
    "index_info": "About the index",
}


def draw(on: foo.Panel, ctx: foo.ExecutionContext, shown: Shown) -> types.Property:
    """The whole panel; ``on`` has the methods that the page calls."""
    panel, state = types.Object(), ctx.panel.state
    if ctx.dataset is None or not holds_videos(videos_of(ctx.dataset)):
        panel.view("refusal", types.Warning(label="This is no dataset of videos"))
        return types.Property(panel, view=LAYOUT)
    keys = brain_keys(ctx.dataset)
    if not keys:
        panel.md("### Nothing to search yet\n\nCompute embeddings of these videos once; then type and find.", "empty")
        panel.btn("compute", label="Compute embeddings", on_click=on.on_compute, variant="contained")
        return types.Property(panel, view=LAYOUT)
    if shown.error:
        panel.view("error_shown", types.Error(label=plain(shown.error, LONG_ERROR)))  # it shows Markdown, too
    if shown.message:
        panel.md(shown.message, "message_shown")
    _draw_options(ctx, panel, keys)
    if shown.ids:
        panel.btn("back", label="Back to all videos", on_click=on.on_back)
        panel.h_stack("keep")
    if shown.sample:
        panel.md(shown.sample, "sample_shown")
    if warning := state.get("warning"):
        panel.md(f"*{plain(warning)}*", "warning_shown")
    elif about := state.get("about"):
        panel.md(f"*{plain(about)}*", "about_shown")
    view = types.View(
        component="Clip2VideoSearch",
        composite_view=True,
        events={name: on.method_to_uri(name) for name in EVENTS},
        line={"text": text_of(shown.query) if shown.query else "", "chips": shown.chips},
        hits=[with_media(hit) for hit in shown.hits],
        more=len(shown.ids) - len(shown.hits),
        selected=shown.selected,
        detail={"curve": shown.curve, "needs_frames": shown.needs_frames, "picture": shown.frame},
        weight=state.get("weight"),
        threshold=shown.threshold,
        calibrated=shown.calibrated,
        comparable=shown.comparable,
        nothing=nothing(shown),
        tools=[{"name": name, "label": label} for name, label in TOOLS.items()],
    )
    return types.Property(panel, view=view)


def _draw_options(ctx: foo.ExecutionContext, panel: types.Object, keys: list[str]) -> None:
    options, k = panel.h_stack("options"), ctx.panel.state.get("options.k") or DEFAULT_K
    for name, label, choices, default in (
        ("brain_key", "Brain key", {key: key for key in keys}, keys[0]),
        ("k", "Results", {count: str(count) for count in sorted({*COUNTS, k})}, DEFAULT_K),
        ("only_tag", "Tagged", {ANY: "all", **{TAG + tag: tag for tag in ctx.dataset.distinct("tags")}}, ANY),
        ("length", "Length", {ANY: "all", **{length: length for length in LENGTHS}}, ANY),
    ):
        menu = types.DropdownView(label=label)
        for value, text in choices.items():
            menu.add_choice(value, label=text)
        options.enum(name, list(choices), default=default, view=menu)
