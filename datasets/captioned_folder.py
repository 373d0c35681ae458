"""Any folder of videos with captions, as a FiftyOne dataset type."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.types as fot
import fiftyone.utils.data as foud

from clip2video_plugin.app.metadata import video_metadata
from clip2video_plugin.datasets.annotations import (
    ON_MISSING,
    AnnotationError,
    Warnings,
    check_choice,
    clean_caption,
    read_json,
    read_text,
)
from clip2video_plugin.datasets.sources import Sources, find_sources

NAMES = ("filename", "file_name", "file", "video", "video_id", "videoID", "filepath", "path", "name", "id")
CAPTIONS = ("caption", "captions", "sentence", "text", "description", "desc", "enCap")
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
EXPECTED = (
    "captions.csv, .tsv, .json or .jsonl with a file name and a caption in each record, "
    "an object of file name to captions, or a .txt file beside each video"
)


class CaptionedVideoFolder(fot.UnlabeledVideoDataset):  # type: ignore[misc]
    """Videos and their captions in ``captions.csv``, ``.tsv``, ``.json`` or ``.jsonl``, or in a .txt beside each video.

    ``fo.Dataset.from_dir(dataset_dir=..., dataset_type=CaptionedVideoFolder)`` gives a sample per
    captioned video, with its captions in the list field ``captions``. A record names its video by file name,
    with or without ending, or by path within the folder; several records may name one video.
    """

    def get_dataset_importer_cls(self) -> type[CaptionedVideoFolderImporter]:
        return CaptionedVideoFolderImporter


class CaptionedVideoFolderImporter(foud.GenericSampleDatasetImporter):  # type: ignore[misc]
    """Importer of ``CaptionedVideoFolder``.

    Args:
        captions_path: the file of captions, where it is not ``captions.*`` in the folder.
        on_missing: "skip" captions of videos that are not there, "keep" them, or raise an "error".

    Raises:
        AnnotationError: there are no captions, or their file cannot be used as it is.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        captions_path: str | Path | None = None,
        on_missing: str = "skip",
        shuffle: bool = False,
        seed: int | None = None,
        max_samples: int | None = None,
    ) -> None:
        super().__init__(dataset_dir=dataset_dir, shuffle=shuffle, seed=seed, max_samples=max_samples)
        self.captions_path = Path(captions_path).expanduser() if captions_path else None
        self.on_missing = on_missing
        self.info: dict[str, Any] = {}
        self._rows: list[tuple[Path, list[str]]] = []
        self._iterator: Iterator[tuple[Path, list[str]]] = iter(())

    @property
    def has_dataset_info(self) -> bool:
        return True

    def get_dataset_info(self) -> dict[str, Any]:
        """How many videos and captions were found, which videos are missing, and warnings by kind."""
        return self.info

    @property
    def has_sample_field_schema(self) -> bool:
        return False

    def setup(self) -> None:
        check_choice("on_missing", self.on_missing, ON_MISSING)
        folder, warnings = Path(self.dataset_dir or "."), Warnings()
        sources = find_sources(folder)
        rows, missing = list[tuple[Path, list[str]]](), list[str]()
        for name, captions in read_captions(folder, sources, warnings, self.captions_path).items():
            path = _find(folder, name, sources)
            if path is None:
                missing.append(name)
                if self.on_missing == "keep":
                    rows.append((folder / name, captions))
            else:
                rows.append((path, captions))
        if missing and self.on_missing == "error":
            raise AnnotationError(f"{len(missing)} captioned videos are not there, the first is {missing[0]}")
        self._rows = list(self._preprocess_list(rows))
        self.info = {
            "dataset": "folder",
            "found": {"videos": len(rows), "captions": sum(len(captions) for _, captions in rows)},
            "missing": missing,
            "warnings": dict(+(warnings + sources.warnings)),
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> CaptionedVideoFolderImporter:
        self._iterator = iter(self._rows)
        return self

    def __next__(self) -> Any:
        path, captions = next(self._iterator)
        return fo.Sample(filepath=os.path.abspath(path), captions=captions, metadata=video_metadata(path))


def read_captions(
    folder: Path, sources: Sources, warnings: Warnings, captions_path: Path | None = None
) -> dict[str, list[str]]:
    """Name of a video, as its record gives it -> captions, in the order of the file."""
    table = captions_path or next(
        (folder / f"captions{s}" for s in SUFFIXES if (folder / f"captions{s}").is_file()), None
    )
    out: dict[str, list[str]] = {}
    records = _records(table) if table is not None else _sidecars(sources)
    for name, texts in records:
        if not isinstance(name, str) or not name.strip():
            warnings["records without a file name"] += 1
            continue
        # A name must stay inside the folder, whatever it is joined with.
        if os.path.isabs(name) or ".." in Path(name).parts or "\0" in name:
            raise AnnotationError(f"{table}: {name[:80]!r} is no file inside the folder")
        mine = out.setdefault(name.strip(), [])
        for text in texts if isinstance(texts, list) else [texts]:
            caption = clean_caption(text, warnings)
            if caption is not None:
                mine.append(caption)
    if not out:
        raise AnnotationError(f"{folder} has no captions; expected {EXPECTED}")
    return out


def _find(folder: Path, name: str, sources: Sources) -> Path | None:
    if (folder / name).is_file():
        return folder / name
    base = Path(name).name
    return sources.media.get(base) or sources.media.get(Path(base).stem)


def _records(table: Path) -> Iterable[tuple[Any, Any]]:
    """(name, caption or captions) of a file."""
    suffix = table.suffix.lower()
    if suffix in (".csv", ".tsv"):
        try:
            reader = csv.DictReader(
                io.StringIO(read_text(table), newline=""), delimiter="\t" if suffix == ".tsv" else ","
            )
            name, caption = _column(reader.fieldnames, NAMES), _column(reader.fieldnames, CAPTIONS)
            if name is None or caption is None:
                lacking = " and ".join(w for w, c in (("filename", name), ("caption", caption)) if c is None)
                raise AnnotationError(f"{table} lacks the column {lacking}")
            return [(row[name], row[caption]) for row in reader]
        except csv.Error as error:
            raise AnnotationError(f"{table} cannot be read: {error}") from None
    if suffix == ".jsonl":
        lines = [line for line in read_text(table).splitlines() if line.strip()]
        try:
            return [_of_object(json.loads(line), table) for line in lines]
        except (json.JSONDecodeError, RecursionError) as error:
            raise AnnotationError(f"{table} has a line that is no JSON: {error}; expected {EXPECTED}") from None
    value = read_json(table, EXPECTED)
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list):
        return [_of_object(entry, table) for entry in value]
    raise AnnotationError(f"{table} holds a {type(value).__name__}; expected {EXPECTED}")


def _of_object(entry: Any, table: Path) -> tuple[Any, Any]:
    keys = list(entry) if isinstance(entry, dict) else None
    name, caption = _column(keys, NAMES), _column(keys, CAPTIONS)
    if name is None or caption is None:
        raise AnnotationError(f"{table} has a record without file name or caption; expected {EXPECTED}")
    return entry[name], entry[caption]


def _column(names: Iterable[str] | None, wanted: tuple[str, ...]) -> str | None:
    have = list(names or ())
    return next((name for name in wanted if name in have), None)


def _sidecars(sources: Sources) -> Iterable[tuple[str, list[str]]]:
    """A caption per line of the text file beside a video."""
    for stem, video in sorted(sources.media.items()):
        text = video.with_suffix(".txt")
        if text.is_file():
            yield stem, [line for line in read_text(text).splitlines() if line.strip()]
