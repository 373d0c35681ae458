"""MSVD's annotation layouts (pickle, JSON, AllVideoDescriptions, Microsoft's CSV, cleaned sentences with a mapping)."""

from __future__ import annotations

import csv
import io
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
    read_pickle,
    read_text,
)

ID = re.compile(r"[\w-]{11}_\d+_\d+", re.ASCII)
NUMBER = re.compile(r"vid\d+", re.ASCII)
EXPECTED = (
    "raw-captions.pkl, a JSON object of id to captions, AllVideoDescriptions.txt, "
    "MSR Video Description Corpus.csv, or sents_*.txt with youtube_mapping.txt"
)
COUNTS = {"train": 1200, "val": 100, "test": 670}


def read_mapping(path: Path) -> dict[str, str]:
    """vidN -> id, in order, of youtube_mapping.txt."""
    mapping: dict[str, str] = {}
    for line in read_text(path).splitlines():
        parts = line.split()
        if len(parts) == 2:
            mapping[check_id(parts[1], NUMBER, path)] = check_id(parts[0], ID, path)
    return mapping


def splits_of_mapping(mapping: dict[str, str]) -> dict[str, list[str]]:
    """The three splits, which the mapping lists one after the other."""
    ids = list(mapping.values())
    first, second = COUNTS["train"], COUNTS["train"] + COUNTS["val"]
    return {"train": ids[:first], "val": ids[first:second], "test": ids[second:]}


def read_annotations(paths: Iterable[Path], mapping: dict[str, str], warnings: Warnings) -> dict[str, Annotation]:
    """Videos by id, of files in any of the layouts.

    Raises:
        AnnotationError: a file has none of the layouts, or an id is not MSVD's.
    """
    videos: dict[str, Annotation] = {}
    for path in paths:
        for name, text in _pairs(path, warnings):
            video_id = mapping.get(name, name)
            if video_id not in videos:
                check_id(video_id, ID, path)
                start, end = video_id.rsplit("_", 2)[1:]
                times = (float(start), float(end)) if float(start) < float(end) else (None, None)
                videos[video_id] = Annotation(
                    video_id,
                    start=times[0],
                    end=times[1],
                    source_url=f"https://www.youtube.com/watch?v={video_id[:11]}",
                )
            add_captions(videos[video_id], [text], warnings)
    return videos


def _pairs(path: Path, warnings: Warnings) -> Iterable[tuple[str, Any]]:
    """(id or vidN, caption) of one file."""
    if path.suffix in (".pkl", ".pickle"):
        return _of_object(read_pickle(path), path, warnings)
    if path.suffix == ".json":
        return _of_object(read_json(path, EXPECTED), path, warnings)
    if path.suffix == ".csv":
        return _of_csv(path)
    if path.suffix == ".txt":
        return _of_lines(path)
    raise AnnotationError(f"{path} is no MSVD annotation file; expected {EXPECTED}")


def _of_object(value: Any, path: Path, warnings: Warnings) -> Iterable[tuple[str, Any]]:
    """Captions as strings, or as lists of tokens."""
    if not isinstance(value, dict):
        raise AnnotationError(f"{path} holds a {type(value).__name__}; expected {EXPECTED}")
    for name, captions in value.items():
        if not isinstance(captions, list):
            warnings["captions that are no text"] += 1
            continue
        for caption in captions:
            tokens = isinstance(caption, list) and all(isinstance(token, str) for token in caption)
            yield str(name), " ".join(caption) if tokens else caption


def _of_csv(path: Path) -> Iterable[tuple[str, Any]]:
    """The English rows of Microsoft's table."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if lacking := {"VideoID", "Start", "End", "Language", "Description"} - set(reader.fieldnames or ()):
        raise AnnotationError(f"{path} lacks the columns {', '.join(sorted(lacking))}")
    for row in reader:
        if row["Language"] == "English" and (row["Description"] or "").strip():
            yield f"{row['VideoID']}_{row['Start']}_{row['End']}", row["Description"]


def _of_lines(path: Path) -> Iterable[tuple[str, Any]]:
    """``id caption`` or ``vidN<TAB>caption`` lines; # begins a comment."""
    for line in read_text(path).splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, caption = line.partition("\t" if "\t" in line else " ")
            yield name.strip(), caption
