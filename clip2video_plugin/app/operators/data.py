"""Operators around a search: importing videos, evaluating, sampling frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import fiftyone as fo
import fiftyone.core.collections as foc
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.evaluate import evaluate, worst_failures
from clip2video_plugin.app.operators.forms import ask_choice, ask_key, ask_number, wrong
from clip2video_plugin.app.operators.operation import Operation, described
from clip2video_plugin.app.operators.running import Running
from clip2video_plugin.app.roots import confined
from clip2video_plugin.app.videos import field_of_captions, items_of, videos_of
from clip2video_plugin.datasets.protocols import Split
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.evaluation.report import METRICS
from clip2video_plugin.evaluation.retrieval import Ties
from clip2video_plugin.paths import printable
from clip2video_plugin.video.extract import extract_frames

KINDS = {"folder": "a folder of captioned videos", "msrvtt": "MSR-VTT", "msvd": "MSVD", "vatex": "VATEX"}


DEPTH = 100  # levels of an imported folder whose links must not lead out of the roots


def problem_of_folder(ctx: foo.ExecutionContext, name: str, *, there: bool = False) -> str | None:
    """Why a folder that is asked for cannot be used, or None; it may have to be ``there``."""
    folder = ctx.params.get(name)
    if not folder:
        return None
    try:
        path = confined(folder, ctx.dataset)
    except Clip2VideoError as error:
        return str(error)
    return f"there is no folder {printable(folder)}" if there and not path.is_dir() else None


class ImportVideos(Operation):
    """Imports a benchmark or a folder of captioned videos as a new dataset."""

    config = described(
        "import_videos",
        "Import videos with captions",
        "Make a dataset of a folder of captioned videos, or of MSR-VTT, MSVD or VATEX",
        "upload",
    )
    needs = "nothing"
    more = ("split", "protocol")

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        ask_choice(inputs, ctx, "kind", KINDS, label="What", default="folder")
        inputs.str(
            "folder",
            required=True,
            label="Folder",
            description="With the videos and their captions, on the machine that the App runs on",
            **wrong(problem_of_folder(ctx, "folder", there=True)),
        )
        name = ctx.params.get("name")
        taken = isinstance(name, str) and fo.dataset_exists(name)
        inputs.str(
            "name",
            required=True,
            label="Name of the new dataset",
            **wrong(f"there is a dataset {name!r} already" if taken else None),
        )
        if ctx.params.get("kind", "folder") != "folder":
            ask_choice(inputs, ctx, "split", {split: split for split in get_args(Split)}, label="Split", default="test")
            inputs.str("protocol", label="Protocol", description="1k-a, 7k, full; msvd; vatex-1k5, vatex-hgr")
        # The App keeps what was filled in before another kind was chosen

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        from clip2video_plugin.datasets import import_dataset

        params = ctx.params
        folder = confined(params["folder"], ctx.dataset, depth=DEPTH)
        options: dict[str, Any] = {}
        if params.get("kind", "folder") != "folder":
            options = {"splits": [params.get("split", "test")], "protocol": params.get("protocol") or None}
        dataset = import_dataset(
            params.get("kind", "folder"), folder, name=params["name"], progress=Running(ctx), **options
        )
        if not ctx.delegated:
            ctx.ops.open_dataset(dataset.name)
        warnings = [f"{count} {kind}" for kind, count in dataset.info.get("warnings", {}).items()]
        missing = len(dataset.info.get("missing", ()))
        return {
            "dataset": dataset.name,
            "videos": len(dataset),
            "notes": "\n".join([*([f"{missing} videos are not there"] if missing else []), *warnings]),
        }

    def show(self, outputs: types.Object) -> None:
        outputs.str("dataset", label="Dataset")
        outputs.int("videos", label="Videos")
        outputs.str("notes", label="Notes", view=types.TextFieldView(multiline=True, read_only=True))

    def __call__(self, kind: str, folder: str, name: str, *, delegate: bool = False, **params: Any) -> Any:
        return self.call(None, {"kind": kind, "folder": str(folder), "name": name, **params}, delegate)


class EvaluateRetrieval(Operation):
    """Evaluates a run on the captions of the view; ranks become fields."""

    config = described(
        "evaluate_retrieval",
        "Evaluate CLIP2Video retrieval",
        "Recall at 1, 5 and 10 on the captions of this view; ranks and rivals become fields",
        "leaderboard",
    )

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        ask_key(inputs, ctx)
        usual = field_of_captions(videos_of(ctx.dataset))
        field = ctx.params.get("captions", usual)
        absent = not ctx.dataset.has_sample_field(field)
        inputs.str(
            "captions",
            default=usual,
            label="Field of captions",
            **wrong(f"there is no field {field!r}" if absent else None),
        )
        ask_choice(inputs, ctx, "ties", {rule: rule for rule in get_args(Ties)}, label="Ties", default="strict")
        inputs.bool("worst", default=True, label="Show the worst failures afterwards")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        params = ctx.params
        if not params.get("brain_key"):
            raise Clip2VideoError("name the brain key to evaluate")
        result = evaluate(
            ctx.view,
            brain_key=params["brain_key"],
            captions_field=params.get("captions"),
            ties=params.get("ties", "strict"),
            allow_incomplete=True,
            progress=Running(ctx, unit="captions"),
        )
        if params.get("worst") and not ctx.delegated:
            ctx.ops.reload_dataset()
            ctx.ops.set_view(worst_failures(ctx.view, params["brain_key"]))
        rows = {f"{way} {metric}": getattr(result, way)[metric] for way in ("t2v", "v2t") for metric in METRICS}
        return {**{name.replace("@", "_at_").replace(" ", "_"): value for name, value in rows.items()},
                "note": result.not_comparable or ""}  # fmt: skip

    def show(self, outputs: types.Object) -> None:
        for way, label in (("t2v", "text to video"), ("v2t", "video to text")):
            for metric in METRICS:
                outputs.float(f"{way}_{metric.replace('@', '_at_')}", label=f"{metric}, {label}")
        outputs.str("note", label="Note")

    def __call__(self, samples: foc.SampleCollection, brain_key: str, *, delegate: bool = False, **params: Any) -> Any:
        return self.call(samples, {"brain_key": brain_key, **params}, delegate)


class SampleFrames(Operation):
    """Writes frames of the videos in view as JPEG files, a folder each."""

    config = described(
        "sample_frames",
        "Sample frames of videos",
        "Write frames of each video in this view to a folder of JPEG files",
        "burst_mode",
    )
    needs = "videos"

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        inputs.str(
            "output",
            required=True,
            label="Folder",
            description="Gets a folder of JPEG files for each video",
            **wrong(problem_of_folder(ctx, "output")),
        )
        ask_number(inputs, ctx, "fps", default=5, least=1, most=100, label="Frames a second")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        output = confined(ctx.params["output"], ctx.dataset, depth=1)
        paths, tell = [i.path for i in items_of(videos_of(ctx.view)) if isinstance(i.path, Path)], Running(ctx)
        report = extract_frames(
            paths,
            output,
            fps=float(ctx.params.get("fps", 5)),
            progress=lambda done, failed: tell(done, len(paths), failed=failed),
        )
        return {
            "videos": report.written + report.skipped,
            "failed": len(report.failed),
            "failures": "\n".join(printable(f"{path}: {reason}") for path, reason in report.failed),
        }

    def show(self, outputs: types.Object) -> None:
        outputs.int("videos", label="Videos")
        outputs.int("failed", label="Videos that could not be read")
        outputs.str("failures", label="Which, and why", view=types.TextFieldView(multiline=True, read_only=True))

    def __call__(self, samples: foc.SampleCollection, output: str, *, delegate: bool = False, **params: Any) -> Any:
        return self.call(samples, {"output": str(output), **params}, delegate)
