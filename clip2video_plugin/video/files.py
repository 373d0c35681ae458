"""Finding videos: files and folders, as a user names them, to the videos below."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video.image_folder import IMAGES, NOTE, images_in

# Endings that the containers of `container.FORMATS` are found under.
EXTENSIONS = frozenset([
    ".264", ".265", ".3g2", ".3gp", ".3gpp", ".amv", ".asf", ".avc", ".avi", ".dif", ".divx", ".dv", ".f4v", ".flv",
    ".gif", ".h264", ".h265", ".hevc", ".insv", ".ivf", ".lrv", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2",
    ".mk3d", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv",
    ".qt", ".rm", ".rmvb", ".trp", ".ts", ".vob", ".webm", ".wmv", ".y4m",
])  # fmt: skip
NO_STAMP = (0, 0.0)  # of what cannot be looked at
FRAME_NAME = re.compile(r"\d+\.\w+")


def find_videos(paths: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    """Absolute paths of the videos: named files whatever their ending, and below named folders what looks like one.

    A folder of numbered frame images, or one that ``c2v frames`` wrote, is a video. Each is given once, sorted
    within its folder. Hidden files and folders are passed over, and links to folders not followed.

    Raises:
        VideoReadError: a named path does not exist.
    """
    names = [paths] if isinstance(paths, str | Path) else list(paths)
    seen = set[str]()
    for name in names:
        path = Path(os.path.abspath(Path(name).expanduser()))
        if not path.exists():
            raise VideoReadError(path, "no such file or folder")
        for video in _below(path, named=True):
            if len(names) == 1:  # and none is below it twice
                yield video
            elif str(video) not in seen:
                seen.add(str(video))
                yield video


def _below(path: Path, *, named: bool) -> Iterator[Path]:
    if not path.is_dir():
        if named or path.suffix.lower() in EXTENSIONS:
            yield path
        return
    try:
        children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    except OSError:
        yield path  # a folder that cannot be listed: reading it says why
        return
    if _is_frame_folder(children, named):
        yield path
        return
    for child in children:
        if not (child.is_dir() and child.is_symlink()):
            yield from _below(child, named=False)


def _is_frame_folder(children: list[Path], named: bool) -> bool:
    images = [child for child in children if child.suffix.lower() in IMAGES]
    if not images or any(child.is_dir() or child.suffix.lower() in EXTENSIONS for child in children):
        return False
    return named or any(child.name == NOTE for child in children) or all(FRAME_NAME.fullmatch(i.name) for i in images)


def file_stamp(path: Path) -> tuple[int, float]:
    """Size in bytes and time of change: equal as long as a video file, or a folder of frames, is the same."""
    try:
        if not path.is_dir():
            info = path.stat()
            return info.st_size, info.st_mtime
        stats = [image.stat() for image in images_in(path)]
        return sum(s.st_size for s in stats), max((s.st_mtime for s in stats), default=0.0)
    except (OSError, ValueError, VideoReadError):
        return NO_STAMP
