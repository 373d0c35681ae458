"""Operators that search: by a sentence, and by videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone.core.collections as foc
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.operators.forms import PANEL, ask_key, ask_number, form, refuse, refused, wrong
from clip2video_plugin.app.operators.indexing import call
from clip2video_plugin.app.roots import confined_query
from clip2video_plugin.app.search import DEFAULT_K, Found, find, query_of
from clip2video_plugin.bounds import MAX_K
from clip2video_plugin.errors import Clip2VideoError, QueryError
from clip2video_plugin.query import Query


class SearchVideos(foo.Operator):  # type: ignore[misc]
    """Shows the videos that fit a sentence best, in order."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="search_videos",
            label="Search videos by a sentence",
            description="Show the videos of this view that fit a sentence best",
            icon="search",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        inputs = types.Object()
        if refused(inputs, ctx, indexed=True):
            return types.Property(inputs)
        inputs.str(
            "query",
            required=True,
            label="What happens in the video",
            description='a dog runs | a dog jumps --not "a stage" --then "a man sits" --where "duration<60"',
            **wrong(problem_of(ctx.params.get("query"), ctx)),
        )
        ask_key(inputs, ctx)
        ask_number(inputs, ctx, "k", default=DEFAULT_K, least=1, most=MAX_K, label="Number of results")
        return form(inputs, ctx, "Search videos by a sentence", "weight")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        params = ctx.params
        found = find(
            ctx.view,
            asked(params.get("query"), ctx),
            brain_key=params.get("brain_key"),
            k=params.get("k"),
            weight=params.get("weight"),
        )
        return show(ctx, found)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        return results_shown()

    def __call__(self, samples: foc.SampleCollection, query: str, *, delegate: bool = False, **params: Any) -> Any:
        """From Python: ``foo.get_operator(URI + "/search_videos")(view, "a sentence", k=10)``: ids and scores."""
        return call(self, samples, {"query": query, **params}, delegate)


class FindSimilarVideos(foo.Operator):  # type: ignore[misc]
    """Shows the videos that are most like the selected ones."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="find_similar_videos",
            label="Find videos like the selected ones",
            description="Show the videos that look and move most like the selected ones",
            icon="wallpaper",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        inputs = types.Object()
        if refused(inputs, ctx, indexed=True):
            return types.Property(inputs)
        if not ctx.selected and not ctx.params.get("samples"):
            refuse(inputs, "Select one or more videos first")
            return types.Property(inputs)
        ask_key(inputs, ctx)
        ask_number(inputs, ctx, "k", default=25, least=1, most=MAX_K, label="Number of results")
        return form(inputs, ctx, "Find videos like the selected ones", "samples")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        found = find(
            ctx.view,
            like=ctx.params.get("samples") or ctx.selected or (),
            brain_key=ctx.params.get("brain_key"),
            k=ctx.params.get("k", 25),
        )
        return show(ctx, found)

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        return results_shown()

    def __call__(
        self, view: foc.SampleCollection, samples: str | Sequence[str], *, delegate: bool = False, **params: Any
    ) -> Any:
        """From Python: the id of a sample, or the ids of several, to be like."""
        ids = samples if isinstance(samples, str) else list(samples)
        return call(self, view, {"samples": ids, **params}, delegate)


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


def show(ctx: foo.ExecutionContext, found: Found) -> dict[str, Any]:
    """Sets the grid to the hits, where there is a grid."""
    if not ctx.delegated:
        ctx.ops.clear_selected_samples()
        ctx.ops.set_view(found.view)
    return {
        **{"shown": len(found.ids), "searched": found.searched, "ids": found.ids, "scores": found.scores},
        "hits": found.result.to_dicts(),
    }


def results_shown() -> types.Property:
    outputs = types.Object()
    outputs.int("shown", label="Videos shown, the best first")
    outputs.int("searched", label="Videos in the index")
    return types.Property(outputs)
