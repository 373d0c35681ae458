"""MSVD's annotation layouts (pickle, JSON, AllVideoDescriptions, Microsoft's CSV, cleaned sentences with a mapping)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clip2video_plugin.datasets.annotations import (
    Annotation,
    NoAnnotations,
    NotText,
    Warnings,
    add_captions,
    add_file,
    check_found,
    check_id,
    clean_times,
    lines_of,
    read_json,
    read_pickle,
    read_text,
)
from clip2video_plugin.datasets.tables import SHOWN, Table
from clip2video_plugin.errors import AnnotationError

ID = re.compile(r"[\w-]{11}_\d+_\d+", re.ASCII)
YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
NUMBER = re.compile(r"vid\d+", re.ASCII)
EXPECTED = (
    "raw-captions.pkl, a JSON object of id to captions, AllVideoDescriptions.txt, "
    "MSR Video Description Corpus.csv, or sents_*.txt with youtube_mapping.txt"
)
COUNTS = {"train": 1200, "val": 100, "test": 670}


def read_mapping(path: Path) -> dict[str, str]:
    """vidN -> id, in order, of youtube_mapping.txt."""
    mapping: dict[str, str] = {}
    for line in lines_of(read_text(path)):
        parts = line.split()
        if len(parts) == 2:
            mapping[check_id(parts[1], NUMBER, path)] = check_id(parts[0], ID, path)
    return mapping


def splits_of_mapping(mapping: dict[str, str]) -> dict[str, list[str]]:
    """The three splits, which the mapping lists one after the other."""
    ids = list(mapping.values())
    first, second = COUNTS["train"], COUNTS["train"] + COUNTS["val"]
    return {"train": ids[:first], "val": ids[first:second], "test": ids[second:]}


def read_annotations(
    paths: Iterable[Path], mapping: dict[str, str], warnings: Warnings
) -> tuple[dict[str, Annotation], list[Path]]:
    """Videos by id, of files in any of the layouts, and the files used. Files of another layout are passed over.

    Of two files that describe a video the first by layout (JSON, pickle, text, CSV) counts.

    Raises:
        AnnotationError: no file has one of the layouts, one is damaged, or an id is not MSVD's.
    """
    videos: dict[str, Annotation] = {}
    used, passed_over = list[Path](), list[AnnotationError]()
    for path in sorted((p for p in paths if p.suffix.lower() in LAYOUTS), key=lambda p: LAYOUTS[p.suffix.lower()]):
        try:
            captions = _captions(path, mapping, warnings)
        except (NoAnnotations, NotText) as error:
            if isinstance(error, NotText) and path.suffix.lower() not in (".txt", ".csv"):
                raise
            passed_over.append(error)
            continue
        used.append(path)
        found = list[Annotation]()
        for name, texts in captions.items():
            video_id = check_id(mapping.get(name, name), ID, path)
            _, first, last = video_id.rsplit("_", 2)
            start, end = clean_times(first, last, Warnings())
            url = f"https://www.youtube.com/watch?v={video_id[:11]}"
            found.append(Annotation(video_id, start=start, end=end, source_url=url))
            add_captions(found[-1], texts, warnings)
        add_file(videos, found, path.name, warnings)
    check_found(passed_over, used, "MSVD", EXPECTED)
    return videos, used


LAYOUTS = {".json": 0, ".pkl": 1, ".pickle": 1, ".txt": 2, ".csv": 3}


def _captions(path: Path, mapping: dict[str, str], warnings: Warnings) -> dict[str, Any]:
    """Id or vidN -> captions, of one file."""
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle"):
        return _of_object(read_pickle(path), path, mapping, warnings)
    if suffix == ".json":
        return _of_object(read_json(path, EXPECTED), path, mapping, warnings)
    rows = _of_csv(path, warnings) if suffix == ".csv" else _of_lines(path, mapping)
    out: dict[str, Any] = {}
    for name, caption in rows:
        out.setdefault(name, []).append(caption)
    return out


def _of_object(value: Any, path: Path, mapping: dict[str, str], warnings: Warnings) -> dict[str, Any]:
    """Captions as strings, or as lists of tokens."""
    if not isinstance(value, dict):
        raise NoAnnotations(f"{path} holds a {type(value).__name__}")
    if not any(_is_name(str(name), mapping) for name in value):
        raise NoAnnotations(f"{path} holds an object whose keys are no MSVD ids")
    out: dict[str, Any] = {}
    for name, captions in value.items():
        if isinstance(captions, str):
            captions = [captions]
        if not isinstance(captions, list):
            warnings["captions that are no text"] += 1
            continue
        out[str(name)] = [" ".join(c) if _is_tokens(c) else c for c in captions]
    return out


def _is_tokens(caption: Any) -> bool:
    return isinstance(caption, list) and all(isinstance(token, str) for token in caption)


def _is_name(name: str, mapping: dict[str, str]) -> bool:
    return name in mapping or ID.fullmatch(name) is not None


COLUMNS = ("VideoID", "Start", "End", "Language", "Description")


def _of_csv(path: Path, warnings: Warnings) -> Iterable[tuple[str, Any]]:
    """The English rows of Microsoft's table."""
    table = Table(path)
    if len({*COLUMNS} & {*table.columns}) < 2:
        raise NoAnnotations(f"{path} has other columns: {', '.join(table.columns)[:SHOWN] or 'none, it is empty'}")
    for video, start, end, language, text in table.pick([(c,) for c in COLUMNS], warnings, YOUTUBE_ID.fullmatch):
        if language == "English" and (text or "").strip():
            yield f"{video}_{start}_{end}", text


def _of_lines(path: Path, mapping: dict[str, str]) -> Iterable[tuple[str, Any]]:
    """``id caption`` or ``vidN<TAB>caption`` lines; # begins a comment."""
    rows = list[tuple[str, str]]()
    for line in lines_of(read_text(path)):
        if line.strip() and not line.startswith("#"):
            name, _, caption = line.partition("\t" if "\t" in line else " ")
            rows.append((name.strip(), caption))
    if not any(_is_name(name, mapping) and caption.strip() for name, caption in rows):
        raise NoAnnotations(f"{path} has no line of an MSVD id and a caption")
    return rows
