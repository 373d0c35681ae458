"""Operators that look after a library: copies of videos, captions that may be wrong, captions that fit."""

from __future__ import annotations

from typing import Any

import fiftyone.core.collections as foc
import fiftyone.operators as foo
from fiftyone.operators import types

from clip2video_plugin.app.curate import audit_captions, find_duplicates, nearest_captions
from clip2video_plugin.app.operators.forms import ask_key, ask_number, refuse, wrong
from clip2video_plugin.app.operators.operation import Operation, described, show_view
from clip2video_plugin.app.operators.running import Running
from clip2video_plugin.app.videos import field_of_captions, videos_of
from clip2video_plugin.bounds import MAX_K
from clip2video_plugin.query.tracks import SAME


class FindDuplicates(Operation):
    """Shows the videos that are copies of each other, group by group."""

    config = described(
        "find_duplicates",
        "Find copies of videos",
        "Encoded anew, scaled, trimmed, mirrored, parts of longer ones; and those that splits share",
        "file_copy",
    )

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        ask_key(inputs, ctx)
        by, least = ctx.params.get("by"), ctx.params.get("least")
        known = not by or by == "folder" or videos_of(ctx.dataset).has_field(by)
        inputs.str(
            "by",
            label="Splits",
            description="To find copies that two splits share: tags, folder, or the field that names the split",
            **wrong(None if known else f"by is {by!r}; allowed are tags, folder, and a field"),
        )
        fits = least is None or (isinstance(least, int | float) and not isinstance(least, bool) and 0 <= least <= 1)
        inputs.float(
            "least",
            default=SAME,
            label="Cosine from which two videos are copies",
            **wrong(None if fits else f"least is {least!r}; it must lie in [0, 1]"),
        )
        inputs.bool("read", default=False, label="Read the videos that an earlier version indexed, which takes a while")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        params, tell = ctx.params, Running(ctx, unit="pairs")
        copies = find_duplicates(
            ctx.view,
            brain_key=params.get("brain_key"),
            by=params.get("by") or None,
            least=SAME if params.get("least") is None else params["least"],
            read=bool(params.get("read")),
            progress=lambda done, total: tell(done, total),
        )
        found = copies.found
        show_view(ctx, copies.view if found.groups else None)
        return {
            "groups": len(found.groups),
            "videos": sum(len(group.videos) for group in found.groups),
            "searched": found.searched,
            "leaks": found.leaks,
            "without": found.without,
            "blank": found.blank,
            "ids": [[video.id for video in group.videos] for group in found.groups],
        }

    def show(self, outputs: types.Object) -> None:
        outputs.int("groups", label="Groups of copies")
        outputs.int("videos", label="Videos in them")
        outputs.int("searched", label="Videos compared")
        outputs.int("leaks", label="Pairs that lie in two splits")
        outputs.int("without", label="Videos of an earlier version, to be read first")
        outputs.int("blank", label="Videos that show too little to be compared")

    def __call__(self, samples: foc.SampleCollection, *, delegate: bool = False, **params: Any) -> Any:
        """From Python: ``foo.get_operator(URI + "/find_duplicates")(dataset, by="tags")``: counts, and ids by group."""
        return self.call(samples, params, delegate)


class AuditCaptions(Operation):
    """Shows the videos with captions that find another video first."""

    config = described(
        "audit_captions",
        "Audit captions",
        "Show the videos of this view whose captions find other videos first: they may be wrong",
        "fact_check",
    )

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        ask_key(inputs, ctx)
        _ask_captions(inputs, ctx)
        ask_number(inputs, ctx, "k", default=50, least=1, most=MAX_K, label="Number of videos")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        params = ctx.params
        found = audit_captions(
            ctx.view,
            brain_key=params.get("brain_key"),
            captions_field=params.get("captions"),
            k=params.get("k", 50),
            progress=Running(ctx, unit="captions"),
        )
        show_view(ctx, found.view if found.captions else None)
        return {
            "low": len(found.captions),
            "worst": "\n".join(f"rank {one.rank:g}: {one.caption}" for one in found.captions),
            "captions": [[one.caption, one.id, one.rank, one.rival] for one in found.captions],
        }

    def show(self, outputs: types.Object) -> None:
        outputs.int("low", label="Captions that find another video first")
        outputs.str("worst", label="The worst first", view=types.TextFieldView(multiline=True, read_only=True))

    def __call__(self, samples: foc.SampleCollection, *, delegate: bool = False, **params: Any) -> Any:
        """From Python: ``captions`` of the result has text, sample, rank and best other sample of each."""
        return self.call(samples, params, delegate)


class NearestCaptions(Operation):
    """Shows the captions of the dataset that fit a video best."""

    config = described(
        "nearest_captions",
        "Captions that fit the selected video",
        "Show the captions of this view that fit the selected video best",
        "notes",
    )
    more = ("sample",)

    def ask(self, inputs: types.Object, ctx: foo.ExecutionContext) -> None:
        if not ctx.params.get("sample") and len(ctx.selected or ()) != 1:
            return refuse(inputs, "Select one video first")
        ask_key(inputs, ctx)
        _ask_captions(inputs, ctx)
        ask_number(inputs, ctx, "k", default=10, least=1, most=MAX_K, label="Number of captions")

    def execute(self, ctx: foo.ExecutionContext) -> dict[str, Any]:
        params, tell = ctx.params, Running(ctx, unit="captions")
        found = nearest_captions(
            ctx.view,
            params.get("sample") or ctx.selected[0],
            brain_key=params.get("brain_key"),
            k=params.get("k", 10),
            captions_field=params.get("captions"),
            progress=tell,
        )
        lines = (f"{fit.score:.3f}  {fit.caption}{'  (its own)' if fit.own else ''}" for fit in found)
        return {"shown": "\n".join(lines), "captions": [[fit.caption, fit.score, fit.own] for fit in found]}

    def show(self, outputs: types.Object) -> None:
        outputs.str("shown", label="The best first", view=types.TextFieldView(multiline=True, read_only=True))

    def __call__(self, samples: foc.SampleCollection, sample: str, *, delegate: bool = False, **params: Any) -> Any:
        """From Python: ``captions`` of the result has text, score and whether it is the video's own."""
        return self.call(samples, {"sample": sample, **params}, delegate)


def _ask_captions(inputs: types.Object, ctx: foo.ExecutionContext) -> None:
    usual = field_of_captions(videos_of(ctx.dataset))
    field = ctx.params.get("captions") or usual
    absent = not videos_of(ctx.dataset).has_field(field)
    refusal = f"there is no field {field!r}" if absent else None
    inputs.str("captions", default=usual, label="Field of captions", **wrong(refusal))
