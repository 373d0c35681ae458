"""What is to be embedded: paths and URIs as a user names them, and lists of such in files or standard input."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from clip2video_plugin import stores
from clip2video_plugin.encode import Item
from clip2video_plugin.errors import Clip2VideoError, VideoReadError, first_line
from clip2video_plugin.paths import expanded
from clip2video_plugin.places import Place, Uri, absolute, place_of, without_credentials
from clip2video_plugin.rows import video_id
from clip2video_plugin.stores import Stamp
from clip2video_plugin.subtitles import Line, Sidecars
from clip2video_plugin.video.files import NO_STAMP, Found, each_once, named_videos

STDIN = "-"
COLUMNS = ("path", "uri", "filepath")  # the first that is there names the videos
PARQUET, UTF8, UTF16 = b"PAR1", b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
LONGEST = 65_536  # bytes of a line
ROWS = 8_192  # of Parquet in memory

Listed = str | Path | Uri | Iterable[str | Path | Uri]


@dataclass(frozen=True)
class Inputs:
    """Videos by names (``video.files.find_videos``; "-" is a list on standard input), then those that a list names.

    Names of an iterator are read as they are needed. In a list, a name is a path, seen from the working directory, or
    a URI; a folder stands for the videos below it, one of a store where its name ends in "/". What a list names and is
    not there is given, so that it fails by name.

    ``listed`` is a text file or Parquet, local or a URI, "-" for standard input, or the names. In a text, blank lines
    and those that begin with "#" are passed over. Of Parquet, columns: ``path``, ``uri`` or ``filepath``; where it has
    ``size`` in bytes and ``mtime`` (a timestamp, or seconds since 1970) as well, stores are not asked for these.
    """

    paths: str | Place | Iterable[str | Place]
    listed: Listed | None = None

    @property
    def names(self) -> Iterable[str | Place]:
        return [self.paths] if isinstance(self.paths, str | Path | Uri) else self.paths

    def videos(self, passed_over: Counter[str] | None = None) -> Iterator[Found]:
        """Each once, with what a listing says of it.

        Raises:
            VideoReadError: what is named does not exist, or a store cannot be listed.
            Clip2VideoError: a list cannot be read, or is none.
        """
        alone = self.listed is None and isinstance(self.names, list | tuple) and len(self.names) == 1
        videos = self._all(passed_over)
        return videos if alone and self.names != [STDIN] else each_once(videos)

    def _all(self, passed_over: Counter[str] | None) -> Iterator[Found]:
        for name in self.names:
            yield from _listed(STDIN, passed_over) if str(name) == STDIN else named_videos(name, passed_over)
        if self.listed is not None:
            yield from _listed(self.listed, passed_over)

    def count(self) -> int | None:
        """How many there are, None where only listing a store or reading to the end would say so.

        Local folders are walked, and local lists read; in these one that is named twice counts twice.

        Raises:
            VideoReadError, Clip2VideoError: as of ``videos``.
        """
        names = self.names
        if not isinstance(names, list | tuple):
            return None
        if any(str(name) == STDIN or isinstance(place_of(name), Uri) for name in names):
            return None
        listed = 0 if self.listed is None else _count(self.listed)
        return None if listed is None else listed + sum(1 for _ in Inputs(names).videos())

    def count_items(self, part: tuple[int, int]) -> int | None:
        """``count`` of a part, of which a list does not say how many it has of it."""
        counted = self.listed is None and self.count() is not None
        return sum(1 for _ in items_of(self.videos(), part)) if counted else None


def items_of(videos: Iterable[Found], part: tuple[int, int] | None, sidecars: Sidecars | None = None) -> Iterator[Item]:
    """The videos of a part, (2, 4) the second of four, with the ids of their rows and what is said beside them."""
    for found in videos:
        item = Item(found.place, video_id(found.place), stamp=found.stamp)
        if part is not None and int(item.id, 16) % part[1] != part[0] - 1:
            continue
        if sidecars and isinstance(found.place, Path):
            item = replace(item, beside=sidecars.lines)
        elif sidecars and found.texts is not None:  # of an object that was not listed nobody knows
            texts = [text for text, _ in found.texts]
            told = max((time for _, time in found.texts), default=None)
            item = replace(item, beside=partial(_read, sidecars, texts), told=told)
        yield item


def _read(sidecars: Sidecars, texts: Sequence[Place], _: Place) -> list[Line] | None:
    """What texts that were listed beside an object say."""
    return sidecars.read(texts)


def _listed(listed: Listed, passed_over: Counter[str] | None) -> Iterator[Found]:
    for name, stamp in _names(listed):
        try:
            place = place_of(name)
        except Clip2VideoError:  # which opening it says
            yield Found(Uri(without_credentials(str(name))), NO_STAMP)
            continue
        if isinstance(place, Uri) and (stamp is not None or not place.text.endswith("/")):
            yield Found(place, stamp)
            continue
        try:
            yield from named_videos(place, passed_over)
        except VideoReadError:
            yield Found(absolute(place), NO_STAMP)


def _count(listed: Listed) -> int | None:
    """How many names a list has, None where only reading it elsewhere, or once and for all, would say so."""
    if isinstance(listed, list | tuple):
        return len(listed)
    if not isinstance(listed, str | Path) or str(listed) == STDIN or isinstance(place := place_of(listed), Uri):
        return None
    if os.path.exists(place := expanded(place)) and not place.is_file():  # a pipe, or a folder, which reading it says
        return None
    with _opened(place) as file:
        if _is_parquet(file):
            return int(_columns(file, str(place))[0].metadata.num_rows)
        return sum(1 for _ in _lines(file, str(place)))


def _names(listed: Listed) -> Iterator[tuple[str | Path | Uri, Stamp | None]]:
    if not isinstance(listed, str | Path | Uri):
        yield from ((name, None) for name in listed)
    elif str(listed) == STDIN:
        yield from ((name, None) for name in _lines(sys.stdin.buffer, "standard input"))
    else:
        place = place_of(listed)
        with _opened(place) as file:
            if _is_parquet(file):
                yield from _rows(file, str(place))
            else:
                yield from ((name, None) for name in _lines(file, str(place)))


@contextmanager
def _opened(place: Place) -> Iterator[io.BufferedReader]:
    try:
        raw: Any = stores.opened(place) if isinstance(place, Uri) else expanded(place).open("rb", buffering=0)
    except VideoReadError as error:
        raise Clip2VideoError(f"cannot read the list {place}: {error.reason}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Clip2VideoError(f"cannot read the list {place}: {reason}; name a file with a video a line") from None
    with io.BufferedReader(raw, LONGEST) as file:
        yield file


def _is_parquet(file: io.BufferedReader) -> bool:
    return file.peek(4)[:4] == PARQUET


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    number = 0
    while line := _line(file, name):
        number += 1
        if number == 1:
            line = line.removeprefix(UTF8)
            if line.startswith((*UTF16, PARQUET)):
                kind = "Parquet, which is read from a file (--list FILE)" if line.startswith(PARQUET) else "UTF-16"
                raise Clip2VideoError(f"the list {name} is {kind}; write a path or URI a line, as text in UTF-8")
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if b"\0" in line or len(line) >= LONGEST:
            raise Clip2VideoError(
                f"line {number} of the list {name} is no text; write a path or URI a line, or Parquet"
            )
        if line.strip() and not line.startswith(b"#"):
            yield os.fsdecode(line)


def _line(file: BinaryIO, name: str) -> bytes:
    with _plainly(name):
        return file.readline(LONGEST)


@contextmanager
def _plainly(name: str) -> Iterator[None]:
    """What goes wrong while a list is read, in one line."""
    try:
        yield
    except (OSError, ValueError, TypeError, NotImplementedError, VideoReadError) as error:  # Arrow's are of these
        reason = error.reason if isinstance(error, VideoReadError) else first_line(error)
        raise Clip2VideoError(f"cannot read the list {name}: {reason}") from None


def _columns(file: BinaryIO, name: str) -> tuple[Any, str, list[str]]:
    """A Parquet file, its column of names, and those of size and time of change where it has them."""
    from pyarrow.parquet import ParquetFile

    with _plainly(name):
        table = ParquetFile(file)
    there = {column.lower(): column for column in reversed(table.schema_arrow.names)}
    column = next((there[name] for name in COLUMNS if name in there), None)
    if column is None:
        raise Clip2VideoError(
            f"the list {name} has no column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}; "
            f"it has {', '.join(table.schema_arrow.names) or 'none'}"
        )
    return table, column, [there["size"], there["mtime"]] if {"size", "mtime"} <= there.keys() else []


def _rows(file: BinaryIO, name: str) -> Iterator[tuple[str, Stamp | None]]:
    """Of a Parquet file: names, and stamps where it has them."""
    import pyarrow as pa

    table, column, stamped = _columns(file, name)
    batches = table.iter_batches(ROWS, columns=[column, *stamped])
    while True:
        with _plainly(name):
            batch = next(batches, None)
            if batch is None:
                return
            names = batch.column(column).cast(pa.string()).to_pylist()
            sizes, times = (batch.column(one) for one in stamped) if stamped else ([None] * len(names),) * 2
            rows = list(zip(names, _whole(sizes), _seconds(times), strict=True))
        for text, size, time in rows:
            if text:
                yield text, None if size is None or time is None else (size, float(time))


def _whole(column: Any) -> Any:
    """Whole numbers of a column, None where it has none."""
    import pyarrow as pa

    return column.cast(pa.int64()).to_pylist() if isinstance(column, pa.Array) else column


def _seconds(column: Any) -> Any:
    """Whole seconds since 1970 of timestamps or numbers, as a store's own are (``stores.stamp_of``)."""
    import pyarrow as pa

    if not isinstance(column, pa.Array):
        return column
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s", column.type.tz), safe=False)
    return column.cast(pa.int64(), safe=False).to_pylist()
