"""What the Video search panel shows: texts, plots and pictures made of results."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from clip2video_plugin.app.moments import Timeline
from clip2video_plugin.app.search import Found
from clip2video_plugin.app.videos import captions_in, field_of_captions, path_of, video_of, videos_of
from clip2video_plugin.paths import printable
from clip2video_plugin.video import read_frames

CAPTIONS = 3  # best-matching captions shown
LONG = 300  # characters of a caption, a name or a query that are shown


def describe(found: Found) -> str:
    """One line on what was found."""
    if not found.ids:
        return f"No indexed video of this view fits the filters; {found.searched} are indexed."
    return f"**{len(found.ids)}** of {found.searched} videos, best score **{found.scores[0]:.3f}**"


def histogram(scores: list[float]) -> list[dict[str, Any]]:
    """A plotly bar chart of the scores."""
    if not scores:
        return []
    counts, edges = np.histogram(scores, bins=min(20, max(5, len(scores) // 2)))
    middle = ((edges[:-1] + edges[1:]) / 2).round(4)
    return [{"type": "bar", "x": middle.tolist(), "y": counts.tolist(), "marker": {"color": "#ff6d04"}}]


def curve(found: Timeline) -> list[dict[str, Any]]:
    """A plotly line of a video's scores over time."""
    x, y = found.times.round(3).tolist(), found.scores.astype(float).round(4).tolist()
    return [{"type": "scatter", "mode": "lines+markers", "x": x, "y": y, "line": {"color": "#ff6d04"}}]


def picture(path: str | Path, time: float) -> str:
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
        scores = run.get_model().model.encode_captions(texts[:1000]).vector.numpy() @ vectors[0]
        best = np.argsort(-scores)[:CAPTIONS]
        lines += [
            "",
            "Best-matching captions of this dataset:",
            *(f"- {scores[i]:.3f} {plain(texts[i])}" for i in best),
        ]
    return "\n".join(lines)


def plain(text: str, most: int = LONG) -> str:
    """Text as Markdown that shows just it, in one line, cut where it is long."""
    line = printable(" ".join(text.split()))
    cut = line if len(line) <= most else line[: most - 1] + "…"
    inside = re.sub(r"([\\`*_\[\]<>&~|#])", r"\\\1", cut)
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", inside)  # at the start of a line, what makes lists and headings
