"""Operators that make, show and delete indexes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import fiftyone.core.collections as foc
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.brain import compute_clip2video
from clip2video_plugin.app.curate import fields_of_copies
from clip2video_plugin.app.marking import picture_field
from clip2video_plugin.app.operators.forms import ask_choice, ask_key, ask_model, wrong
from clip2video_plugin.app.operators.operation import Operation, described, show_view
from clip2video_plugin.app.operators.running import Running
from clip2video_plugin.app.search import brain_keys, load_run, score_field
from clip2video_plugin.app.videos import videos_of
from clip2video_plugin.embed import windows_of
from clip2video_plugin.errors import CheckpointError, Clip2VideoError, VideoIndexError
from clip2video_plugin.model.installed import find_checkpoint, read_card
from clip2video_plugin.paths import printable
from clip2video_plugin.report import Report
from clip2video_plugin.video.windows import AUTO, NONE, WindowPlan

BRAIN_KEY = "clip2video"
SHOWN_SAMPLINGS = {
    "uniform": "spread evenly over the video",
    "keyframes": "the key frames near those: fast for long videos",
    "reference": "those of the paper, MSR-VTT",
    "reference-5fps": "those of the paper, MSVD and VATEX",
}
CUSTOM, LONG = "custom", "5/2.5,10/5,15/5"
SHOWN_WINDOWS = {
    NONE: "none: a hit is a whole video",
    AUTO: "by the length of a video",
    CUSTOM: "sizes of your own",
}
SHOWN_DEVICES = {"auto": "the best there is", "cpu": "CPU", "cuda": "NVIDIA GPU", "mps": "Apple GPU"}
SHOWN = 20  # failures that are listed


class ComputeEmbeddings(Operation):
    """Embeds the videos of the dataset or view, so that they can be searched."""

    config = described(
        "compute_embeddings",
        "Compute CLIP2Video embeddings",
        "Make the videos of this dataset or view searchable by a sentence",
        "memory",
        default_choice_to_delegated=True,
    )
    needs = "videos"
    after = "Press the magnifier, or open Video search, and type"
    more = ("view_target",)

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        if ctx.view != ctx.dataset.view():
            inputs.view_target(ctx)
        key = ctx.params.get("brain_key", BRAIN_KEY)
        inputs.str(
            "brain_key",
            default=BRAIN_KEY,
            label="Brain key",
            description="Name of the index. An existing one is brought up to date",
            **wrong(problem_of_key(ctx.dataset, key)),
        )
        run = load_run(ctx.dataset, key) if key in brain_keys(ctx.dataset) else None
        ask_model(inputs, ctx, run)
        sampling, windows = "uniform", None
        if run is not None:
            with suppress(VideoIndexError):  # its vectors are gone, which is told when it is computed
                sampling, windows = run.table.provenance.policy, windows_of(run.table)
        ask_choice(inputs, ctx, "sampling", SHOWN_SAMPLINGS, label="Frames", default=sampling)
        ask_choice(inputs, ctx, "device", SHOWN_DEVICES, label="Device", default="auto")
        ask_windows(inputs, ctx, windows)

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        samples = ctx.target_view() if "view_target" in ctx.params else ctx.view
        seen, tell = list[Report](), Running(ctx)

        def progress(report: Report) -> None:
            seen[:] = [report]
            tell(report.done, report.total, made=report.embedded, failed=len(report.failed))

        device, windows = ctx.params.get("device", "auto"), ctx.params.get("windows")
        results = compute_clip2video(
            samples,
            brain_key=ctx.params.get("brain_key", BRAIN_KEY),
            model=ctx.params.get("model"),
            sampling=ctx.params.get("sampling"),
            windows=ctx.params.get("sizes") or LONG if windows == CUSTOM else windows,
            device=None if device == "auto" else device,
            progress=progress,
        )
        failed = seen[0].failed if seen else []
        show_view(ctx, None)
        return {
            "brain_key": results.key,
            "indexed": results.total_index_size,
            "failed": len(failed),
            "failures": "\n".join(printable(f"{f.path}: {f.reason}") for f in failed[:SHOWN]),
        }

    def show(self, outputs: types.Object) -> None:
        outputs.str("brain_key", label="Brain key")
        outputs.int("indexed", label="Videos that can be searched now")
        outputs.int("failed", label="Videos that could not be read")
        outputs.str("failures", label="Which, and why", view=types.TextFieldView(multiline=True, read_only=True))

    def __call__(self, samples: foc.SampleCollection, *, delegate: bool = False, **params: Any) -> Any:
        """From Python: ``foo.get_operator(URI + "/compute_embeddings")(dataset, brain_key=..., model=...)``."""
        return self.call(samples, params, delegate)


def ask_windows(inputs: types.Object, ctx: foo.ExecutionContext, now: WindowPlan | None) -> None:
    """Which windows long videos get: none, by length, or sizes that are typed. ``now`` are those of the run."""
    given, sizes = ctx.params.get("windows"), now.text if now and now.text != AUTO else LONG
    default = NONE if now is None else AUTO if now.text == AUTO else CUSTOM
    choices = dict(SHOWN_WINDOWS)
    with suppress(Clip2VideoError):  # from Python the sizes themselves
        choices |= {given: given} if isinstance(given, str) and WindowPlan.of(given) else {}
    ask_choice(inputs, ctx, "windows", choices, label="Windows of long videos", default=default)
    if (given or default) == CUSTOM:
        try:
            problem = None if WindowPlan.of(ctx.params.get("sizes", sizes)) else "no sizes are given"
        except Clip2VideoError as error:
            problem = str(error)
        inputs.str(
            "sizes",
            default=sizes,
            label="Sizes",
            description="Seconds/stride of each size",
            **wrong(problem),
        )


def problem_of_key(dataset: foc.SampleCollection, key: object) -> str | None:
    """Why a brain key cannot be used, or None."""
    if not isinstance(key, str) or not key.isidentifier():
        return f"{key!r} is no identifier; use letters, digits and _, such as {BRAIN_KEY}"
    if dataset.has_brain_run(key) and key not in brain_keys(dataset):
        return f"{key!r} is taken by another kind of run; choose another"
    return None


class DeleteIndex(Operation):
    """Deletes an index: its run, its vectors, and the fields of its searches."""

    config = described(
        "delete_index",
        "Delete a CLIP2Video index",
        "Delete a brain key, its vectors and scores; the videos stay",
        "delete",
    )

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        ask_key(inputs, ctx)
        inputs.view("what", types.Notice(label="Its vectors are deleted for good; the videos are not touched"))

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        run = load_run(ctx.dataset, ctx.params.get("brain_key"))
        key = run.key
        ctx.dataset.delete_brain_run(key)
        for field in (score_field(key), picture_field(key), *fields_of_copies(key)):
            if ctx.dataset.has_sample_field(field):
                ctx.dataset.delete_sample_field(field)
        show_view(ctx, None)
        return {"deleted": key}

    def show(self, outputs: types.Object) -> None:
        outputs.str("deleted", label="Deleted")

    def __call__(self, samples: foc.SampleCollection, brain_key: str, *, delegate: bool = False, **params: Any) -> Any:
        return self.call(samples, {"brain_key": brain_key, **params}, delegate)


class IndexInfo(Operation):
    """Says what is in an index."""

    config = described(
        "index_info",
        "About a CLIP2Video index",
        "Videos, model, weights, place and failures of an index",
        "info",
    )
    after = "About the index"

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        ask_key(inputs, ctx)

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        run = load_run(ctx.dataset, ctx.params.get("brain_key"))
        made, about = run.table.provenance, None
        with suppress(CheckpointError):
            about = read_card(find_checkpoint(run.config.checkpoint)[1]).sentence
        return {
            "brain_key": run.key,
            "videos": f"{run.total_index_size} of {len(videos_of(ctx.dataset))}",
            "model": made.model,
            "about": about or "",
            "weights": made.sha256,
            "frames": f"{made.count}, {made.policy}",
            "windows": f"{parts.count()}, {parts.window_sizes()}" if (parts := run.table.windows()) else NONE,
            "place": run.config.uri,
        }

    def show(self, outputs: types.Object) -> None:
        for name, label in (
            ("brain_key", "Brain key"),
            ("videos", "Indexed videos"),
            ("model", "Model"),
            ("about", "About the model"),
            ("weights", "SHA-256 of its weights"),
            ("frames", "Frames of each video"),
            ("windows", "Windows"),
            ("place", "Kept in"),
        ):
            outputs.str(name, label=label)

    def __call__(self, samples: foc.SampleCollection, brain_key: str, *, delegate: bool = False, **params: Any) -> Any:
        return self.call(samples, {"brain_key": brain_key, **params}, delegate)
