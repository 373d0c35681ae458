"""MSR-VTT's annotation layouts (the 2016 release in two files, joined, 2017, Frozen's, lists of descriptions)."""

from __future__ import annotations

import csv
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
    clean_caption,
    clean_times,
    clean_url,
    read_json,
    read_list,
    read_text,
)

ID = re.compile(r"video\d+", re.ASCII)
EXPECTED = "MSRVTT_data.json, *videodatainfo*.json, MSR_VTT.json, or a list of {video_id, desc}"
SPLITS = {"train": "train", "validate": "val", "val": "val", "test": "test"}


def recognises(value: Any) -> bool:
    """Whether a JSON value has one of the layouts."""
    if isinstance(value, dict):
        return isinstance(value.get("sentences"), list) or isinstance(value.get("annotations"), list)
    return (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict) and {"video_id", "desc"} <= set(value[0])
    )


def read_annotations(
    paths: Iterable[Path], warnings: Warnings
) -> tuple[dict[str, Annotation], dict[str, str], list[Path]]:
    """Videos by id, the official split (train, val, test) of those whose file names one, and the files used.

    JSON files of another layout are passed over.

    Raises:
        AnnotationError: a file is no JSON, an id is not MSR-VTT's, or two files contradict each other.
    """
    videos: dict[str, Annotation] = {}
    splits: dict[str, str] = {}
    used: list[Path] = []
    for path in paths:
        value = read_json(path, EXPECTED)
        if not recognises(value):
            continue
        used.append(path)
        if isinstance(value, list):
            _descriptions(value, path, videos, warnings)
        elif "annotations" in value:
            _captions(value["annotations"], "image_id", None, path, videos, warnings, orphans=True)
        else:
            _videos(value.get("videos"), path, videos, splits, warnings)
            _captions(value["sentences"], "video_id", "sen_id", path, videos, warnings, orphans=False)
    return videos, splits, used


def _videos(rows: Any, path: Path, videos: dict[str, Annotation], splits: dict[str, str], warnings: Warnings) -> None:
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            warnings["records that are no object"] += 1
            continue
        video_id = check_id(row.get("video_id"), ID, path)
        start, end = clean_times(row.get("start time"), row.get("end time"), warnings)
        category = row.get("category")
        found = Annotation(
            video_id,
            start=start,
            end=end,
            source_url=clean_url(row.get("url"), warnings),
            category=str(category) if isinstance(category, int) else None,
        )
        known = videos.get(video_id)
        if known is not None and (known.start, known.end, known.source_url) != (start, end, found.source_url):
            raise AnnotationError(
                f"{path}: {video_id} is there twice, once as {known.source_url} {known.start}-{known.end} "
                f"and once as {found.source_url} {start}-{end}"
            )
        if known is not None:
            warnings["repeated records"] += 1
            continue
        videos[video_id] = found
        if row.get("split") in SPLITS:
            splits[video_id] = SPLITS[row["split"]]


def _captions(
    rows: Any,
    id_key: str,
    number_key: str | None,
    path: Path,
    videos: dict[str, Annotation],
    warnings: Warnings,
    *,
    orphans: bool,
) -> None:
    """Adds sentences to their videos; with ``orphans`` a sentence may introduce its video."""
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            warnings["records that are no object"] += 1
            continue
        video_id = check_id(row.get(id_key), ID, path)
        if video_id not in videos:
            if not orphans:
                warnings["sentences of unknown videos"] += 1
                continue
            videos[video_id] = Annotation(video_id)
        video = videos[video_id]
        before = len(video.captions)
        add_captions(video, [row.get("caption")], warnings)
        number = row.get(number_key) if number_key else None
        if len(video.captions) > before and isinstance(number, int):
            video.caption_ids.append(number)


def _descriptions(rows: list[Any], path: Path, videos: dict[str, Annotation], warnings: Warnings) -> None:
    for row in rows:
        if not isinstance(row, dict):
            warnings["records that are no object"] += 1
            continue
        video_id = check_id(row.get("video_id"), ID, path)
        descriptions = row.get("desc")
        texts = descriptions if isinstance(descriptions, list) else [descriptions]
        add_captions(videos.setdefault(video_id, Annotation(video_id)), texts, warnings)


def read_pairs(path: Path, warnings: Warnings) -> dict[str, str]:
    """The 1k-A test pairs of MSRVTT_JSFUSION_test.csv: video id -> sentence, in order.

    The sentences differ from the annotation file's in 35 of 1,000 cases, so they are taken from here.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    if not {"video_id", "sentence"} <= set(reader.fieldnames or ()):
        raise AnnotationError(f"{path} lacks the columns video_id and sentence")
    pairs: dict[str, str] = {}
    for row in reader:
        video_id = check_id(row["video_id"], ID, path)
        sentence = clean_caption(row["sentence"], warnings)
        if video_id in pairs:
            warnings["repeated ids in lists"] += 1
        elif sentence is not None:
            pairs[video_id] = sentence
    return pairs


def read_categories(path: Path) -> dict[str, str]:
    """Category number -> name, of category.txt."""
    rows = (line.rsplit("\t", 1) for line in read_text(path).splitlines() if "\t" in line)
    return {number.strip(): name.strip() for name, number in rows}


def read_ids(path: Path, warnings: Warnings) -> list[str]:
    """The ids of a split list."""
    return read_list(path, ID, warnings)
