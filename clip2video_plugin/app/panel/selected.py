"""What the panel shows of the selected video: its captions, and where in it the query fits."""

from __future__ import annotations

import fiftyone.operators as foo

from clip2video_plugin.app.moments import timeline
from clip2video_plugin.app.panel.hits import curve_of, named
from clip2video_plugin.app.panel.memory import Shown
from clip2video_plugin.app.panel.parts import about, plain
from clip2video_plugin.app.search import load_run
from clip2video_plugin.app.videos import all_samples, owners_of, video_of, videos_of
from clip2video_plugin.errors import Clip2VideoError

SELECTED = 20  # samples that are offered to be alike


def look_at(ctx: foo.ExecutionContext, shown: Shown) -> None:
    """Takes over the page's selection. The panel shows the video that was selected last."""
    shown.forget_selection()
    ids = list(ctx.selected[-SELECTED:])
    owners = owners_of(ctx.view, ids)
    videos = [owners.get(i, i) for i in ids]
    names = named(all_samples(ctx.dataset), videos)
    shown.selected = [{"id": i, "video": v, "name": names[v]} for i, v in zip(ids, videos, strict=True) if v in names]
    if not ctx.selected:
        return
    try:
        run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
        shown.sample = about(ctx.dataset, run, selected_video(ctx))
    except Clip2VideoError as error:
        shown.sample = plain(str(error))
    look_where(ctx, shown)


def look_where(ctx: foo.ExecutionContext, shown: Shown) -> None:
    """Shows where in the selected video the query fits, or that its frames must be embedded for that."""
    if not shown.query or not shown.query.prompts or not ctx.selected:
        return
    try:
        run = load_run(ctx.dataset, ctx.panel.state.get("options.brain_key"))
        found = timeline(run, video_of(ctx.dataset, selected_video(ctx)), shown.query)
    except Clip2VideoError as error:
        shown.error = str(error)
        return
    shown.needs_frames = found is None
    if found is not None:
        shown.curve = curve_of(found)
        ctx.panel.state.set("threshold", found.threshold())


def selected_video(ctx: foo.ExecutionContext) -> str:
    """Id of the sample selected last, of a clip that of its video; raises Clip2VideoError when it is no video."""
    chosen: str = ctx.selected[-1]
    chosen = owners_of(ctx.view, [chosen]).get(chosen, chosen)  # the panel's hits may be no clips of the view
    if not len(videos_of(ctx.dataset).select(chosen)):
        raise Clip2VideoError("the selected sample is no video")
    return chosen
