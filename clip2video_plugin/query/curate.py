"""``duplicates``: groups of videos that are copies of each other, and which of them lie in two splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from clip2video_plugin.counted import counted
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.query.candidates import candidates
from clip2video_plugin.query.tracks import LEAST, SAME, Fit, Track, Tracks, fit, near
from clip2video_plugin.video.facts import video_facts

COMPLETE = 30  # videos of a group up to which each is compared with each
Kind = Literal["identical", "re-encode", "scaled", "trim", "part", "mirror", "retimed"]
BY = ("folder", "tags")

Splits = str | Sequence[str] | Mapping[str, Collection[str]]
Tell = Callable[[int, int], None]  # pairs compared, and of how many


@dataclass(frozen=True)
class Member:
    """A video of a group, and the splits that it is in."""

    id: str
    path: str
    duration: float
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two videos of a group, by their places in it. The second seems to be made from the first.

    ``kind`` is "identical" (the same bytes), "re-encode", "scaled", "trim" (at least half of the other), "part" (less),
    "mirror", or "retimed" (at another speed). The second lies in the first from ``start`` to ``end`` seconds.
    ``cosine`` compares the thumbnails of their frames. ``leak``: both videos have splits, and none in common.
    """

    first: int
    second: int
    kind: Kind
    cosine: float
    start: float
    end: float
    leak: bool

    def __str__(self) -> str:
        return f"{self.kind} of {self.start:.1f}-{self.end:.1f} s" if self.kind in ("trim", "part") else self.kind


@dataclass(frozen=True)
class Group:
    """Videos that are copies of each other, directly or through others of the group. The first seems the original."""

    videos: tuple[Member, ...]
    pairs: tuple[Pair, ...]

    @property
    def leaks(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.leak)

    @cached_property
    def pair_of(self) -> dict[int, Pair]:
        """Place of each video but the first -> its pair with the first, or else with the next of the group."""
        best = dict[int, Pair]()
        for pair in self.pairs:
            for place, other in ((pair.first, pair.second), (pair.second, pair.first)):
                known = best.get(place)
                if place and (known is None or other < known.first + known.second - place):
                    best[place] = pair
        return best


