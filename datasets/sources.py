"""Annotations, split lists and videos of a folder: found by name and place, never by building paths from ids."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from clip2video_plugin.datasets.annotations import AnnotationError, Warnings
from clip2video_plugin.video.files import EXTENSIONS
from clip2video_plugin.video.image_folder import IMAGES

TABLES = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".pkl", ".pickle")
# Of two files for one video the first of these is taken, then the first by path.
PREFERENCE = {".mp4": 0, ".mkv": 1, ".webm": 2, ".avi": 3}


@dataclass
class Sources:
    """Files below the folders that a user names."""

    tables: list[Path] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)
    media: dict[str, Path] = field(default_factory=dict)  # file name without ending -> video, or folder of frames
    warnings: Warnings = field(default_factory=Warnings)

    def table(self, *words: str, suffix: str | None = None) -> Path | None:
        """The first table or list whose name holds all words, in any case."""
        for path in [*self.lists, *self.tables]:
            name = path.name.lower()
            if all(word in name for word in words) and (suffix is None or path.suffix == suffix):
                return path
        return None


def find_sources(
    root: Path | None,
    *,
    videos_path: Path | None = None,
    annotations_path: Path | None = None,
    splits_path: Path | None = None,
    media: str = "video",
) -> Sources:
    """Looks through the folders once. Explicit paths stand in for what would be looked for below ``root``.

    Raises:
        AnnotationError: a named path does not exist.
    """
    for path in (root, videos_path, annotations_path, splits_path):
        if path is not None and not path.exists():
            raise AnnotationError(f"no such file or folder: {path}")
    found = Sources()
    _look(annotations_path or root, found, tables=True)
    if splits_path is not None:
        lists = Sources()
        _look(splits_path, lists, tables=True)
        found.lists = lists.tables
    _look(videos_path or root, found, media=media)
    return found


def _look(root: Path | None, found: Sources, *, tables: bool = False, media: str | None = None) -> None:
    if root is None:
        return
    if root.is_file():
        if tables:
            found.tables.append(root)
        return
    inside = Path(os.path.realpath(root))
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        here = Path(folder)
        for name in sorted(files):
            path = here / name
            suffix = path.suffix.lower()
            if tables and suffix in TABLES and not name.startswith("."):
                found.tables.append(path)
            elif media == "video" and suffix in EXTENSIONS:
                if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                    found.warnings["links that leave the folder"] += 1
                else:
                    _take(found, path.stem, path)
        if media == "frames" and any(name.lower().endswith(IMAGES) for name in files):
            _take(found, here.name, here)
            folders[:] = []


def _take(found: Sources, stem: str, path: Path) -> None:
    known = found.media.get(stem)
    if known is None:
        found.media[stem] = path
        return
    found.warnings["videos with two files"] += 1
    found.media[stem] = min(known, path, key=lambda p: (PREFERENCE.get(p.suffix.lower(), 9), str(p)))
