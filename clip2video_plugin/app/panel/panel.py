"""The Video search panel: type, and the grid shows the answer."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.marking import mark_all
from clip2video_plugin.app.moments import compute_frames, mark_moments, timelines
from clip2video_plugin.app.operators.forms import PANEL, URI
from clip2video_plugin.app.panel.hits import LISTED, listed, named
from clip2video_plugin.app.panel.layout import TOOLS, draw
from clip2video_plugin.app.panel.line import OPTIONS, USUAL, chips_of, line_of, options_of, query_of
from clip2video_plugin.app.panel.memory import Shown, forget, remember, shown_in
from clip2video_plugin.app.panel.parts import LONG, describe, moved, picture, plain
from clip2video_plugin.app.panel.selected import look_at, look_where, selected_video
from clip2video_plugin.app.roots import confined_query
from clip2video_plugin.app.search import Found, brain_keys, find, load_run, narrowed
from clip2video_plugin.app.videos import all_samples, owners_of, path_of, video_of, videos_of
from clip2video_plugin.counted import counted
from clip2video_plugin.errors import Clip2VideoError, QueryError, first_line
from clip2video_plugin.query import Gallery, Query
from clip2video_plugin.query.calibrate import calibrate
from clip2video_plugin.query.confidence import calibration_of

STORE = "clip2video"
HISTORY = 20  # queries that are remembered for each dataset


class VideoSearchPanel(foo.Panel):  # type: ignore[misc]
    """The page's state holds query, options, weight, warning, about, threshold, and the frame of a time.

    All else that is shown is in ``memory``, under an id that the state gets when the panel is loaded: FiftyOne's
    own ids of panels are the same in several sessions.
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

        The page reports every new view as an empty selection, and every menu that it draws as a choice of its value.
        """
        event = ctx.params.get("__method__")
        if event == "on_change_selected" and not ctx.selected and not _shown(ctx).sample:
            return
        if event != "on_load":
            for path, value in _shown(ctx).options.items():
                if ctx.panel.state.get(path) != value:
                    ctx.panel.state.set(path, value)
        if event == "on_option":
            path = ctx.params["path"]
            _choose(ctx, path, ctx.params.get("value"))
            if path != "options.brain_key" and not self._asks_anew(ctx):
                return
        if event != "on_load" and not ctx.panel.state.get("page"):
            return  # told before the page knows its id; what it is loaded with comes in a moment
        super().execute(ctx)

    def on_load(self, ctx: foo.ExecutionContext) -> None:
        # Pages of one session mirror their states, so that the others follow; a saved workspace brings a stranger's.
        old, new = _shown(ctx), uuid.uuid4().hex
        ctx.panel.state.set("page", new)
        if ctx.dataset is not None and old.view == ctx.view._serialize(include_uuids=False):
            remember(new, old)
        self._refresh(ctx)

    def on_unload(self, ctx: foo.ExecutionContext) -> None:
        forget(ctx.panel.state.get("page"))

    def on_change_dataset(self, ctx: foo.ExecutionContext) -> None:
        self._refresh(ctx)

    def on_change_selected(self, ctx: foo.ExecutionContext) -> None:
        look_at(ctx, _shown(ctx))

    def on_embed_frames(self, ctx: foo.ExecutionContext) -> None:
        if not ctx.selected:
            return
        try:
            run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
            compute_frames(run, videos_of(ctx.dataset).select(selected_video(ctx)))
        except Clip2VideoError as error:
            _shown(ctx).error = str(error)
            return
        look_where(ctx, _shown(ctx))

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
        """Marks where the selected video reaches the score that the event gives."""
        shown, threshold = _shown(ctx), ctx.params.get("threshold")
        if not ctx.selected or not shown.query or not isinstance(threshold, int | float):
            shown.error = "select a video, search, and give the score from which a moment counts"
            return
        sentence = shown.query.prompts[0]
        try:
            run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
            clips = mark_moments(ctx.dataset, run, selected_video(ctx), sentence, float(threshold))
        except Clip2VideoError as error:
            shown.error = str(error)
            return
        self._show_moments(ctx, clips, run.key)

    def on_mark_all(self, ctx: foo.ExecutionContext) -> None:
        """Marks the moments of all hits."""
        shown = _shown(ctx)
        if not shown.query or not shown.asked or not shown.ids:
            return
        try:
            run = load_run(ctx.dataset, shown.asked["brain_key"])
            clips = mark_all(self._searched(ctx, shown.asked), run, self._whole(ctx, shown.query, shown.asked))
        except Clip2VideoError as error:
            shown.error = str(error)
            return
        self._show_moments(ctx, clips, run.key)

    def _show_moments(self, ctx: foo.ExecutionContext, clips: fo.DatasetView, key: str) -> None:
        field, how = plain(f"{key}_moments"), " as clips" if clips._is_clips else ""
        _shown(ctx).say(f"{len(clips) if how else 'The'} moments are written to {field} and shown{how}")
        ctx.ops.reload_dataset()
        ctx.ops.clear_selected_samples()
        ctx.ops.set_view(clips)

    def on_calibrate(self, ctx: foo.ExecutionContext) -> None:
        shown = _shown(ctx)
        try:
            run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
            fit = calibrate(run.rows.own_table(), model=run.get_model().model)[0]
        except Clip2VideoError as error:
            shown.error = str(error)
            return
        shown.say(f"calibrated on {counted(fit.queries, 'query')} of the {plain(fit.source)}")
        shown.calibrated = True
        if shown.query:
            self._search(ctx, shown.query)

    def on_tool(self, ctx: foo.ExecutionContext) -> None:
        if (name := ctx.params.get("name")) in TOOLS:
            ctx.prompt(f"{URI}/{name}")

    def on_query(self, ctx: foo.ExecutionContext) -> None:
        """Searches for what the line and its chips say. An option typed on the line is set as if it had been chosen."""
        text, chips = (ctx.params.get("value") or "").strip(), ctx.params.get("chips") or []
        try:
            if not text and not any(chip["kind"] in ("like", "captions") for chip in chips):
                raise QueryError("type what happens in the video")
            query = query_of(text, chips)
        except Clip2VideoError as error:
            _shown(ctx).say(None, error=str(error))
            return
        for name, path in OPTIONS.items():
            if getattr(query, name) != USUAL[name]:
                _choose(ctx, path, getattr(query, name))
        ctx.panel.state.set("query", line_of(query))
        self._search(ctx, query)

    def on_option(self, ctx: foo.ExecutionContext) -> None:
        """A changed brain key, number or weight asks the same question again; ``execute`` has set it."""
        if ctx.params["path"] == "options.brain_key":
            self._take_key(ctx)
        if self._asks_anew(ctx):
            query = _shown(ctx).query
            assert query is not None
            self._search(ctx, query)

    def on_back(self, ctx: foo.ExecutionContext) -> None:
        ctx.ops.set_view(self._base(ctx))
        _shown(ctx).forget_search()

    def on_tag(self, ctx: foo.ExecutionContext) -> None:
        shown, tag = _shown(ctx), (ctx.params.get("value") or "").strip()
        if not tag or not shown.ids:
            shown.error = "name a tag, and search first"
            return
        videos_of(self._base(ctx)).select(shown.ids).tag_samples(tag)
        shown.say(f"tagged {plain(tag)}: {counted(len(shown.ids), 'video')}")
        ctx.ops.reload_samples()

    def on_save(self, ctx: foo.ExecutionContext) -> None:
        shown, name = _shown(ctx), (ctx.params.get("value") or "").strip()
        if not name or not shown.ids:
            shown.error = "name the view, and search first"
        elif ctx.dataset.has_saved_view(name):
            shown.error = f"there is a saved view {name!r} already; choose another name"
        else:
            try:
                ctx.dataset.save_view(name, videos_of(self._base(ctx)).select(shown.ids, ordered=True))
            except ValueError as error:  # its address in the App is that of another, or would be empty or too long
                shown.error = f"the view cannot be called so; choose another name: {first_line(error)}"
                return
            shown.say(f"saved as the view {plain(name)}")

    def on_compute(self, ctx: foo.ExecutionContext) -> None:
        ctx.prompt(f"{URI}/compute_embeddings", on_success=self.on_computed)

    def on_computed(self, ctx: foo.ExecutionContext) -> None:
        self._refresh(ctx)

    # What it does

    def _refresh(self, ctx: foo.ExecutionContext) -> None:
        keys = brain_keys(ctx.dataset) if ctx.dataset is not None else []
        state = ctx.panel.state
        if state.get("options.brain_key") not in keys:
            _choose(ctx, "options.brain_key", keys[0] if keys else None)
        if keys:
            self._take_key(ctx)  # of the same name in another dataset, it is another model's
        state.set("history", ctx.store(STORE).get(f"history {ctx.dataset.name}") or [] if ctx.dataset else [])

    def _take_key(self, ctx: foo.ExecutionContext) -> None:
        """The model's own w, None where it has no alignment block, its warning, and what it says of itself; none of
        them where it cannot be loaded.
        """
        state = ctx.panel.state
        try:
            run = load_run(ctx.dataset, state.get("options.brain_key"))
            model = run.get_model().model
        except Clip2VideoError:
            _choose(ctx, "weight", None)
            for name in ("own_weight", "warning", "about"):
                state.set(name, None)
            return
        weight = model.config.center_weight if model.config.alignment != "none" else None
        _choose(ctx, "weight", weight)
        state.set("own_weight", weight)
        _shown(ctx).calibrated = calibration_of(Gallery(run.table)) is not None
        state.set("warning", model.warning)
        state.set("about", f"model {model.name}, {model.card.sentence}" if model.card.sentence else None)

    def _base(self, ctx: foo.ExecutionContext) -> Any:
        """What is searched: the view that was there before the first search."""
        stages = _shown(ctx).base
        return fo.DatasetView._build(ctx.dataset, stages) if stages is not None else ctx.view

    def _asks_anew(self, ctx: foo.ExecutionContext) -> bool:
        """Whether the page's options are not those of the last search."""
        shown = _shown(ctx)
        return shown.asked not in (None, options_of(ctx.panel.state))

    def _search(self, ctx: foo.ExecutionContext, query: Query) -> None:
        shown = _shown(ctx)
        asked = options_of(ctx.panel.state)
        # Results of the last search are not what the next one searches, unless the view was changed since.
        stages = ctx.view._serialize(include_uuids=False)
        if shown.view is None or stages != shown.view:
            shown.base = stages
        base = self._base(ctx)
        shown.query, shown.asked = query, asked
        try:
            run = load_run(ctx.dataset, asked["brain_key"])
            query = self._whole(ctx, query, asked)
            found = find(self._searched(ctx, asked), query, brain_key=run.key)
            thresholds = {one.text: one.threshold for one in found.result.dropped}
            chips = chips_of(query, named(all_samples(ctx.dataset), [str(one) for one in query.like]), thresholds)
            calibrated = calibration_of(Gallery(run.table)) is not None
            hits = self._listed(ctx, run, found, query)
        except Clip2VideoError as error:
            if shown.asked is asked:
                shown.say(None, error=str(error))
            return
        if shown.asked is not asked:
            return  # something else was asked meanwhile
        shown.chips, shown.hits, shown.calibrated = chips, hits, calibrated
        shown.threshold = max(thresholds.values(), default=None)
        # An empty grid would be a dead end, and its view comes back from the App in another form.
        view = found.view if found.ids else base
        shown.ids, shown.view = found.ids, view._serialize(include_uuids=False)
        shown.say(describe(found), error=moved(found))
        shown.refused, shown.comparable = found.result.refused, found.result.comparable
        self._remember(ctx, line_of(query))
        ctx.ops.set_view(view)
        if found.new_field:
            ctx.ops.reload_dataset()
        if shown.score_field != found.score_field:
            shown.score_field = found.score_field
            ctx.ops.set_active_fields([found.score_field])

    def _whole(self, ctx: foo.ExecutionContext, query: Query, asked: dict[str, Any]) -> Query:
        """The query with the options; raises Clip2VideoError of a file that must not be read."""
        return confined_query(replace(query, **{name: asked[name] for name in OPTIONS}), ctx.dataset)

    def _searched(self, ctx: foo.ExecutionContext, asked: dict[str, Any]) -> Any:
        return narrowed(self._base(ctx), tag=asked["tag"], length=asked["length"])

    def _listed(self, ctx: foo.ExecutionContext, run: Any, found: Found, query: Query) -> list[dict[str, Any]]:
        """The best hits with their curves, where their frames or windows are there."""
        if not found.ids:
            return []
        ids = found.ids[:LISTED]
        owners, by_id = owners_of(found.view, ids), {hit.id: hit for hit in found.result}
        hits = {one: by_id[owners.get(one, one)] for one in ids if owners.get(one, one) in by_id}
        of_videos = timelines(run, query, [hit.id for hit in hits.values()])
        return listed(found, hits, {one: of_videos[hit.id] for one, hit in hits.items() if hit.id in of_videos})

    def _remember(self, ctx: foo.ExecutionContext, query: str) -> None:
        if len(query) > LONG:
            return
        key = f"history {ctx.dataset.name}"
        known = [old for old in ctx.store(STORE).get(key) or [] if old != query]
        history = [query, *known][:HISTORY]
        ctx.store(STORE).set(key, history)
        ctx.panel.state.set("history", history)

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        with self._drawing:
            return draw(self, ctx, _shown(ctx))


def _choose(ctx: foo.ExecutionContext, path: str, value: Any) -> None:
    """Sets an option, also for events that are on their way with a state of before."""
    shown = _shown(ctx)
    shown.options = {**shown.options, path: value}
    ctx.panel.state.set(path, value)


def _shown(ctx: foo.ExecutionContext) -> Shown:
    return shown_in(ctx.panel.state.get("page"), ctx.dataset.name if ctx.dataset is not None else None)


PANELS = (VideoSearchPanel,)
