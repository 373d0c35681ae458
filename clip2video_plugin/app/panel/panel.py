"""The Video search panel: type, and the grid shows the answer."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.moments import compute_frames, mark_moments, timeline
from clip2video_plugin.app.operators.forms import PANEL, URI
from clip2video_plugin.app.panel.layout import ANY, DEFAULT_K, TAG, draw
from clip2video_plugin.app.panel.memory import Shown, forget, remember, shown_in
from clip2video_plugin.app.panel.parts import LONG, about, curve, describe, histogram, picture, plain
from clip2video_plugin.app.search import brain_keys, find, load_run, narrowed
from clip2video_plugin.app.videos import path_of, video_of, videos_of
from clip2video_plugin.errors import Clip2VideoError, first_line

STORE = "clip2video"
HISTORY = 20  # queries that are remembered for each dataset


class VideoSearchPanel(foo.Panel):  # type: ignore[misc]
    """The page's state holds query, options, weight, warning, about, threshold, keep.tag, save.view_name, and the data
    of plots.

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
        field, how = plain(f"{run.key}_moments"), " as clips" if clips._is_clips else ""
        shown.say(f"{len(clips) if how else 'The'} moments are written to {field} and shown{how}")
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
            self._take_key(ctx)
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
        shown.say(f"{len(shown.ids)} videos are tagged {plain(tag)}")
        ctx.ops.reload_samples()

    def on_save(self, ctx: foo.ExecutionContext) -> None:
        shown, name = _shown(ctx), (ctx.panel.state.get("save.view_name") or "").strip()
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
            state.set("options.brain_key", keys[0] if keys else None)
        if keys:
            self._take_key(ctx)  # of the same name in another dataset, it is another model's
        state.set("history", ctx.store(STORE).get(f"history {ctx.dataset.name}") or [] if ctx.dataset else [])

    def _take_key(self, ctx: foo.ExecutionContext) -> None:
        """The model's own w, None where it has no alignment block, its warning, and what it says of itself; none of
        them where it cannot be loaded.
        """
        state = ctx.panel.state
        try:
            model = load_run(ctx.dataset, state.get("options.brain_key")).get_model().model
        except Clip2VideoError:
            for name in ("weight", "warning", "about"):
                state.set(name, None)
            return
        state.set("weight", model.config.center_weight if model.config.alignment != "none" else None)
        state.set("warning", model.warning)
        state.set("about", f"model {model.name}, {model.card.sentence}" if model.card.sentence else None)

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
        if len(query) > LONG:
            return
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
            return plain(str(error))

    def _timeline(self, ctx: foo.ExecutionContext) -> None:
        """Where in the selected video the query fits, or that its frames are needed for that."""
        shown, state = _shown(ctx), ctx.panel.state
        if not shown.query or not ctx.selected:
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
            state.set("threshold", found.threshold())

    def render(self, ctx: foo.ExecutionContext) -> types.Property:
        with self._drawing:
            return draw(self, ctx, _shown(ctx))


def _shown(ctx: foo.ExecutionContext) -> Shown:
    return shown_in(ctx.panel.state.get("page"), ctx.dataset.name if ctx.dataset is not None else None)


def _options(ctx: foo.ExecutionContext) -> tuple[str | None, int, str | None, str | None, float | None]:
    """Brain key, number, tag, length and weight of the page."""
    get = ctx.panel.state.get
    k, tag = int(get("options.k") or DEFAULT_K), (get("options.only_tag") or ANY)
    tag = tag.removeprefix(TAG) if tag.startswith(TAG) else None
    return get("options.brain_key"), k, tag, get("options.length") or ANY, get("weight")


def selected_video(ctx: foo.ExecutionContext) -> str:
    """Id of the sample selected last, of a clip that of its video; raises Clip2VideoError when it is no video."""
    chosen: str = ctx.selected[-1]
    if ctx.view._is_clips:
        chosen = str(ctx.view[chosen].sample_id)
    if not len(videos_of(ctx.dataset).select(chosen)):
        raise Clip2VideoError("the selected sample is no video")
    return chosen


PANELS = (VideoSearchPanel,)
