"""The best hits as the page lists them: plain values, which it shows as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone.core.collections as foc
import fiftyone.core.media as fom
import numpy as np
from bson import ObjectId

from clip2video_plugin.app.moments import Timeline
from clip2video_plugin.app.panel.parts import line
from clip2video_plugin.app.search import Found
from clip2video_plugin.app.videos import FRAMES_FIELD, captions_in, field_of_captions, is_missing, name_of
from clip2video_plugin.index import Hit

LISTED = 25  # hits that the panel lists; the grid shows all
POINTS = 150  # of a curve, for which the page has not many more pixels


def listed(found: Found, hits: Mapping[str, Hit], curves: Mapping[str, Timeline]) -> list[dict[str, Any]]:
    """The best hits, but for those that were deleted since; ``hits`` and ``curves`` by id of what the grid shows."""
    ids, scores = found.ids[:LISTED], dict(zip(found.ids, found.scores, strict=True))
    shown = found.view.select(ids, ordered=True)
    fields = ["id", "filepath"]
    captions = field_of_captions(shown)
    fields += [name for name in (captions, FRAMES_FIELD) if shown.has_field(name)]
    rows = [dict(zip(fields, row, strict=True)) for row in zip(*shown.values(fields), strict=True)]
    return [_row(rank, scores[row["id"]], row, captions, found, hits, curves) for rank, row in enumerate(rows, start=1)]


def _row(
    rank: int,
    score: float,
    row: Mapping[str, Any],
    captions: str,
    found: Found,
    hits: Mapping[str, Hit],
    curves: Mapping[str, Timeline],
) -> dict[str, Any]:
    id, path = row["id"], row.get(FRAMES_FIELD) or row["filepath"]
    hit = hits.get(id)
    curve = curves.get(id)
    said = captions_in(row.get(captions)) if captions in row else []
    return {
        "id": id,
        "rank": rank,
        "name": line(name_of(path)),
        "path": line(path),
        "media": row["filepath"],
        "picture": bool(row.get(FRAMES_FIELD)) or found.view.media_type == fom.IMAGE,
        "caption": line(said[0]) if said else None,
        "score": round(score, 6),
        "confidence": hit.confidence if hit else None,
        "matched": hit.matched if hit else "vector",
        "start": hit.start if hit else None,
        "end": hit.end if hit else None,
        "duration": hit.duration if hit else None,
        "moments": [[span.start, span.end] for span in hit.moments] if hit else [],
        "missing": is_missing(path),
        "curve": curve_of(curve) if curve is not None else None,
    }


def curve_of(found: Timeline) -> dict[str, Any]:
    """Scores over time, of a long video the best of each stretch."""
    times, scores = found.times, found.scores
    starts = np.arange(0, len(times), -(-len(times) // POINTS))
    scores = np.maximum.reduceat(scores, starts)
    if found.curve is None:
        times = times[starts]
    else:  # each from edge to edge
        times, scores = np.repeat([*found.curve.edges[starts], found.duration], 2)[1:-1], np.repeat(scores, 2)
    return {
        "times": times.round(2).tolist(),
        "scores": scores.astype(float).round(3).tolist(),
        "duration": round(found.duration, 3),
    }


def named(samples: foc.SampleCollection, ids: Sequence[str]) -> dict[str, str]:
    """Names of files by id, for those of ``ids`` that are of samples."""
    shown = samples.select([i for i in ids if ObjectId.is_valid(i)])
    return {i: line(name_of(path)) for i, path in zip(*shown.values(["id", "filepath"]), strict=True)}
