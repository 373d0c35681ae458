"""The Video search panel: type, and the grid shows the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.moments import compute_frames, mark_moments, timeline
from clip2video_plugin.app.operators.forms import PANEL, URI
from clip2video_plugin.app.panel_parts import about, curve, describe, histogram, picture
from clip2video_plugin.app.search import LENGTHS, brain_keys, find, load_run, narrowed
from clip2video_plugin.app.videos import holds_videos, videos_of
from clip2video_plugin.errors import Clip2VideoError

Change = Callable[[], object]  # of the page, made once the panel is drawn
STORE = "clip2video"
HISTORY = 20  # queries that are remembered for each dataset
COUNTS = (10, 25, 50, 100, 250)
ANY = "any"
PLACEHOLDER = "type, and press Enter"
LAYOUT = types.GridView(gap=1, padding=1)
PLOT: dict[str, Any] = {
    "height": 160,
    "layout": {"height": 160, "margin": {"t": 10, "b": 30, "l": 35, "r": 10}, "bargap": 0.05},
    "config": {"displayModeBar": False},
}


class VideoSearchPanel(foo.Panel):  # type: ignore[misc]
    """State: query, options, weight, keep.tag, save.view_name, and what the last search found (``_search``)."""

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(
            name=PANEL,
            label="Video search",
            icon="search",
            surfaces="grid",
            help_markdown="Type what happens in a video. Results appear in the grid, the best first.",
        )

    # Events

    def on_load(self, ctx: foo.ExecutionContext) -> None:
        self._refresh(ctx)

    def on_change_dataset(self, ctx: foo.ExecutionContext) -> None:
        for name in ("base", "shown", "message", "error", "histogram", "sample", "scored"):
            ctx.panel.state.set(name, None)
        self._refresh(ctx)

    def execute(self, ctx: foo.ExecutionContext) -> None:
        """Runs an event's method, draws the panel, and then changes the page as the method's answer does.

        Every new view is told as a selection of nothing; drawing the panel for that would delay the grid.
        """
        nothing = ctx.params.get("__method__") == "on_change_selected" and not ctx.selected
        if nothing and not ctx.panel.state.get("sample"):
            return
        change = super().execute(ctx)
        # Last, as what comes to the panel behind a new view or a reload can be lost.
        if change is not None:
            change()

    def on_change_selected(self, ctx: foo.ExecutionContext) -> None:
        for name in ("timeline", "needs_frames", "frame"):
            ctx.panel.state.set(name, None)
        ctx.panel.state.set("sample", self._about(ctx) if ctx.selected else None)
        self._timeline(ctx)

    def on_embed_frames(self, ctx: foo.ExecutionContext) -> None:
        if not ctx.selected:
            return
        try:
            run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
            compute_frames(run, videos_of(ctx.dataset).select(selected_video(ctx)))
        except Clip2VideoError as error:
            ctx.panel.state.set("error", str(error))
            return
        self._timeline(ctx)

    def on_time(self, ctx: foo.ExecutionContext) -> None:
        """A click on the curve shows the frame of that time."""
        if not ctx.selected or ctx.params.get("x") is None:
            return
        try:
            path = videos_of(ctx.dataset)[selected_video(ctx)].filepath
            ctx.panel.state.set("frame", picture(path, float(ctx.params["x"])))
        except Clip2VideoError as error:
            ctx.panel.state.set("error", str(error))

    def on_mark(self, ctx: foo.ExecutionContext) -> Change | None:
        state = ctx.panel.state
        query, threshold = (state.get("query") or "").strip(), state.get("threshold")
        if not ctx.selected or not query or not isinstance(threshold, int | float):
            state.set("error", "select a video, search, and give the score from which a moment counts")
            return None
        try:
            run = load_run(ctx.dataset, state.get("options.brain_key"))
            clips = mark_moments(videos_of(ctx.dataset), run, selected_video(ctx), query, float(threshold))
        except Clip2VideoError as error:
            state.set("error", str(error))
            return None
        self._say(ctx, f"{len(clips)} moments are written to {run.key}_moments and shown as clips")

        def change() -> None:
            ctx.ops.reload_dataset()
            ctx.ops.clear_selected_samples()
            ctx.ops.set_view(clips)

        return change

    def on_query(self, ctx: foo.ExecutionContext) -> Change | None:
        ctx.panel.state.set("query", ctx.params.get("value"))
        return self._search(ctx)

    def on_option(self, ctx: foo.ExecutionContext) -> Change | None:
        """A changed brain key, number or weight asks the same question again."""
        ctx.panel.state.set(ctx.params["path"], ctx.params.get("value"))
        if ctx.params["path"] == "options.brain_key":
            ctx.panel.state.set("weight", self._own_weight(ctx))
        asked = (ctx.panel.state.get("query") or "").strip() and ctx.panel.state.get("shown") is not None
        return self._search(ctx) if asked else None

    def on_back(self, ctx: foo.ExecutionContext) -> Change:
        base = self._base(ctx)
        for name in ("base", "shown", "message", "error", "histogram"):
            ctx.panel.state.set(name, None)
        return lambda: ctx.ops.set_view(base)

    def on_tag(self, ctx: foo.ExecutionContext) -> Change | None:
        tag, shown = (ctx.panel.state.get("keep.tag") or "").strip(), ctx.panel.state.get("shown") or []
        if not tag or not shown:
            ctx.panel.state.set("error", "name a tag, and search first")
            return None
        videos_of(self._base(ctx)).select(shown).tag_samples(tag)
        self._say(ctx, f"{len(shown)} videos are tagged {tag}")
        return ctx.ops.reload_samples  # type: ignore[no-any-return]

    def on_save(self, ctx: foo.ExecutionContext) -> None:
        name, shown = (ctx.panel.state.get("save.view_name") or "").strip(), ctx.panel.state.get("shown") or []
        if not name or not shown:
            ctx.panel.state.set("error", "name the view, and search first")
        elif ctx.dataset.has_saved_view(name):
            ctx.panel.state.set("error", f"there is a saved view {name!r} already; choose another name")
        else:
            ctx.dataset.save_view(name, videos_of(self._base(ctx)).select(shown, ordered=True))
            self._say(ctx, f"saved as the view {name}")

    def on_compute(self, ctx: foo.ExecutionContext) -> None:
        ctx.prompt(f"{URI}/compute_embeddings", on_success=self.on_computed)

    def on_computed(self, ctx: foo.ExecutionContext) -> None:
        self._refresh(ctx)

    # What it does

    def _refresh(self, ctx: foo.ExecutionContext) -> None:
        keys = brain_keys(ctx.dataset) if ctx.dataset is not None else []
        state = ctx.panel.state
        if state.get("options.brain_key") not in keys:
            state.set("options.brain_key", keys[0] if keys else None)
            state.set("weight", self._own_weight(ctx))
        state.set("history", ctx.store(STORE).get(f"history {ctx.dataset.name}") or [] if ctx.dataset else [])

    def _own_weight(self, ctx: foo.ExecutionContext) -> float | None:
        """The model's own w; None where it has no alignment block, or cannot be loaded."""
        try:
            config = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key")).get_model().model.config
        except Clip2VideoError:
            return None
        return config.center_weight if config.alignment != "none" else None

    def _base(self, ctx: foo.ExecutionContext) -> Any:
        """What is searched: the view that was there before the first search."""
        stages = ctx.panel.state.get("base")
        return fo.DatasetView._build(ctx.dataset, stages) if stages is not None else ctx.view

    def _search(self, ctx: foo.ExecutionContext) -> Change | None:
        """Puts a message, scores and ids, or an error, in the state; gives the change that shows the hits."""
        state = ctx.panel.state
        query = (state.get("query") or "").strip()
        state.set("error", None)
        # Results of the last search are not what the next one searches, unless the view was changed since.
        shown = state.get("shown_view")
        if shown is None or ctx.view._serialize(include_uuids=False) != shown:
            state.set("base", ctx.view._serialize(include_uuids=False))
        try:
            found = find(
                narrowed(self._base(ctx), tag=state.get("options.only_tag"), length=state.get("options.length")),
                query,
                brain_key=state.get("options.brain_key"),
                k=int(state.get("options.k") or 25),
                weight=state.get("weight"),
            )
        except Clip2VideoError as error:
            state.set("error", str(error))
            state.set("message", None)
            return None
        # An empty grid would be a dead end, and its view comes back from the App in another form.
        shown_now = found.view if found.ids else self._base(ctx)
        scored, now = state.get("scored"), found.score_field
        state.set("scored", now)
        state.set("shown", found.ids)
        state.set("shown_view", shown_now._serialize(include_uuids=False))
        state.set("message", describe(query, found))
        if found.missing:
            state.set(
                "error",
                f"{len(found.missing)} of these videos are not where the dataset says, the first is {found.missing[0]}",
            )
        state.set("histogram", histogram(found.scores))
        self._remember(ctx, query)

        def change() -> None:
            ctx.ops.set_view(shown_now)
            if found.new_field:
                ctx.ops.reload_dataset()
            if scored != now:
                ctx.ops.set_active_fields([now])

        return change

    def _say(self, ctx: foo.ExecutionContext, message: str) -> None:
        ctx.panel.state.set("error", None)
        ctx.panel.state.set("message", message)

    def _remember(self, ctx: foo.ExecutionContext, query: str) -> None:
        key = f"history {ctx.dataset.name}"
        known = [old for old in ctx.store(STORE).get(key) or [] if old != query]
        history = [query, *known][:HISTORY]
        ctx.store(STORE).set(key, history)
        ctx.panel.state.set("history", history)

    def _about(self, ctx: foo.ExecutionContext) -> str | None:
        """The selected sample's captions, and which captions of the dataset fit it best."""
        try:
            run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
            return about(ctx.dataset, run, selected_video(ctx))
        except Clip2VideoError as error:
            return str(error)

    def _timeline(self, ctx: foo.ExecutionContext) -> None:
        """Where in the selected video the query fits, or that its frames are needed for that."""
        state = ctx.panel.state
        query = (state.get("query") or "").strip()
        if not query or len(ctx.selected or ()) != 1:
            return
        try:
            run = load_run(ctx.dataset, state.get("options.brain_key"))
            found = timeline(run, videos_of(ctx.dataset)[selected_video(ctx)], query)
        except Clip2VideoError as error:
            state.set("error", str(error))
            return
        state.set("needs_frames", found is None)
        if found is not None:
            state.set("timeline", curve(found))
            state.set("threshold", round(found.threshold(), 3))

    # What it looks like

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        panel, state = types.Object(), ctx.panel.state
        if ctx.dataset is None or not holds_videos(videos_of(ctx.dataset)):
            panel.view("refusal", types.Warning(label="This is no dataset of videos"))
            return types.Property(panel, view=LAYOUT)
        keys = brain_keys(ctx.dataset)
        if not keys:
            panel.md(
                "### Nothing to search yet\n\nCompute embeddings of these videos once; then type and find.", "empty"
            )
            panel.btn("compute", label="Compute embeddings", on_click=self.on_compute, variant="contained")
            return types.Property(panel, view=LAYOUT)
        box = types.View(
            component="Clip2VideoQuery",
            composite_view=True,
            label="What happens in the video",
            placeholder=PLACEHOLDER,
            history=state.get("history") or [],
            on_query=self.method_to_uri("on_query"),
        )
        panel.str("query", view=box)
        if state.get("error"):
            panel.view("error_shown", types.Error(label=state.get("error")))
        if state.get("message"):
            panel.md(state.get("message"), "message_shown")
        self._options(ctx, panel, state, keys)
        if state.get("shown"):
            panel.btn("back", label="Back to all videos", icon="undo", on_click=self.on_back, variant="outlined")
            row = panel.h_stack("keep", gap=1)
            row.str("tag", label="Tag these results", view=types.TextFieldView(placeholder="a tag"))
            row.btn("tag_it", label="Tag", on_click=self.on_tag, variant="outlined")
            row = panel.h_stack("save", gap=1)
            row.str("view_name", label="Save as view", view=types.TextFieldView(placeholder="a name"))
            row.btn("save_it", label="Save", on_click=self.on_save, variant="outlined")
        if state.get("sample"):
            panel.md(state.get("sample"), "sample_shown")
        if state.get("needs_frames"):
            panel.btn(
                "embed_frames", label="Show where in the video", on_click=self.on_embed_frames, variant="outlined"
            )
        if state.get("timeline"):
            row = panel.h_stack("marks", gap=1)
            row.btn("mark", label="Mark moments", on_click=self.on_mark, variant="outlined")
            panel.float("threshold", label="that score at least", view=types.FieldView())
            if state.get("frame"):
                panel.str("frame", view=types.ImageView(height="160px", alt="the frame at that time"))
        # A plot comes last, as it takes all the room that is left.
        if state.get("timeline"):
            panel.plot("timeline", label="Score over time, seconds", on_click=self.on_time, **PLOT)
        elif state.get("histogram"):
            panel.plot("histogram", label="Scores", **PLOT)
        return types.Property(panel, view=LAYOUT)

    def _options(self, ctx: foo.ExecutionContext, panel: types.Object, state: Any, keys: list[str]) -> None:
        row = panel.h_stack("options", gap=1)
        for name, label, choices, default in (
            ("brain_key", "Brain key", {key: key for key in keys}, keys[0]),
            ("k", "Results", {count: str(count) for count in COUNTS}, 25),
            ("only_tag", "Tagged", {ANY: "all", **{tag: tag for tag in ctx.dataset.distinct("tags")}}, ANY),
            ("length", "Length", {ANY: "all", **{length: length for length in LENGTHS}}, ANY),
        ):
            shown = types.DropdownView()
            for value, text in choices.items():
                shown.add_choice(value, label=text)
            row.enum(name, list(choices), default=default, view=shown, label=label, on_change=self.on_option)
        if state.get("weight") is not None:
            panel.float(
                "weight",
                min=0.0,
                max=1.0,
                default=state.get("weight"),
                label="Appearance",
                view=types.SliderView(),
                on_change=self.on_option,
            )


def selected_video(ctx: foo.ExecutionContext) -> str:
    """Id of the first selected sample, of a clip that of its video; raises Clip2VideoError when it is no video."""
    chosen: str = ctx.selected[0]
    if ctx.view._is_clips:
        chosen = str(ctx.view[chosen].sample_id)
    if not len(videos_of(ctx.dataset).select(chosen)):
        raise Clip2VideoError("the selected sample is no video")
    return chosen


PANELS = (VideoSearchPanel,)
