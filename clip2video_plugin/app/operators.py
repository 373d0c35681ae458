"""Operators of the FiftyOne plugin. Loaded by the App from fiftyone.yml, so imports are absolute."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.brain import compute_clip2video
from clip2video_plugin.embed import Report
from clip2video_plugin.model.checkpoint import EMBEDDED, installed_checkpoints

BRAIN_KEY = "clip2video"


class IndexVideos(foo.Operator):  # type: ignore[misc]
    """Indexes the dataset, or the view, so that the App's magnifier can search it by a sentence."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="index_videos",
            label="Index videos with CLIP2Video",
            description="Make the videos of this dataset searchable by a sentence",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: foo.ExecutionContext) -> types.Property:
        inputs = types.Object()
        if ctx.dataset is None or ctx.dataset.media_type != "video":
            inputs.view("refusal", types.Warning(label="This is no dataset of videos"))
            inputs.str("none", view=types.HiddenView(), required=True, invalid=True)
            return types.Property(inputs)
        if ctx.view != ctx.dataset.view():
            inputs.view_target(ctx)
        inputs.str("brain_key", default=BRAIN_KEY, required=True, label="Brain key", description="Name of the index")
        names = types.DropdownView()
        for name, folder in installed_checkpoints().items():
            names.add_choice(name, label=name, description=str(folder))
        inputs.enum("model", names.values(), default=EMBEDDED, required=True, view=names, label="Model")
        return types.Property(inputs, view=types.View(label="Index videos with CLIP2Video"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        samples = ctx.target_view() if "view_target" in ctx.params else ctx.view
        total = max(len(samples), 1)

        def progress(report: Report) -> None:
            label = f"{report.done} of {total}, {len(report.failed)} failed"
            ctx.set_progress(progress=report.done / total, label=label)

        results = compute_clip2video(
            samples, brain_key=ctx.params["brain_key"], model=ctx.params.get("model"), progress=progress
        )
        return {"brain_key": ctx.params["brain_key"], "indexed": results.total_index_size}

    def resolve_output(self, ctx: foo.ExecutionContext) -> types.Property:
        outputs = types.Object()
        outputs.str("brain_key", label="Brain key")
        outputs.int("indexed", label="Videos that can be searched now")
        return types.Property(outputs, view=types.View(label="Press the magnifier and type a sentence"))


def register(plugin: Any) -> None:
    """Called by FiftyOne's plugin loader."""
    plugin.register(IndexVideos)
