"""MSR-VTT's annotation layouts (the 2016 release in two files, joined, 2017, Frozen's, lists of descriptions)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from clip2video_plugin.datasets.annotations import (
    LARGEST,
    Annotation,
    Warnings,
    add_captions,
    add_file,
    check_id,
    clean_caption,
    clean_times,
    clean_url,
    lines_of,
    read_json,
    read_list,
    read_text,
)
from clip2video_plugin.datasets.tables import Table
from clip2video_plugin.errors import AnnotationError

ID = re.compile(r"video\d{1,18}", re.ASCII)
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

    JSON files of another layout are passed over. Of two files that describe a video the first counts, those with
    ``sentences`` before the others.

    Raises:
        AnnotationError: a file is no JSON, an id is not MSR-VTT's, or two records contradict each other.
    """
    videos: dict[str, Annotation] = {}
    splits: dict[str, str] = {}
    files = [(path, value) for path in paths if recognises(value := read_json(path, EXPECTED))]
    files.sort(key=lambda file: not (isinstance(file[1], dict) and "sentences" in file[1]))
    for path, value in files:
        found: dict[str, Annotation] = {}
        if isinstance(value, list):
            _descriptions(value, path, found, warnings)
        elif "sentences" in value:
            _videos(value.get("videos"), path, found, videos, splits, warnings)
            _captions(value["sentences"], "video_id", "sen_id", path, found, warnings, known=videos.keys())
        else:
            _captions(value["annotations"], "image_id", None, path, found, warnings, known=None)
        add_file(videos, found.values(), path.name, warnings)
    return videos, splits, [path for path, _ in files]


def _videos(
    rows: Any,
    path: Path,
    found: dict[str, Annotation],
    earlier: dict[str, Annotation],
    splits: dict[str, str],
    warnings: Warnings,
) -> None:
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            warnings["records that are no object"] += 1
            continue
        video_id = check_id(row.get("video_id"), ID, path)
        start, end = clean_times(row.get("start time"), row.get("end time"), warnings)
        category = row.get("category")
        one = Annotation(
            video_id,
            start=start,
            end=end,
            source_url=clean_url(row.get("url"), warnings),
            category=str(category) if isinstance(category, int) else None,
        )
        for known in (found.get(video_id), earlier.get(video_id)):
            if known is not None and _contradict(known, one):
                raise AnnotationError(
                    f"{path}: {video_id} is there twice, once as {known.source_url} {known.start}-{known.end} "
                    f"and once as {one.source_url} {start}-{end}"
                )
        if video_id in found:
            warnings["repeated records"] += 1
            continue
        found[video_id] = one
        if isinstance(row.get("split"), str) and row["split"] in SPLITS:
            splits[video_id] = SPLITS[row["split"]]


def _contradict(a: Annotation, b: Annotation) -> bool:
    pairs = ((a.start, b.start), (a.end, b.end), (a.source_url, b.source_url))
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _captions(
    rows: Any,
    id_key: str,
    number_key: str | None,
    path: Path,
    found: dict[str, Annotation],
    warnings: Warnings,
    *,
    known: Collection[str] | None,
) -> None:
    """Adds sentences to their videos, which are ``found`` here or ``known`` from another file; None allows any."""
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            warnings["records that are no object"] += 1
            continue
        video_id = check_id(row.get(id_key), ID, path)
        if video_id not in found:
            if known is not None and video_id not in known:
                warnings["sentences of unknown videos"] += 1
                continue
            found[video_id] = Annotation(video_id)
        video = found[video_id]
        before = len(video.captions)
        add_captions(video, [row.get("caption")], warnings)
        number = row.get(number_key) if number_key else None
        if len(video.captions) > before and isinstance(number, int) and abs(number) <= LARGEST:
            video.caption_ids.append(number)


def _descriptions(rows: list[Any], path: Path, found: dict[str, Annotation], warnings: Warnings) -> None:
    for row in rows:
        if not isinstance(row, dict):
            warnings["records that are no object"] += 1
            continue
        video_id = check_id(row.get("video_id"), ID, path)
        descriptions = row.get("desc")
        texts = descriptions if isinstance(descriptions, list) else [descriptions]
        add_captions(found.setdefault(video_id, Annotation(video_id)), texts, warnings)


def read_pairs(path: Path, warnings: Warnings) -> dict[str, str]:
    """The 1k-A test pairs of MSRVTT_JSFUSION_test.csv: video id -> sentence, in order.

    The sentences differ from the annotation file's in 35 of 1,000 cases, so they are taken from here.
    """
    pairs: dict[str, str] = {}
    for name, text in Table(path).pick([("video_id",), ("sentence",)], warnings, ID.fullmatch):
        video_id = check_id(name, ID, path)
        sentence = clean_caption(text, warnings)
        if video_id in pairs:
            warnings["repeated ids in lists"] += 1
        elif sentence is not None:
            pairs[video_id] = sentence
    return pairs


def read_categories(path: Path) -> dict[str, str]:
    """Category number -> name, of category.txt."""
    rows = (line.rsplit("\t", 1) for line in lines_of(read_text(path)) if "\t" in line)
    return {number.strip(): name.strip() for name, number in rows}


def read_ids(path: Path, warnings: Warnings) -> list[str]:
    """The ids of a split list."""
    return read_list(path, ID, warnings)
