"""Annotations, split lists and videos of a folder: found by name and place, never by building paths from ids."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clip2video_plugin.datasets.annotations import Warnings
from clip2video_plugin.errors import AnnotationError
from clip2video_plugin.video.files import EXTENSIONS
from clip2video_plugin.video.image_folder import IMAGES

TABLES = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".pkl", ".pickle")
# What yt-dlp writes beside each video
SIDECARS = (".info.json", ".live_chat.json")
# Of two files for one video the first of these is taken, then the first by path.
PREFERENCE = {".mp4": 0, ".mkv": 1, ".webm": 2, ".avi": 3}


@dataclass
class Sources:
    """Files below the folders that a user names."""

    tables: list[Path] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)
    # file name without ending -> videos, or folders of frames, of that name, the preferred one first
    media: dict[str, list[Path]] = field(default_factory=dict)
    warnings: Warnings = field(default_factory=Warnings)

    def table(self, *words: str, suffix: str | None = None) -> Path | None:
        """The first table or list whose name holds all words, in any case. Others of another content are counted."""
        fitting = [
            path
            for path in dict.fromkeys([*self.lists, *self.tables])
            if all(word in path.name.lower() for word in words) and (suffix is None or path.suffix.lower() == suffix)
        ]
        if len(fitting) > 1:
            first, *rest = [path.read_bytes() for path in fitting]
            if others := sum(data != first for data in rest):
                self.warnings[f"more files like {fitting[0].name}, which was taken from {fitting[0].parent}"] = others
        return fitting[0] if fitting else None

    def take(self, stem: str, path: Path) -> None:
        """Adds a video or a folder of frames."""
        self.media.setdefault(stem, []).append(path)
        self.media[stem].sort(key=lambda p: (PREFERENCE.get(p.suffix.lower(), 9), str(p)))


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
    for here, files in _folders(root, found.warnings if media else Warnings()):
        media_here = {Path(name).stem for name in files if Path(name).suffix.lower() in EXTENSIONS}
        for name in sorted(files):
            path = here / name
            suffix = path.suffix.lower()
            if tables and suffix in TABLES and not name.startswith("."):
                # A table of one video, in whatever form, is none of the dataset's
                if not name.lower().endswith(SIDECARS) and path.stem not in media_here:
                    found.tables.append(path)
            elif media == "video" and suffix in EXTENSIONS and _may_be_read(path, root, found.warnings):
                found.take(path.stem, path)
        if media == "frames" and any(name.lower().endswith(IMAGES) for name in files):
            found.take(here.name, here)


def _folders(root: Path, warnings: Warnings) -> Iterator[tuple[Path, list[str]]]:
    def unlisted(error: OSError) -> None:
        warnings["folders that cannot be listed"] += 1

    for folder, folders, files in os.walk(root, onerror=unlisted):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield Path(folder), files


def _may_be_read(path: Path, root: Path, warnings: Warnings) -> bool:
    if path.is_symlink() and leaves(path, root):
        warnings["links that leave the folder"] += 1
    elif not is_text(str(path)):
        warnings["videos whose names are not UTF-8, which FiftyOne cannot hold"] += 1
    else:
        return True
    return False


def leaves(path: Path, root: Path) -> bool:
    """Whether a path below the root leads out of it, by a link."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def is_text(name: str) -> bool:
    """Whether a name is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
