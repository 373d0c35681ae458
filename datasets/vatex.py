"""VATEX's annotation layouts (the official list, and the circulated objects of captions)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clip2video_plugin.datasets.annotations import (
    Annotation,
    AnnotationError,
    Warnings,
    add_captions,
    check_id,
    read_json,
    read_text,
)

ID = re.compile(r"[\w-]{11}_\d{6}_\d{6}", re.ASCII)
EXPECTED = "a list of {videoID, enCap}, an object of id to {enCap} or to captions, or a list of {video_id, desc}"
TRAIN, VALIDATION, HALF = 25_991, 3_000, 1_500


def read_annotations(paths: Iterable[Path], warnings: Warnings) -> tuple[dict[str, Annotation], list[list[str]]]:
    """Videos by id, and the ids of each file in its order.

    Raises:
        AnnotationError: a file has none of the layouts, an id is not VATEX's, or two files contradict each other.
    """
    videos: dict[str, Annotation] = {}
    orders: list[list[str]] = []
    for path in paths:
        order = []
        for video_id, english, chinese in _records(read_json(path, EXPECTED), path, warnings):
            check_id(video_id, ID, path)
            start, end = (float(part) for part in video_id.rsplit("_", 2)[1:])
            found = Annotation(
                video_id,
                start=start if start < end else None,
                end=end if start < end else None,
                source_url=f"https://www.youtube.com/watch?v={video_id[:11]}",
            )
            add_captions(found, english, warnings)
            found.captions_zh = [t for t in chinese if isinstance(t, str)] if isinstance(chinese, list) else []
            known = videos.get(video_id)
            if known is not None:
                if known.captions != found.captions:
                    raise AnnotationError(f"{path}: {video_id} is there twice, with different captions")
                warnings["repeated records"] += 1
                continue
            videos[video_id] = found
            order.append(video_id)
        orders.append(order)
    return videos, orders


def _records(value: Any, path: Path, warnings: Warnings) -> Iterable[tuple[str, Any, Any]]:
    """(id, English captions, Chinese captions or None) of any layout."""
    if isinstance(value, dict):
        for video_id, entry in value.items():
            if isinstance(entry, dict):
                yield video_id, entry.get("enCap"), entry.get("chCap")
            else:
                yield video_id, entry, None
        return
    if not isinstance(value, list):
        raise AnnotationError(f"{path} holds a {type(value).__name__}; expected {EXPECTED}")
    descriptions: dict[str, list[Any]] = {}
    for row in value:
        if not isinstance(row, dict):
            warnings["records that are no object"] += 1
        elif "videoID" in row:
            yield row["videoID"], row.get("enCap", []), row.get("chCap")
        elif "video_id" in row:
            desc = row.get("desc")
            descriptions.setdefault(str(row["video_id"]), []).extend(desc if isinstance(desc, list) else [desc])
        else:
            raise AnnotationError(f"{path} has a record without videoID; expected {EXPECTED}")
    for video_id, captions in descriptions.items():
        yield video_id, captions, None


def splits_of_mapping(path: Path) -> dict[str, list[str]]:
    """The official sets, which vatex_mapping.txt lists one after the other: train, validation, public test."""
    ids = [check_id(line.split()[0], ID, path) for line in read_text(path).splitlines() if line.strip()]
    return {"train": ids[:TRAIN], "validation": ids[TRAIN : TRAIN + VALIDATION]}
