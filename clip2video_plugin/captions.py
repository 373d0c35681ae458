"""What is said of videos: a table of captions, the text files beside them, and what of it their rows keep."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip2video_plugin.encode import Item
from clip2video_plugin.errors import AnnotationError, Clip2VideoError
from clip2video_plugin.index.connection import chunks
from clip2video_plugin.index.schema import ADDED, CAPTION_TIMES
from clip2video_plugin.paths import expanded, printable
from clip2video_plugin.places import Place, place_of, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip2video_plugin.index import VideoIndex

PORTION = 50  # films whose subtitles are in memory at once
CLOCKS = 600.0  # seconds by which the clocks of a store and of this machine may differ
NAMED = 3  # names that stand for the rest
# Captions, and of each [start, end] in seconds, [] of a line without times in a file beside the video, None of others
Told = tuple[list[str], list[list[float] | None]]


def told_by(row: dict[str, Any]) -> Told:
    """The captions of a row."""
    return row["captions"] or [], row.get(CAPTION_TIMES.name) or []


def captions_of(item: Item, before: Told | None = None) -> dict[str, Any]:
    """The columns of an item's captions.

    What a table or a field says of it replaces what such a one said before, and what files beside it say what such
    files said, so that they follow the files; where neither is known now, that of before stays.
    """
    told = list[tuple[str, list[float] | None]](zip_longest(*before)) if before else []
    if item.captions is not None:
        told = [(text, None) for text in item.captions] + [one for one in told if one[1] is not None]
    beside = None if item.beside is None else item.beside(item.path)
    if beside is not None:
        said: list[tuple[str, list[float] | None]] = [
            (line.text, [] if line.start is None or line.end is None else [line.start, line.end]) for line in beside
        ]
        told = [one for one in told if one[1] is None] + said
    texts = [text.encode(errors="replace").decode() for text, _ in told]
    times = [time for _, time in told]
    return {"captions": texts, CAPTION_TIMES.name: times if any(time is not None for time in times) else None}


def recaptioned(items: list[Item], index: VideoIndex) -> Iterator[dict[str, Any]]:
    """The rows of indexed items whose captions are others now, with these."""
    timed = [item.id for item in items if item.told is not None]
    rows = index.columns(["id", ADDED.name], timed)
    added = dict(zip(rows["id"].to_pylist(), rows[ADDED.name].to_pylist(), strict=True)) if timed else {}
    items = [item for item in items if item.captions is not None or _is_new(item, added.get(item.id))]
    for part in chunks(items, PORTION):
        told = index.captions([item.id for item in part]) if index.text.there else {}
        new = {item.id: captions_of(item, told.get(item.id)) for item in part}
        rows = index.rows([i for i, row in new.items() if told_by(row) != told.get(i, ([], []))])
        yield from (row | new[i] for i, row in rows.items())


def _is_new(item: Item, added: float | None) -> bool:
    """Whether texts beside it are to be read; not those of an object that its row was made after."""
    known = item.told is not None and added is not None and item.told + CLOCKS < added
    return item.beside is not None and not known


def read_table(table: str | Path, videos: Iterable[Place]) -> tuple[dict[str, list[str]], list[str]]:
    """Path of a video -> its captions of a file, and what of the file is of no use, in lines.

    Args:
        table: CSV, TSV, JSON or JSON lines with the name of a video and a caption in each record, or an object of
            names to captions. A name is a URI, or a path, seen from the table's folder or any other, or the file's
            name alone, with or without its ending (``datasets/pairing.py``).
        videos: all that it may speak of, paths absolute.

    Raises:
        AnnotationError: it cannot be read as such.
    """
    from clip2video_plugin.datasets.annotations import Warnings, clean_caption
    from clip2video_plugin.datasets.caption_table import records
    from clip2video_plugin.datasets.pairing import inside, pair

    if "://" in str(table) and not os.path.lexists(table):
        shown = without_credentials(str(table))
        raise AnnotationError(f"captions are read from a file of this machine and not from {shown}; copy it here")
    path, warnings, said = Path(os.path.abspath(expanded(table))), Warnings(), dict[str, dict[str, None]]()
    below = {str(video).lstrip("/"): str(video) for video in videos}
    stems = {os.path.splitext(os.path.basename(name))[0] for name in below}
    for name, texts in records(path, stems, warnings):
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            warnings["records without a file name"] += 1
            continue
        kept = (clean_caption(text, warnings) for text in (texts if isinstance(texts, list) else [texts]))
        said.setdefault(name, {}).update(dict.fromkeys(text for text in kept if text is not None))
    found, rest = dict[str, str](), dict[str, str]()  # name -> path below the root
    for name in said:
        from_table = os.path.normpath(os.path.join(path.parent, name)).lstrip("/")
        if "://" in name:
            from_table = _uri(name.strip())
        if from_table in below:
            found[name] = from_table
        elif (as_path := inside(name.strip(), "")) is not None:
            rest[name] = as_path
    pairs = pair(rest.values(), list(below))
    found |= {name: pairs.files[as_path] for name, as_path in rest.items() if as_path in pairs.files}
    captions = dict[str, dict[str, None]]()
    for name in said:
        if name in found:
            captions.setdefault(below[found[name]], {}).update(said[name])
    several = [name for name, as_path in rest.items() if as_path in pairs.ambiguous]
    strange = [name for name in said if name not in found and name not in several]
    notes = [
        *_note(path, "fit no video", strange, len(said)),
        *_note(path, "could mean several videos", several, len(said)),
        *(f"{path.name}: {count} {kind}" for kind, count in warnings.items() if count),
    ]
    return {video: list(texts) for video, texts in captions.items()}, [printable(note) for note in notes]


def _uri(name: str) -> str:
    try:
        return str(place_of(name)).lstrip("/")
    except Clip2VideoError:
        return name


def _note(table: Path, what: str, names: list[str], of: int) -> Iterator[str]:
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"{table.name}: {len(names)} of {of} names {what}: {', '.join(names[:NAMED])}{more}"
