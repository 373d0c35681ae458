"""Texts and pictures of the Video search panel, made from results."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from clip2video_plugin.app.panel.line import ANY
from clip2video_plugin.app.panel.memory import Shown
from clip2video_plugin.app.search import Found
from clip2video_plugin.app.sentences import vectors_of
from clip2video_plugin.app.videos import captions_in, field_of_captions, path_of, video_of, videos_of
from clip2video_plugin.counted import counted
from clip2video_plugin.paths import printable
from clip2video_plugin.places import Place
from clip2video_plugin.video import read_frames

CAPTIONS = 3  # best-matching captions shown
LONG = 300  # characters of a caption, a name or a query that are shown
WAYS = (  # to ask
    "a dog runs",
    "a dog runs | a dog jumps",
    'a dog runs --then "a man sits down"',
    'a dog runs --not "a stage" --where "duration<60"',
)


def describe(found: Found) -> str:
    """One line on what was found."""
    if not found.ids and found.result.refused is not None:
        return f"Nothing matches among {counted(found.searched, 'video')}."
    if not found.ids:
        return f"No indexed video of this view fits the filters; {found.searched} are indexed."
    dropped = sum(one.dropped for one in found.result.dropped)
    left_out = f", {dropped} left out by not" if dropped else ""
    notes = "".join(f"; {plain(note)}" for note in found.result.notes)
    of = counted(found.searched, "video")
    return f"**{len(found.ids)}** of {of}, best score **{found.scores[0]:.3f}**{left_out}{notes}"


def moved(found: Found) -> str | None:
    """One line on hits that cannot be played."""
    if not found.missing:
        return None
    return f"{len(found.missing)} of these videos are not where the dataset says, the first is {found.missing[0]}"


def nothing(shown: Shown) -> dict[str, Any]:
    """What the panel shows if there are no hits: how to ask, or why there are none."""
    if shown.asked is None:
        return {"title": "What happens in the video?", "lines": list(WAYS), "anyway": False}
    lines, least = [], shown.asked["min_confidence"]
    if least:
        best = "" if shown.refused is None else f", the best with {shown.refused:.0%}"
        lines.append(f"No video is right with a probability of {least:.0%} or more{best}.")
    if any(chip["kind"] == "where" for chip in shown.chips) or shown.asked["tag"] or shown.asked["length"] != ANY:
        lines.append("The filters leave few videos, or none.")
    if any(chip["kind"] == "without" for chip in shown.chips):
        lines.append("Everything found fits what is not wanted; move its threshold up in the options.")
    return {"title": "Nothing matches", "lines": lines or ["No video of this view is indexed."], "anyway": bool(least)}


def picture(path: Place, time: float) -> str:
    """The frame that is on show at a time, as a JPEG data URL; raises VideoReadError."""
    frame = read_frames(path, count=1, start=max(time, 0.0) or None, end=time + 1e-3, size=320).pixels[0]
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def about(dataset: fo.Dataset, run: Any, sample_id: str) -> str:
    """Markdown: a sample's captions, and its best-matching captions among those of the dataset, with scores."""
    samples, sample = videos_of(dataset), video_of(dataset, sample_id)
    lines = [f"**{plain(path_of(sample).name)}**"]
    field = field_of_captions(samples)
    if not samples.has_field(field):
        return lines[0]
    own = captions_in(sample[field])
    lines += [f"- {plain(text)}" for text in own[:CAPTIONS]] or ["no captions"]
    vectors, found, _ = run.get_embeddings([sample_id])
    if not len(found):
        return "\n".join([*lines, "", "not indexed under this brain key"])
    texts = sorted({text for value in samples.limit(500).values(field) for text in captions_in(value)})
    if texts:
        scores = vectors_of(texts[:1000], run.get_model().model) @ vectors[0]
        best = np.argsort(-scores)[:CAPTIONS]
        lines += [
            "",
            "Best-matching captions of this dataset:",
            *(f"- {scores[i]:.3f} {plain(texts[i])}" for i in best),
        ]
    return "\n".join(lines)


def plain(text: str, most: int = LONG) -> str:
    """Text as Markdown that shows just it, in one line, cut where it is long."""
    inside = re.sub(r"([\\`*_\[\]<>&~|#])", r"\\\1", line(text, most))
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", inside)  # at the start of a line, what makes lists and headings


def line(text: str, most: int = LONG) -> str:
    """Text in one line without control characters, cut where it is long, for a page that shows it as text."""
    whole = printable(" ".join(str(text).split()))
    return whole if len(whole) <= most else whole[: most - 1] + "…"
