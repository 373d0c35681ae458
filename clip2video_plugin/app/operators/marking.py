"""The operator that marks where in each video a sentence fits."""

from __future__ import annotations

from typing import Any

import fiftyone.core.collections as foc
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.marking import mark_all
from clip2video_plugin.app.operators.forms import ask_key, ask_number, wrong
from clip2video_plugin.app.operators.operation import Operation, described, show_view
from clip2video_plugin.app.operators.running import Running
from clip2video_plugin.app.operators.searching import asked, problem_of
from clip2video_plugin.app.search import DEFAULT_K, load_run
from clip2video_plugin.bounds import MAX_K


class MarkMoments(Operation):
    """Writes the moments of all hits of a sentence as temporal detections, and shows them as clips."""

    config = described(
        "mark_moments",
        "Mark the moments of a search",
        "Write where in each video a sentence fits, for all hits, and show the moments as clips",
        "movie_filter",
    )

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        inputs.str(
            "query",
            required=True,
            label="What happens in the video",
            description="a dog runs on the beach",
            **wrong(problem_of(ctx.params.get("query"), ctx)),
        )
        ask_key(inputs, ctx)
        ask_number(inputs, ctx, "k", default=DEFAULT_K, least=1, most=MAX_K, label="Number of videos")
        inputs.bool("thumbnails", default=True, label="Draw a picture of each moment")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        params, tell = ctx.params, Running(ctx)
        clips = mark_all(
            ctx.view,
            load_run(ctx.dataset, params.get("brain_key")),
            asked(params.get("query"), ctx),
            k=params.get("k", DEFAULT_K),
            thumbnails=params.get("thumbnails", True),
            progress=lambda done, total: tell(done, total),
        )
        show_view(ctx, clips)
        return {"moments": len(clips), "videos": len(clips.distinct("sample_id" if clips._is_clips else "id"))}

    def show(self, outputs: types.Object) -> None:
        outputs.int("moments", label="Moments, those of the best video first")
        outputs.int("videos", label="Videos")

    def __call__(self, samples: foc.SampleCollection, query: str, *, delegate: bool = False, **params: Any) -> Any:
        """From Python: ``foo.get_operator(URI + "/mark_moments")(view, "a sentence", k=10)``: how many were found."""
        return self.call(samples, {"query": query, **params}, delegate)
