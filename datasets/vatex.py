"""VATEX's annotation layouts (the official list, and the circulated objects of captions)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clip2video_plugin.datasets.annotations import (
    Annotation,
    NoAnnotations,
    Warnings,
    add_captions,
    add_file,
    check_found,
    check_id,
    clean_caption,
    lines_of,
    read_json,
    read_text,
)
from clip2video_plugin.errors import AnnotationError

ID = re.compile(r"[\w-]{11}_\d{6}_\d{6}", re.ASCII)
EXPECTED = "a list of {videoID, enCap}, an object of id to {enCap} or to captions, or a list of {video_id, desc}"
TRAIN, VALIDATION, HALF = 25_991, 3_000, 1_500


def read_annotations(
    paths: Iterable[Path], warnings: Warnings
) -> tuple[dict[str, Annotation], list[list[str]], list[Path]]:
    """Videos by id, the ids of each file in its order, and the files used. Files of another layout are passed over.

    Raises:
        AnnotationError: no file has one of the layouts, an id is not VATEX's, or a file contradicts itself.
    """
    videos: dict[str, Annotation] = {}
    orders: list[list[str]] = []
    used, passed_over = list[Path](), list[AnnotationError]()
    for path in paths:
        found: dict[str, Annotation] = {}
        try:
            for video_id, english, chinese in _records(read_json(path, EXPECTED), path, warnings):
                one = _annotation(check_id(video_id, ID, path), english, chinese, warnings)
                if (known := found.setdefault(one.video_id, one)) is one:
                    continue
                if known.captions != one.captions:
                    raise AnnotationError(f"{path}: {video_id} is there twice, with different captions")
                warnings["repeated records"] += 1
        except NoAnnotations as error:
            passed_over.append(error)
            continue
        used.append(path)
        orders.append(list(found))
        add_file(videos, found.values(), path.name, warnings)
    check_found(passed_over, used, "VATEX", EXPECTED)
    return videos, orders, used


def _annotation(video_id: str, english: Any, chinese: Any, warnings: Warnings) -> Annotation:
    start, end = (float(part) for part in video_id.rsplit("_", 2)[1:])
    one = Annotation(
        video_id,
        start=start if start < end else None,
        end=end if start < end else None,
        source_url=f"https://www.youtube.com/watch?v={video_id[:11]}",
    )
    add_captions(one, english, warnings)
    texts = chinese if isinstance(chinese, list) else []
    one.captions_zh = [text for t in texts if (text := clean_caption(t, warnings)) is not None]
    return one


def _records(value: Any, path: Path, warnings: Warnings) -> Iterable[tuple[Any, Any, Any]]:
    """(id, English captions, Chinese captions or None) of any layout."""
    if isinstance(value, dict):
        if not any(ID.fullmatch(key) for key in value):
            raise NoAnnotations(f"{path} holds an object whose keys are no VATEX ids")
        for video_id, entry in value.items():
            if isinstance(entry, dict):
                yield video_id, entry.get("enCap"), entry.get("chCap")
            else:
                yield video_id, entry, None
        return
    if not isinstance(value, list):
        raise NoAnnotations(f"{path} holds a {type(value).__name__}")
    if not any(isinstance(row, dict) and ("videoID" in row or "video_id" in row) for row in value):
        raise NoAnnotations(f"{path} holds a list without records of a videoID")
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
    ids = [check_id(line.split()[0], ID, path) for line in lines_of(read_text(path)) if line.strip()]
    return {"train": ids[:TRAIN], "validation": ids[TRAIN : TRAIN + VALIDATION]}
