"""Operators that search: by a sentence, and by videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone.core.collections as foc
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.operators.forms import PANEL, ask_key, ask_number, refuse, wrong
from clip2video_plugin.app.operators.operation import Operation, described
from clip2video_plugin.app.roots import confined_query
from clip2video_plugin.app.search import DEFAULT_K, Found, find, query_of
from clip2video_plugin.bounds import MAX_K
from clip2video_plugin.errors import Clip2VideoError, QueryError
from clip2video_plugin.query import Query


class SearchVideos(Operation):
    """Shows the videos that fit a sentence best, in order."""

    config = described(
        "search_videos",
        "Search videos by a sentence",
        "Show the videos of this view that fit a sentence best",
        "search",
    )
    more = ("weight",)

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        inputs.str(
            "query",
            required=True,
            label="What happens in the video",
            description='a dog runs | a dog jumps --not "a stage" --then "a man sits" --where "duration<60"',
            **wrong(problem_of(ctx.params.get("query"), ctx)),
        )
        ask_key(inputs, ctx)
        ask_number(inputs, ctx, "k", default=DEFAULT_K, least=1, most=MAX_K, label="Number of results")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        params = ctx.params
        found = find(
            ctx.view,
            asked(params.get("query"), ctx),
            brain_key=params.get("brain_key"),
            k=params.get("k"),
            weight=params.get("weight"),
        )
        return show_hits(ctx, found)

    def show(self, outputs: types.Object) -> None:
        show_counts(outputs)

    def __call__(self, samples: foc.SampleCollection, query: str, *, delegate: bool = False, **params: Any) -> Any:
        """From Python: ``foo.get_operator(URI + "/search_videos")(view, "a sentence", k=10)``: ids and scores."""
        return self.call(samples, {"query": query, **params}, delegate)


class FindSimilarVideos(Operation):
    """Shows the videos that are most like the selected ones."""

    config = described(
        "find_similar_videos",
        "Find videos like the selected ones",
        "Show the videos that look and move most like the selected ones",
        "wallpaper",
    )
    more = ("samples",)

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        if not ctx.selected and not ctx.params.get("samples"):
            return refuse(inputs, "Select one or more videos first")
        ask_key(inputs, ctx)
        ask_number(inputs, ctx, "k", default=25, least=1, most=MAX_K, label="Number of results")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        found = find(
            ctx.view,
            like=ctx.params.get("samples") or ctx.selected or (),
            brain_key=ctx.params.get("brain_key"),
            k=ctx.params.get("k", 25),
        )
        return show_hits(ctx, found)

    def show(self, outputs: types.Object) -> None:
        show_counts(outputs)

    def __call__(
        self, view: foc.SampleCollection, samples: str | Sequence[str], *, delegate: bool = False, **params: Any
    ) -> Any:
        """From Python: the id of a sample, or the ids of several, to be like."""
        ids = samples if isinstance(samples, str) else list(samples)
        return self.call(view, {"samples": ids, **params}, delegate)


class OpenVideoSearch(foo.Operator):  # type: ignore[misc]
    """The button above the grid that opens the Video search panel."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="open_video_search", label="Open video search", icon="manage_search", unlisted=True
        )

    def resolve_placement(self, ctx: foo.ExecutionContext) -> types.Placement:
        button = types.Button(label="Video search", icon="manage_search", prompt=False)
        return types.Placement(types.Places.SAMPLES_GRID_ACTIONS, button)

    def execute(self, ctx: foo.ExecutionContext) -> None:
        ctx.ops.open_panel(PANEL, layout="horizontal", is_active=True)


def asked(line: Any, ctx: foo.ExecutionContext) -> Query:
    """The query of a line that somebody typed, 25 hits of it where the line does not say.

    Raises:
        QueryError: it cannot be read.
        Clip2VideoError: it names a file that the App may not read.
    """
    if not isinstance(line, str) or not line.strip():
        raise QueryError("type what happens in the video")
    return confined_query(query_of(line), ctx.dataset)


def problem_of(line: Any, ctx: foo.ExecutionContext) -> str | None:
    """Why a line cannot be asked, or None; a form is not wrong before anything is typed."""
    if not line:
        return None
    try:
        asked(line, ctx)
    except Clip2VideoError as error:
        return str(error)
    return None


def show_hits(ctx: foo.ExecutionContext, found: Found) -> dict[str, Any]:
    """Sets the grid to the hits, where there is a grid."""
    if not ctx.delegated:
        ctx.ops.clear_selected_samples()
        ctx.ops.set_view(found.view)
    return {
        **{"shown": len(found.ids), "searched": found.searched, "ids": found.ids, "scores": found.scores},
        "hits": found.result.to_dicts(),
    }


def show_counts(outputs: types.Object) -> None:
    outputs.int("shown", label="Videos shown, the best first")
    outputs.int("searched", label="Videos in the index")
