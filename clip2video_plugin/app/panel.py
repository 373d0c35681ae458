"""The Video search panel: type, and the grid shows the answer."""

from __future__ import annotations

import threading
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.moments import compute_frames, mark_moments, timeline
from clip2video_plugin.app.operators.forms import PANEL, URI
from clip2video_plugin.app.panel_memory import Shown, forget, shown_in
from clip2video_plugin.app.panel_parts import about, curve, describe, histogram, picture
from clip2video_plugin.app.search import LENGTHS, brain_keys, find, load_run, narrowed
from clip2video_plugin.app.videos import holds_videos, path_of, video_of, videos_of
from clip2video_plugin.errors import Clip2VideoError

STORE = "clip2video"
HISTORY = 20  # queries that are remembered for each dataset
COUNTS = (10, 25, 50, 100, 250)
DEFAULT_K = 25
ANY = "any"
PLACEHOLDER = "type, and press Enter"
LAYOUT = types.GridView(gap=1, padding=1)
PLOT: dict[str, Any] = {
    "height": 160,
    "layout": {"height": 160, "margin": {"t": 10, "b": 30, "l": 35, "r": 10}, "bargap": 0.05},
    "config": {"displayModeBar": False},
}


class VideoSearchPanel(foo.Panel):  # type: ignore[misc]
    """The page's state holds query, options, weight, threshold, keep.tag, save.view_name, and the data of plots.

    All else that is shown is in ``panel_memory``.
    """

    _drawing = threading.Lock()  # so that of two events the later answer has what both found

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

    def execute(self, ctx: foo.ExecutionContext) -> None:
        """Runs an event's method and draws the panel, unless the event says nothing new.

        Every new view is told as a selection of nothing, and every menu that is drawn as a choice of its value.
        """
        event = ctx.params.get("__method__")
        if event == "on_change_selected" and not ctx.selected and not _shown(ctx).sample:
            return
        if event == "on_option":
            path = ctx.params["path"]
            ctx.panel.state.set(path, ctx.params.get("value"))  # the page may tell it before its own state has it
            if path != "options.brain_key" and not self._asks_anew(ctx):
                return
        super().execute(ctx)

    def on_load(self, ctx: foo.ExecutionContext) -> None:
        self._refresh(ctx)

    def on_unload(self, ctx: foo.ExecutionContext) -> None:
        forget(ctx.panel.id)

    def on_change_dataset(self, ctx: foo.ExecutionContext) -> None:
        self._refresh(ctx)

    def on_change_selected(self, ctx: foo.ExecutionContext) -> None:
        shown = _shown(ctx)
        shown.forget_selection()
        shown.sample = self._about(ctx) if ctx.selected else None
        self._timeline(ctx)

    def on_embed_frames(self, ctx: foo.ExecutionContext) -> None:
        if not ctx.selected:
            return
        try:
            run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
            compute_frames(run, videos_of(ctx.dataset).select(selected_video(ctx)))
        except Clip2VideoError as error:
            _shown(ctx).error = str(error)
            return
        self._timeline(ctx)

    def on_time(self, ctx: foo.ExecutionContext) -> None:
        """A click on the curve shows the frame of that time."""
        if not ctx.selected or ctx.params.get("x") is None:
            return
        shown = _shown(ctx)
        try:
            path = path_of(video_of(ctx.dataset, selected_video(ctx)))
            ctx.panel.state.set("frame", picture(path, float(ctx.params["x"])))
            shown.frame = True
        except Clip2VideoError as error:
            shown.error = str(error)

    def on_mark(self, ctx: foo.ExecutionContext) -> None:
        shown, state = _shown(ctx), ctx.panel.state
        threshold = state.get("threshold")
        if not ctx.selected or not shown.query or not isinstance(threshold, int | float):
            shown.error = "select a video, search, and give the score from which a moment counts"
            return
        try:
            run = load_run(ctx.dataset, state.get("options.brain_key"))
            clips = mark_moments(ctx.dataset, run, selected_video(ctx), shown.query, float(threshold))
        except Clip2VideoError as error:
            shown.error = str(error)
            return
        shown.say(f"{len(clips)} moments are written to {run.key}_moments and shown as clips")
        ctx.ops.reload_dataset()
        ctx.ops.clear_selected_samples()
        ctx.ops.set_view(clips)

    def on_query(self, ctx: foo.ExecutionContext) -> None:
        query = (ctx.params.get("value") or "").strip()
        ctx.panel.state.set("query", query)
        self._search(ctx, query)

    def on_option(self, ctx: foo.ExecutionContext) -> None:
        """A changed brain key, number or weight asks the same question again; ``execute`` has set it."""
        if ctx.params["path"] == "options.brain_key":
            ctx.panel.state.set("weight", self._own_weight(ctx))
        if self._asks_anew(ctx):
            self._search(ctx, _shown(ctx).query)

    def on_back(self, ctx: foo.ExecutionContext) -> None:
        ctx.ops.set_view(self._base(ctx))
        _shown(ctx).forget_search()

    def on_tag(self, ctx: foo.ExecutionContext) -> None:
        shown, tag = _shown(ctx), (ctx.panel.state.get("keep.tag") or "").strip()
        if not tag or not shown.ids:
            shown.error = "name a tag, and search first"
            return
        videos_of(self._base(ctx)).select(shown.ids).tag_samples(tag)
        shown.say(f"{len(shown.ids)} videos are tagged {tag}")
        ctx.ops.reload_samples()

    def on_save(self, ctx: foo.ExecutionContext) -> None:
        shown, name = _shown(ctx), (ctx.panel.state.get("save.view_name") or "").strip()
        if not name or not shown.ids:
            shown.error = "name the view, and search first"
        elif ctx.dataset.has_saved_view(name):
            shown.error = f"there is a saved view {name!r} already; choose another name"
        else:
            ctx.dataset.save_view(name, videos_of(self._base(ctx)).select(shown.ids, ordered=True))
            shown.say(f"saved as the view {name}")

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
        stages = _shown(ctx).base
        return fo.DatasetView._build(ctx.dataset, stages) if stages is not None else ctx.view

    def _asks_anew(self, ctx: foo.ExecutionContext) -> bool:
        """Whether the page's options are not those of the last search."""
        shown = _shown(ctx)
        return shown.asked not in (None, _options(ctx))

    def _search(self, ctx: foo.ExecutionContext, query: str) -> None:
        shown = _shown(ctx)
        shown.query, shown.asked = query, _options(ctx)
        key, k, tag, length, weight = shown.asked
        # Results of the last search are not what the next one searches, unless the view was changed since.
        stages = ctx.view._serialize(include_uuids=False)
        if shown.view is None or stages != shown.view:
            shown.base = stages
        try:
            found = find(narrowed(self._base(ctx), tag=tag, length=length), query, brain_key=key, k=k, weight=weight)
        except Clip2VideoError as error:
            shown.say(None, error=str(error))
            return
        # An empty grid would be a dead end, and its view comes back from the App in another form.
        view = found.view if found.ids else self._base(ctx)
        shown.ids, shown.view = found.ids, view._serialize(include_uuids=False)
        missing = None
        if found.missing:
            missing = (
                f"{len(found.missing)} of these videos are not where the dataset says, the first is {found.missing[0]}"
            )
        shown.say(describe(found), error=missing)
        shown.histogram = bool(found.ids)
        ctx.panel.state.set("histogram", histogram(found.scores))
        self._remember(ctx, query)
        ctx.ops.set_view(view)
        if found.new_field:
            ctx.ops.reload_dataset()
        if shown.score_field != found.score_field:
            shown.score_field = found.score_field
            ctx.ops.set_active_fields([found.score_field])

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
        shown, state = _shown(ctx), ctx.panel.state
        if not shown.query or len(ctx.selected or ()) != 1:
            return
        try:
            run = load_run(ctx.dataset, state.get("options.brain_key"))
            found = timeline(run, video_of(ctx.dataset, selected_video(ctx)), shown.query)
        except Clip2VideoError as error:
            shown.error = str(error)
            return
        shown.needs_frames, shown.timeline = found is None, found is not None
        if found is not None:
            state.set("timeline", curve(found))
            state.set("threshold", round(found.threshold(), 3))

    # What it looks like

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        with self._drawing:
            return self._draw(ctx)

    def _draw(self, ctx: foo.ExecutionContext) -> types.Property:
        panel, state, shown = types.Object(), ctx.panel.state, _shown(ctx)
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
        if shown.error:
            panel.view("error_shown", types.Error(label=shown.error))
        if shown.message:
            panel.md(shown.message, "message_shown")
        self._draw_options(ctx, panel, state, keys)
        if shown.ids:
            panel.btn("back", label="Back to all videos", icon="undo", on_click=self.on_back, variant="outlined")
            row = panel.h_stack("keep", gap=1)
            row.str("tag", label="Tag these results", view=types.TextFieldView(placeholder="a tag"))
            row.btn("tag_it", label="Tag", on_click=self.on_tag, variant="outlined")
            row = panel.h_stack("save", gap=1)
            row.str("view_name", label="Save as view", view=types.TextFieldView(placeholder="a name"))
            row.btn("save_it", label="Save", on_click=self.on_save, variant="outlined")
        if shown.sample:
            panel.md(shown.sample, "sample_shown")
        if shown.needs_frames:
            panel.btn(
                "embed_frames", label="Show where in the video", on_click=self.on_embed_frames, variant="outlined"
            )
        if shown.timeline:
            row = panel.h_stack("marks", gap=1)
            row.btn("mark", label="Mark moments", on_click=self.on_mark, variant="outlined")
            panel.float("threshold", label="that score at least", view=types.FieldView())
            if shown.frame:
                panel.str("frame", view=types.ImageView(height="160px", alt="the frame at that time"))
        # A plot comes last, as it takes all the room that is left.
        if shown.timeline:
            panel.plot("timeline", label="Score over time, seconds", on_click=self.on_time, **PLOT)
        elif shown.histogram:
            panel.plot("histogram", label="Scores", **PLOT)
        return types.Property(panel, view=LAYOUT)

    def _draw_options(self, ctx: foo.ExecutionContext, panel: types.Object, state: Any, keys: list[str]) -> None:
        row = panel.h_stack("options", gap=1)
        for name, label, choices, default in (
            ("brain_key", "Brain key", {key: key for key in keys}, keys[0]),
            ("k", "Results", {count: str(count) for count in COUNTS}, DEFAULT_K),
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


def _shown(ctx: foo.ExecutionContext) -> Shown:
    return shown_in(ctx.panel.id, ctx.dataset.name if ctx.dataset is not None else None)


def _options(ctx: foo.ExecutionContext) -> tuple[str | None, int, str | None, str | None, float | None]:
    """Brain key, number, tag, length and weight of the page."""
    get = ctx.panel.state.get
    k = int(get("options.k") or DEFAULT_K)
    return get("options.brain_key"), k, get("options.only_tag") or ANY, get("options.length") or ANY, get("weight")


def selected_video(ctx: foo.ExecutionContext) -> str:
    """Id of the first selected sample, of a clip that of its video; raises Clip2VideoError when it is no video."""
    chosen: str = ctx.selected[0]
    if ctx.view._is_clips:
        chosen = str(ctx.view[chosen].sample_id)
    if not len(videos_of(ctx.dataset).select(chosen)):
        raise Clip2VideoError("the selected sample is no video")
    return chosen


PANELS = (VideoSearchPanel,)