@dataclass(frozen=True)
class Duplicates:
    """Groups of copies: those with leaks first, then the largest.

    Attributes:
        index: URI of the index.
        searched: how many videos were compared.
        without: how many have no thumbnails, as an earlier version indexed them; ``add_thumbnails`` makes them.
        blank: how many have too few frames that show anything.
        groups: the groups.
    """

    index: str
    searched: int
    without: int
    blank: int
    groups: tuple[Group, ...]

    def __repr__(self) -> str:
        copies = sum(len(group.videos) for group in self.groups)
        groups, leaks = counted(len(self.groups), "group"), counted(self.leaks, "leak")
        return f"Duplicates({groups} of {copies} of {counted(self.searched, 'video')}, {leaks})"

    @property
    def leaks(self) -> int:
        """Pairs of videos in two splits."""
        return sum(len(group.leaks) for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """The whole result, for JSON."""
        counts = {"index": self.index, "searched": self.searched, "without": self.without, "blank": self.blank}
        return {**counts, "leaks": self.leaks, "groups": [asdict(group) for group in self.groups]}


def duplicates(
    index: str | Path | VideoIndex | None = None,
    *,
    ids: Collection[str] | None = None,
    by: Splits | None = None,
    least: float = SAME,
    progress: Tell | None = None,
) -> Duplicates:
    """Finds copies among the videos of an index: encoded anew, scaled, trimmed, mirrored, parts of longer ones.

    Compares thumbnails of the frames that were embedded, and decodes nothing. A part of a video without windows is
    found if it holds three of the video's frames, which is a quarter of its length. Pairs are compared only if frames
    of both have a hash in common, so time and memory grow with the number of videos (benchmarks/duplicates.py).

    Args:
        index: URI of the index, or an open one; $C2V_INDEX or ./c2v-index by default.
        ids: of the rows to compare; all by default.
        by: what the splits are: "folder" (those below what all paths have in common), "tags", patterns of paths such as
            ("train/*", "test/*"), or a mapping of ids to splits.
        least: cosine from which two videos are copies, in [0, 1].
        progress: called with the number of pairs compared, and of all.

    Raises:
        VideoIndexError: there is no index.
        QueryError: ``by`` or ``least`` is not allowed.
    """
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
        raise QueryError(f"least is {least!r}; it must be a cosine that lies in [0, 1]")
    opened = index if isinstance(index, VideoIndex) else open_index(index)
    tracks = Tracks.of(opened, ids)
    splits = _splits(tracks, by)
    found = _found(tracks, least, progress)
    groups = [
        _group(tracks, members, {pair: found[pair] for pair in pairs}, splits) for members, pairs in _components(found)
    ]
    groups.sort(key=lambda group: (not group.leaks, -len(group.videos), group.videos[0].path))
    blank = int((tracks.shown < LEAST).sum())
    return Duplicates(opened.uri, len(tracks), len(tracks.without), blank, tuple(groups))


Found = dict[tuple[int, int], tuple[Fit, bool]]  # (whole, clip) -> how one lies in the other, and whether mirrored


def _found(tracks: Tracks, least: float, progress: Tell | None) -> Found:
    """The pairs of copies among all candidates, and within the groups that they make."""
    likely = [(pairs, mirrored) for mirrored in (False, True) for pairs in [candidates(tracks, mirrored=mirrored)]]
    total, done, found = sum(len(pairs) for pairs, _ in likely), 0, Found()
    for a, b in _identical(tracks):
        found[a, b] = Fit(1.0, 0.0, tracks.durations[a]), False
    for pairs, mirrored in likely:
        for a, b in pairs.tolist():
            _compare(tracks, a, b, mirrored, least, found)
            done += 1
            if progress and done % 1000 == 0:
                progress(done, total)
    for members, _ in _components(found):
        if len(members) <= COMPLETE:
            for a, b in combinations(sorted(members), 2):
                for mirrored in (False, True):
                    _compare(tracks, a, b, mirrored, least, found)
    if progress:
        progress(total, total)
    return found


def _identical(tracks: Tracks) -> Iterator[tuple[int, int]]:
    """Pairs of videos of the same bytes, each with the first of them."""
    first = dict[tuple[str, int | None], int]()
    for number, (content, size) in enumerate(zip(tracks.fingerprints, tracks.sizes, strict=True)):
        if content is not None:
            other = first.setdefault((content, size), number)
            if other != number:
                yield _ordered(tracks, other, number)


def _compare(tracks: Tracks, a: int, b: int, mirrored: bool, least: float, found: Found) -> None:
    """Adds a pair to those found, unless it is no copy, or known as one."""
    whole, clip = _ordered(tracks, a, b)
    if (whole, clip) in found:
        return
    shorter: Track = tracks[clip].mirrored() if mirrored else tracks[clip]
    best = fit(shorter, tracks[whole])
    if best is not None and best.cosine > least:
        found[whole, clip] = best, mirrored


def _ordered(tracks: Tracks, a: int, b: int) -> tuple[int, int]:
    """The one that rather is the original first: the longer, then the larger, then by path."""
    if abs(tracks.durations[a] - tracks.durations[b]) > 1e-6:
        return (a, b) if tracks.durations[a] > tracks.durations[b] else (b, a)

    def key(number: int) -> tuple[int, str, str]:
        return -(tracks.sizes[number] or 0), tracks.paths[number], tracks.ids[number]

    return (a, b) if key(a) <= key(b) else (b, a)


def _components(found: Found) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Videos that pairs link, and these pairs."""
    parent = dict[int, int]()

    def root(number: int) -> int:
        parent.setdefault(number, number)
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for a, b in found:
        parent[root(a)] = root(b)
    members, pairs = dict[int, list[int]](), dict[int, list[tuple[int, int]]]()
    for number in list(parent):
        members.setdefault(root(number), []).append(number)
    for pair in found:
        pairs.setdefault(root(pair[0]), []).append(pair)
    return [(members[at], pairs[at]) for at in members]


def _group(tracks: Tracks, members: list[int], found: Found, splits: list[tuple[str, ...]]) -> Group:
    """The group of these videos: the longest, largest and most linked first."""
    links = Counter(number for pair in found for number in pair)
    wholes = Counter(whole for whole, _ in found)
    members = sorted(members, key=lambda n: (-wholes[n], -links[n], tracks.paths[n], tracks.ids[n]))
    place = {number: n for n, number in enumerate(members)}
    pairs = [
        Pair(
            place[whole],
            place[clip],
            _kind(tracks, whole, clip, how, mirrored),
            round(min(how.cosine, 1.0), 4),
            round(how.start, 3),
            round(how.end, 3),
            leak=bool(splits[whole] and splits[clip] and not set(splits[whole]) & set(splits[clip])),
        )
        for (whole, clip), (how, mirrored) in found.items()
    ]
    videos = (Member(tracks.ids[n], tracks.paths[n], tracks.durations[n], splits[n]) for n in members)
    return Group(tuple(videos), tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second))))


def _kind(tracks: Tracks, whole: int, clip: int, how: Fit, mirrored: bool) -> Kind:
    length = tracks.durations[whole]
    if mirrored:
        return "mirror"
    if how.retimed:
        return "retimed"
    if length - (how.end - how.start) > near(length):
        return "trim" if how.end - how.start >= length / 2 else "part"
    content = tracks.fingerprints[whole], tracks.sizes[whole]
    if content[0] is not None and content == (tracks.fingerprints[clip], tracks.sizes[clip]):
        return "identical"
    shapes = [_shape(tracks.paths[n]) for n in (whole, clip)]
    return "scaled" if None not in shapes and shapes[0] != shapes[1] else "re-encode"


@lru_cache(maxsize=10_000)
def _shape(path: str) -> tuple[int, int] | None:
    """Width and height of a video file, None of anything else."""
    facts = video_facts(path) if os.path.isfile(path) else None
    return (facts["frame_width"], facts["frame_height"]) if facts else None


def _splits(tracks: Tracks, by: Splits | None) -> list[tuple[str, ...]]:
    """The splits that each video is in."""
    if by is None:
        return [()] * len(tracks)
    if by == "tags":
        return [tuple(sorted(tags)) for tags in tracks.tags]
    if by == "folder":
        folders = [os.path.dirname(path) for path in tracks.paths]
        above = len(os.path.commonpath(folders).split(os.sep)) if folders else 0
        parts = [folder.rstrip(os.sep).split(os.sep) for folder in folders]
        return [(part[above],) if len(part) > above else (".",) for part in parts]
    if isinstance(by, Mapping):
        return [tuple(by.get(i, ())) for i in tracks.ids]
    if isinstance(by, str):
        raise QueryError(f"by is {by!r}; allowed are {', '.join(BY)}, several patterns of paths, or id -> splits")
    return [tuple(p for p in by if fnmatchcase(path, p) or fnmatchcase(path, f"*/{p}")) for path in tracks.paths]
