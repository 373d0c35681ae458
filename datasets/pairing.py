"""Which file a record means by the name that it gives: the exact path first, a lone stem where that is unambiguous."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from clip2video_plugin.video.files import EXTENSIONS

Parts = tuple[str, ...]  # folders below the root, and the file's name without the ending of a video
SEPARATOR = re.compile(r"[\\/]+")


@dataclass
class Pairs:
    """``files`` are the paths that the names mean, several of which may mean one.

    ``loose`` of the names were found only by leaving out a folder, an ending or the difference between capital
    letters and small ones. ``ambiguous`` names mean none; each is given with the files that it could mean.
    """

    files: dict[str, str] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)


def inside(name: str, root: str) -> str | None:
    """A name as a path below the root, with / between its folders; None for one that leaves the root."""
    if name.startswith(f"{root}/"):
        name = name[len(root) + 1 :]
    parts = list[str]()
    for part in SEPARATOR.split(name):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part != "." and (part or not parts):
            parts.append(part)
    # An empty first part is the root of the file system, a colon in it a drive of Windows
    return "/".join(parts) if parts and parts[0] and not re.fullmatch("[A-Za-z]:", parts[0]) else None


def split_ending(path: str) -> tuple[Parts, str]:
    """The parts of a path, and the ending of its last one where that is one of a video."""
    pure = PurePosixPath(path)
    ending = pure.suffix if pure.suffix.lower() in EXTENSIONS else ""
    return (*pure.parts[:-1], pure.name[: len(pure.name) - len(ending)]), ending


def pair(names: Iterable[str], paths: Sequence[str]) -> Pairs:
    """Pairs names with files. Both are paths below one root, as ``inside`` gives them.

    A name means the file of its path, with its ending or without one; else the only file whose path ends with it.
    Where there is none, it means the only file that no other name means and that differs from it in leading folders,
    in its ending or in capitals alone.
    """
    out, exact = Pairs(), set(paths)
    by_stem, by_fold = (
        defaultdict[str, list[tuple[Parts, str, str]]](list),
        defaultdict[str, list[tuple[Parts, str]]](list),
    )
    for path in paths:
        parts, ending = split_ending(path)
        by_stem[parts[-1]].append((parts, ending, path))
        by_fold[_fold(parts[-1])].append((tuple(map(_fold, parts)), path))
    rest = list[str]()
    for name in names:
        if name in exact:
            out.files[name] = name
            continue
        parts, ending = split_ending(name)
        fitting = [
            (theirs, path) for theirs, e, path in by_stem[parts[-1]] if _ends(theirs, parts) and ending in ("", e)
        ]
        fitting = [f for f in fitting if f[0] == parts] or fitting
        if len(fitting) == 1:
            out.files[name] = fitting[0][1]
        elif fitting:
            out.ambiguous[name] = [path for _, path in fitting]
        else:
            rest.append(name)
    taken, claims = set(out.files.values()), defaultdict[str, dict[Parts, list[str]]](dict)
    for name in rest:
        parts = tuple(map(_fold, split_ending(name)[0]))
        fitting = [f for f in by_fold[parts[-1]] if _ends(f[0], parts) or _ends(parts, f[0])]
        fitting = [f for f in fitting if f[0] == parts] or fitting
        free = [path for _, path in fitting if path not in taken]
        if len(free) > 1:
            out.ambiguous[name] = free
        elif free:
            claims[free[0]].setdefault(parts, []).append(name)
    for path, by_parts in claims.items():
        for claiming in by_parts.values():
            if len(by_parts) == 1:
                out.files |= dict.fromkeys(claiming, path)
                out.loose += claiming
            else:
                out.ambiguous |= {name: [path] for name in claiming}
    return out


def _ends(long: Parts, short: Parts) -> bool:
    return long[-len(short) :] == short


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
