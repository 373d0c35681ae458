"""Finding videos: files, folders and URIs, as a user names them, to the videos below."""

from __future__ import annotations

import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from stat import S_ISDIR
from urllib.parse import urlsplit

from clip2video_plugin import listing, stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import Place, Uri, absolute
from clip2video_plugin.seen import Seen
from clip2video_plugin.stores import Stamp
from clip2video_plugin.subtitles import ENDINGS, owners_of, texts_of
from clip2video_plugin.video.image_folder import IMAGES, NOTE, images_in

# Endings that the containers of `container.FORMATS` are found under.
EXTENSIONS = frozenset([
    ".264", ".265", ".3g2", ".3gp", ".3gpp", ".amv", ".asf", ".avc", ".avi", ".dif", ".divx", ".dv", ".f4v", ".flv",
    ".gif", ".h264", ".h265", ".hevc", ".insv", ".ivf", ".lrv", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2",
    ".mk3d", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv",
    ".qt", ".rm", ".rmvb", ".trp", ".ts", ".vob", ".webm", ".wmv", ".y4m",
])  # fmt: skip
NO_STAMP = (0, 0.0)  # of what cannot be looked at
TOGETHER = 1_000  # objects of names that are alike, among which the texts of a video are looked for
FRAME_NAME = re.compile(r"\d+\.\w+")


@dataclass(frozen=True)
class Found:
    """A video, with what a listing said of it: size and time of change, and the texts beside it with their times."""

    place: Place
    stamp: Stamp | None = None
    texts: tuple[tuple[Uri, float], ...] | None = None


def find_videos(paths: str | Place | Iterable[str | Place], passed_over: Counter[str] | None = None) -> Iterator[Place]:
    """The videos: named files and objects whatever their ending, and below named folders what looks like one.

    A folder is one of this machine, or the prefix of a store: ``s3://bucket/videos``. A folder of numbered frame
    images, or one that ``c2v frames`` wrote, is a video; in a store it is not. Each is given once, paths absolute and
    sorted within their folder, objects in the order of their store. Hidden files and folders are passed over, and links
    to folders not followed. What may not be read or listed is given all the same, so that it fails by name.
    ``passed_over`` counts, by ending, the files below folders that may be videos though their ending is of none.

    Raises:
        VideoReadError: what is named does not exist, no file can be called so, or a store cannot be listed.
        Clip2VideoError: it is a URI of an unknown kind.
    """
    names = [paths] if isinstance(paths, str | Path | Uri) else list(paths)
    videos = (found for name in names for found in named_videos(name, passed_over))
    for found in each_once(videos) if len(names) > 1 else videos:  # below one none is twice
        yield found.place


def each_once(videos: Iterable[Found]) -> Iterator[Found]:
    """Without those whose place came before."""
    seen = Seen()
    return (found for found in videos if seen.is_new(str(found.place)))


def named_videos(name: str | Place, passed_over: Counter[str] | None = None) -> Iterator[Found]:
    """``find_videos`` of one name."""
    path = absolute(name)
    if isinstance(path, Uri):
        yield from _in_store(path, passed_over)
        return
    try:
        path.stat()
    except PermissionError:
        pass  # reading it says so
    except (FileNotFoundError, NotADirectoryError):
        raise VideoReadError(path, "no such file or folder") from None
    except (OSError, ValueError) as error:  # a name that no file can have
        raise VideoReadError(path, getattr(error, "strerror", None) or str(error)) from None
    for video in _below(path, passed_over):
        yield Found(video)


