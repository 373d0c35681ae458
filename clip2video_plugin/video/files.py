"""Finding videos: files and folders, as a user names them, to the videos below."""

from __future__ import annotations

import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.paths import expanded
from clip2video_plugin.places import Place, Uri
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


def find_videos(paths: str | Path | Iterable[str | Path], passed_over: Counter[str] | None = None) -> Iterator[Path]:
    """Absolute paths of the videos: named files whatever their ending, and below named folders what looks like one.

    A folder of numbered frame images, or one that ``c2v frames`` wrote, is a video. Each is given once, sorted
    within its folder. Hidden files and folders are passed over, and links to folders not followed. What may not be read
    or listed is given all the same, so that it fails by name. ``passed_over`` counts, by ending, the files below
    folders that may be videos though their ending is of none.

    Raises:
        VideoReadError: a named path does not exist, or no file can be called so.
    """
    names = [paths] if isinstance(paths, str | Path) else list(paths)
    seen = set[str]()
    for name in names:
        path = Path(os.path.abspath(expanded(name)))
        try:
            path.stat()
        except PermissionError:
            pass  # reading it says so
        except (FileNotFoundError, NotADirectoryError):
            raise VideoReadError(path, "no such file or folder") from None
        except (OSError, ValueError) as error:  # a name that no file can have
            raise VideoReadError(path, getattr(error, "strerror", None) or str(error)) from None
        for video in _below(path, passed_over):
            if len(names) == 1:  # and none is below it twice
                yield video
            elif str(video) not in seen:
                seen.add(str(video))
                yield video


def _below(top: Path, passed_over: Counter[str] | None) -> Iterator[Path]:
    """The videos of a path that was named; a folder that cannot be listed is one, and reading it says why."""
    waiting = [(top, os.path.isdir(top))]
    while waiting:
        path, is_folder = waiting.pop()
        children = _children(path) if is_folder else None
        if children is None or _is_frame_folder(children, named=path == top):
            yield path
            continue
        for child in reversed(children):
            if _is_folder(child):
                if not child.is_symlink():
                    waiting.append((path / child.name, True))
            elif _ending(child) in EXTENSIONS:
                waiting.append((path / child.name, False))
            elif passed_over is not None and _may_be_a_video(_ending(child)):
                passed_over[_ending(child)] += 1


def _may_be_a_video(ending: str) -> bool:
    kind = mimetypes.guess_type(f"name{ending}")[0]
    return kind is None or kind.startswith("video/") or kind == "application/octet-stream"


def passed_over_line(passed_over: Mapping[str, int]) -> str | None:
    """One line about what ``find_videos`` passed over, None where that is nothing."""
    total = sum(passed_over.values())
    if not total:
        return None
    most = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))[:10]
    endings = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in most)
    return (
        f"passed over {total} that may be videos but have no known ending of one ({endings}); "
        "a file that is named itself is taken whatever its ending"
    )


def _children(folder: Path) -> list[os.DirEntry[str]] | None:
    """What a folder shows, by name; None where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # in a folder that can be listed and not entered
        return False


def _ending(entry: os.DirEntry[str]) -> str:
    return os.path.splitext(entry.name)[1].lower()


def _is_frame_folder(children: list[os.DirEntry[str]], named: bool) -> bool:
    images = [child.name for child in children if _ending(child) in IMAGES]
    if not images or any(_is_folder(child) or _ending(child) in EXTENSIONS for child in children):
        return False
    return named or any(child.name == NOTE for child in children) or all(map(FRAME_NAME.fullmatch, images))


def file_stamp(path: Place) -> tuple[int, float]:
    """Size in bytes and time of change: equal as long as a video file, or a folder of frames, is the same."""
    try:
        if isinstance(path, Uri):
            return stores.stamp(path)
        if not path.is_dir():
            info = path.stat()
            return info.st_size, info.st_mtime
        stats = [image.stat() for image in images_in(path)]
        return sum(s.st_size for s in stats), max((s.st_mtime for s in stats), default=0.0)
    except (OSError, ValueError, VideoReadError):
        return NO_STAMP
