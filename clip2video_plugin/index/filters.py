"""Filters of rows as plain objects, and the SQL that LanceDB takes: written here alone, quoted by construction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index.connection import quoted
from clip2video_plugin.paths import stored

if TYPE_CHECKING:
    from clip2video_plugin.index.store import VideoIndex

Comparison = Literal["<", "<=", ">", ">=", "=", "!="]
# What words are made of: all but ASCII's controls, spaces and punctuation, and the spaces of Unicode.
NOT_IN_WORDS = "\0-/:-@\\[-`{-\x7f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = re.compile(f"[^{NOT_IN_WORDS}]+")


@dataclass(frozen=True)
class Duration:
    """The video's length in seconds compares so with a number; one of unknown length fits no comparison."""

    comparison: Comparison
    seconds: float


@dataclass(frozen=True)
class Added:
    """The time when the row was made compares so with one, in seconds since 1970."""

    comparison: Comparison
    time: float


@dataclass(frozen=True)
class PathIs:
    """The path, or the end of it from a "/" on, is ``glob``: "*" is any text, "?" one character."""

    glob: str


@dataclass(frozen=True)
class Caption:
    """Each of the words of ``text`` is one of the captions', whatever its case."""

    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """In lower case, as the column holds them."""
        return words_of(stored_text(self.text))


@dataclass(frozen=True)
class Tag:
    """One of the tags is ``tag``."""

    tag: str


@dataclass(frozen=True)
class Not:
    part: Filter


@dataclass(frozen=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Filter, ...]


Filter = Duration | Added | PathIs | Caption | Tag | Not | And | Or
COLUMNS = {Duration: "duration", Added: "added", PathIs: "path", Caption: "captions", Tag: "tags"}


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case."""
    return tuple(_WORD.findall(text.lower()))


def where_of(index: VideoIndex, kept: Filter) -> str:
    """The filter in SQL, for ``VideoIndex.search``.

    Raises:
        VideoIndexError: the table was made before a column was kept that the filter asks for.
    """
    if lacking := sorted(columns_of(kept) - set(index.column_names)):
        raise VideoIndexError(
            f"index {index.uri} was made before {' and '.join(lacking)} were kept; embed its videos again to filter "
            "by them (c2v embed PATH), and see c2v embed --tag"
        )
    return sql_of(kept)


def columns_of(kept: Filter) -> set[str]:
    """The columns that a filter asks for."""
    if isinstance(kept, And | Or):
        return {column for part in kept.parts for column in columns_of(part)}
    return columns_of(kept.part) if isinstance(kept, Not) else {COLUMNS[type(kept)]}


def sql_of(kept: Filter) -> str:
    """SQL that is true or false of every row, never unknown."""
    match kept:
        case And(parts) | Or(parts):
            between = " AND " if isinstance(kept, And) else " OR "
            return "(" + between.join(map(sql_of, parts)) + ")"
        case Not(part):
            return f"(NOT {sql_of(part)})"
        case Duration(comparison, number) | Added(comparison, number):
            return f"(({COLUMNS[type(kept)]} {comparison} {_number(number)}) IS TRUE)"
        case PathIs(glob):
            return f"(regexp_like(path, {quoted(glob_regex(glob))}) IS TRUE)"
        case Tag(tag):
            return f"(array_has(tags, {quoted(stored_text(tag))}) IS TRUE)"
        case Caption():
            text = "lower(array_to_string(captions, ' '))"
            found = [f"(regexp_like({text}, {quoted(word_regex(word))}) IS TRUE)" for word in kept.words]
            return "(" + " AND ".join(found or ["false"]) + ")"


def stored_text(text: str) -> str:
    """Text as a column of it holds it: what is no Unicode stands as "?"."""
    return text.encode(errors="replace").decode()


def _number(value: float) -> str:
    """A finite number without an exponent, with a point."""
    written = format(Decimal(repr(float(value))), "f")
    return written if "." in written else f"{written}.0"


def glob_regex(glob: str) -> str:
    """Of paths that fit; of ``stored`` ones, where a byte that is no UTF-8 is NUL and four digits."""
    wild = {"*": ".*", "?": "(?:\\x{0}[0-9a-f]{4}|[^\\x{0}])"}
    return "(?s)^(?:.*/)?" + "".join(wild.get(c) or _escaped(c) for c in stored(glob)) + "$"


def word_regex(word: str) -> str:
    """Of texts that hold a word."""
    edge = "".join(f"\\x{{{ord(c):x}}}" if c not in "-\\[" else c for c in NOT_IN_WORDS)
    return f"(?:^|[{edge}])" + "".join(map(_escaped, word)) + f"(?:[{edge}]|$)"


def _escaped(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"