def _in_store(uri: Uri, passed_over: Counter[str] | None) -> Iterator[Found]:
    if uri.scheme.startswith("http"):
        if urlsplit(uri.text).path.endswith("/"):
            reason = "it names a folder, which http does not list; name files, or a list of them (--list)"
            raise VideoReadError(uri, reason)
        yield Found(uri)
        return
    for group in _alike(listing.below(uri)):
        if [place for place, _ in group] == [uri]:
            yield Found(*group[0])
            continue
        texts = {place.name: (place, stamp[1]) for place, stamp in group if place.suffix.lower() in ENDINGS}
        owners = owners_of([place.name for place, _ in group], list(texts))
        for place, stamp in group:
            if place.suffix.lower() in EXTENSIONS:
                yield Found(place, stamp, tuple(texts[name] for name in texts_of(place.name, owners)))
            else:
                _pass_over(place.suffix.lower(), passed_over)


def _alike(listed: Iterator[tuple[Uri, Stamp]]) -> Iterator[list[tuple[Uri, Stamp]]]:
    """Objects of a folder whose names are the same up to the first point, which stand together in a listing."""
    for _, group in groupby(listed, key=lambda one: one[0].text[: -len(one[0].name)] + one[0].name.partition(".")[0]):
        while some := list(islice(group, TOGETHER)):
            yield some


def _below(top: Path, passed_over: Counter[str] | None) -> Iterator[Path]:
    """The videos of a path that was named; a folder that cannot be listed is one, and reading it says why.

    Of each folder on the way to a video the names that are left are in memory, and no more.
    """
    names = _videos_in(str(top), passed_over, named=True) if os.path.isdir(top) else None
    if names is None:
        yield top
        return
    waiting = [(str(top), names)]
    while waiting:
        folder, names = waiting[-1]
        if not names:
            waiting.pop()
            continue
        name = names.pop()
        path = os.path.join(folder, name.rstrip("/"))
        below = _videos_in(path, passed_over, named=False) if name.endswith("/") else None
        if below is None:
            yield Path(path)
        else:
            waiting.append((path, below))


def _videos_in(folder: str, passed_over: Counter[str] | None, *, named: bool) -> list[str] | None:
    """Names of the videos in a folder, and of folders with a "/" behind them, the last one first.

    None where it is a video itself, of frames, or cannot be listed.
    """
    names, others = list[str](), Counter[str]()
    has_images, has_note, numbered = False, False, True
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                ending = os.path.splitext(name)[1].lower()
                if name.startswith("."):
                    continue
                if _is_folder(entry):
                    # links to folders count as what is no frame, and are not followed
                    names.append("" if entry.is_symlink() else f"{name}/")
                elif ending in EXTENSIONS:
                    names.append(name)
                elif ending in IMAGES:
                    has_images, numbered = True, numbered and FRAME_NAME.fullmatch(name) is not None
                else:
                    has_note = has_note or name == NOTE
                    others[ending] += 1
    except OSError:
        return None
    if has_images and not names and (named or has_note or numbered):
        return None
    for ending, count in others.items():
        _pass_over(ending, passed_over, count)
    names = [name for name in names if name] if "" in names else names
    names.sort(key=lambda name: name.rstrip("/"), reverse=True)
    return names


def holds_videos(path: str | Path) -> bool:
    """Whether a path is a folder on the way to videos, and so never one itself."""
    return os.path.isdir(path) and bool(_videos_in(str(path), None, named=True))


def _pass_over(ending: str, passed_over: Counter[str] | None, count: int = 1) -> None:
    if passed_over is not None and _may_be_a_video(ending):
        passed_over[ending] += count


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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # in a folder that can be listed and not entered
        return False


def file_stamp(path: Place) -> Stamp:
    """Size in bytes and time of change: equal as long as a video file, or a folder of frames, is the same."""
    try:
        if isinstance(path, Uri):
            return stores.stamp(path)
        info = path.stat()
        if not S_ISDIR(info.st_mode):
            return info.st_size, info.st_mtime
        stats = [image.stat() for image in images_in(path)]
        return sum(s.st_size for s in stats), max((s.st_mtime for s in stats), default=0.0)
    except (OSError, ValueError, VideoReadError):
        return NO_STAMP
