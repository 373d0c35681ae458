"""The captions of a folder of videos: one table of them, or a text file beside each video."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any

from clip2video_plugin.datasets.annotations import Warnings, clean_caption, lines_of, parse_json, read_json, read_text
from clip2video_plugin.datasets.pairing import inside, split_ending
from clip2video_plugin.datasets.sources import Sources
from clip2video_plugin.datasets.tables import Table
from clip2video_plugin.errors import AnnotationError

NAMES = ("filename", "file_name", "file", "video", "video_id", "videoID", "filepath", "path", "name", "id")
CAPTIONS = ("caption", "captions", "sentence", "text", "description", "desc", "enCap")
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
EXPECTED = (
    "captions.csv, .tsv, .json or .jsonl with a file name and a caption in each record, "
    "an object of file name to captions, or a .txt file beside each video"
)


def read_captions(
    folder: Path, sources: Sources, warnings: Warnings, captions_path: Path | None = None
) -> list[tuple[str, list[str]]]:
    """(path below the folder or name of a video, captions) of each record, in their order.

    Raises:
        AnnotationError: there are no captions, their file cannot be used as it is, or a name leads out of the folder.
    """
    table = captions_path or _table(folder, warnings)
    out: list[tuple[str, list[str]]] = []
    for name, texts in records(table, sources.media, warnings) if table is not None else _sidecars(folder, sources):
        if not isinstance(name, str) or not name.strip():
            warnings["records without a file name"] += 1
            continue
        path = _path(name, folder)
        if path is None:
            raise AnnotationError(f"{table}: {name[:80]!r} is no file inside the folder")
        cleaned = [clean_caption(text, warnings) for text in (texts if isinstance(texts, list) else [texts])]
        out.append((path, [caption for caption in cleaned if caption is not None]))
    if not out:
        raise AnnotationError(f"{table or folder} has no captions; expected {EXPECTED}")
    return out


def _path(name: str, folder: Path) -> str | None:
    """A name as a path below the folder; None for one that leaves it."""
    exact = posixpath.normpath(name)  # of a file whose name has spaces around it, or a backslash in it
    if not exact.startswith(("/", "../")) and os.path.isfile(folder / exact):
        return exact
    return None if "\0" in name else inside(name.strip(), str(folder))


def _table(folder: Path, warnings: Warnings) -> Path | None:
    """The captions.* of a folder; the first by ``SUFFIXES`` where there are several, which is counted."""
    found = [p for p in sorted(folder.iterdir()) if p.stem.lower() == "captions" and p.suffix.lower() in SUFFIXES]
    found = sorted((p for p in found if p.is_file()), key=lambda p: SUFFIXES.index(p.suffix.lower()))
    for other in found[1:]:
        warnings[f"{other.name} was passed over for {found[0].name}"] += 1
    return found[0] if found else None


def records(table: Path, stems: Container[str], warnings: Warnings) -> Iterable[tuple[Any, Any]]:
    """(name, caption or captions) of each record of a file, as they stand there.

    Args:
        stems: file names without endings of videos that there are, which tell a name from the text of a caption.

    Raises:
        AnnotationError: the file is none of captions, or damaged.
    """
    suffix = table.suffix.lower()
    if suffix in (".csv", ".tsv"):
        rows = Table(table, "\t" if suffix == ".tsv" else ",").pick([NAMES, CAPTIONS], warnings, _is_name(stems))
        return ((name, caption) for name, caption in rows)
    if suffix == ".jsonl":
        lines = enumerate(lines_of(read_text(table)), 1)
        values = ((n, parse_json(line, f"{table} line {n}", EXPECTED)) for n, line in lines if line.strip())
        return (_of_object(value, f"{table} line {n}") for n, value in values)
    value = read_json(table, EXPECTED)
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list):
        return [_of_object(entry, str(table)) for entry in value]
    raise AnnotationError(f"{table} holds a {type(value).__name__}; expected {EXPECTED}")


def _is_name(stems: Container[str]) -> Callable[[str], bool]:
    def is_name(text: str) -> bool:
        if not (path := inside(text, "")):
            return False
        parts, ending = split_ending(path)
        return bool(ending) or parts[-1] in stems

    return is_name


def _of_object(entry: Any, place: str) -> tuple[Any, Any]:
    keys = {str(key).casefold(): key for key in entry} if isinstance(entry, dict) else {}
    name, caption = (
        next((keys[n.casefold()] for n in wanted if n.casefold() in keys), None) for wanted in (NAMES, CAPTIONS)
    )
    if name is None or caption is None:
        has = f"; its keys: {', '.join(keys.values())[:300]}" if keys else ""
        raise AnnotationError(f"{place} has a record without file name or caption{has}; expected {EXPECTED}")
    return entry[name], entry[caption]


def _sidecars(folder: Path, sources: Sources) -> Iterable[tuple[str, list[str]]]:
    """A caption per line of the text file beside a video; of two videos beside one file the preferred one has it."""
    for video in sorted(
        {(path.parent, path.stem): path for paths in sources.media.values() for path in reversed(paths)}.values()
    ):
        text = video.with_suffix(".txt")
        if text.is_file():
            yield str(video.relative_to(folder)), [line for line in lines_of(read_text(text)) if line.strip()]
