"""The language of filters, small and closed: ``duration<60 and (tag:beach or not path:*.mov)``."""

from __future__ import annotations

import re
import time
from datetime import datetime
from math import isfinite
from typing import cast

from clip2video_plugin.errors import QueryError
from clip2video_plugin.index.filters import (
    Added,
    And,
    Caption,
    Comparison,
    Duration,
    Filter,
    Not,
    Or,
    PathIs,
    Tag,
)

__all__ = ["Added", "And", "Caption", "Duration", "Filter", "Not", "Or", "PathIs", "Tag", "parse_filter"]

MOST, DEEPEST = 200, 20  # conditions of a filter, and parentheses in each other
WAYS = "duration<60, path:*.mp4, caption:dog, tag:beach, added>2026-01-31 or added>7d, with and, or, not and ()"
_TOKEN = re.compile(
    r"""\s*(?:(?P<paren>[()])
    |(?P<name>[A-Za-z]+)\s*(?P<sign><=|>=|!=|==|[<>=:])\s*(?P<value>"(?:[^"]|"")*"|'(?:[^']|'')*'|[^\s()"'][^\s()]*)
    |(?P<word>[A-Za-z]+)(?![^\s()]))""",
    re.VERBOSE,
)
_LENGTH = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)\s*(?P<unit>s|m|min|h|d|w|)", re.IGNORECASE)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_filter(text: str, now: float | None = None) -> Filter:
    """The filter that a text says.

    ``duration`` compares (< <= > >= = !=) with seconds, or as 90s, 5m, 2h; ``added`` with a day or time of this
    machine's clock (2026-01-31, 2026-01-31T18:30), or with how long ago that was (7d, 12h, 2w). ``path`` takes a glob
    of the end of the path, in which "*" is any text, "/" too, and "?" one character; ``caption`` words; ``tag`` a tag
    as it is. A value with spaces or parentheses is in double or single quotes, where one of these is written twice.

    Args:
        now: seconds since 1970 that "ago" counts from; the present.

    Raises:
        QueryError: it is not written so.
    """
    return _Reader(text, time.time() if now is None else now).filter()


class _Reader:
    """Reads a filter from left to right: or of and of not of conditions."""

    def __init__(self, text: str, now: float) -> None:
        self._text, self._now = text, now
        self._tokens = list[re.Match[str]]()
        place, end = 0, len(text.rstrip())
        while place < end:
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._wrong(f"{text[place:].strip()[:40]!r} is no condition")
            self._tokens.append(found)
            place = found.end()
        if sum(1 for token in self._tokens if token["name"]) > MOST:
            raise QueryError(f"the filter has more than {MOST} conditions; ask for less at once")
        self._next = 0

    def filter(self) -> Filter:
        found = self._either(0)
        if self._next < len(self._tokens):
            raise self._wrong(f"{self._tokens[self._next][0].strip()!r} stands where and or or belongs")
        return found

    def _either(self, depth: int) -> Filter:
        if depth > DEEPEST:
            raise QueryError(f"the filter has more than {DEEPEST} parentheses in each other; write it with fewer")
        parts = [self._both(depth)]
        while self._takes("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self, depth: int) -> Filter:
        parts = [self._one(depth)]
        while self._takes("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self, depth: int) -> Filter:
        turned = False
        while self._takes("not"):
            turned = not turned
        if self._takes("("):
            found = self._either(depth + 1)
            if not self._takes(")"):
                raise self._wrong("a parenthesis is not closed")
        else:
            token = self._tokens[self._next] if self._next < len(self._tokens) else None
            if token is None or not token["name"]:
                raise self._wrong(f"{token[0].strip()!r} is no condition" if token else "a condition is missing")
            self._next += 1
            found = self._condition(token["name"].lower(), token["sign"], token["value"])
        return Not(found) if turned else found

    def _takes(self, word: str) -> bool:
        if self._next == len(self._tokens):
            return False
        token = self._tokens[self._next]
        taken = (token["paren"] or token["word"] or "").lower() == word
        self._next += taken
        return taken

    def _condition(self, name: str, sign: str, value: str) -> Filter:
        if value[0] in "\"'":
            value = value[1:-1].replace(2 * value[0], value[0])
        if name in ("path", "caption", "tag"):
            if not value or (name == "caption" and not Caption(value).words):
                raise self._wrong(f"{name} lacks its value")
            if sign not in (":", "=", "=="):
                raise self._wrong(f"{name} is followed by : and not by {sign}")
            return PathIs(value) if name == "path" else Caption(value) if name == "caption" else Tag(value)
        if name not in ("duration", "added"):
            raise self._wrong(f"{name} is none of duration, path, caption, tag, added")
        if sign == ":":
            raise self._wrong(f"{name} is followed by < <= > >= = or != and not by :")
        comparison = cast("Comparison", sign.replace("==", "="))
        if name == "added":
            return Added(comparison, self._time(value))
        length = _LENGTH.fullmatch(value.strip())
        if length is None or not isfinite(float(length["number"])):
            raise self._wrong(f"duration is compared with seconds, as 60, 90s, 5m or 2h, and not with {value!r}")
        return Duration(comparison, float(length["number"]) * _SECONDS[length["unit"].lower()])

    def _time(self, value: str) -> float:
        ago = _LENGTH.fullmatch(value.strip())
        if ago and ago["unit"] and isfinite(float(ago["number"])):
            return self._now - float(ago["number"]) * _SECONDS[ago["unit"].lower()]
        try:
            return datetime.fromisoformat(value.strip()).timestamp()
        except (ValueError, OverflowError, OSError):
            raise self._wrong(
                f"added is compared with a day or time, as 2026-01-31 or 2026-01-31T18:30, or with how long ago, "
                f"as 7d, 12h or 2w, and not with {value!r}"
            ) from None

    def _wrong(self, why: str) -> QueryError:
        return QueryError(f"the filter {self._text!r} cannot be read: {why}; allowed are {WAYS}")
