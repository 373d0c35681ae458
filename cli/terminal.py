"""The one place where text leaves for the terminal: any text, to any standard output, in lines that steer nothing."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO, cast

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.paths import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


LINES_BYTES = 64 * 1024  # of standard input that are read at once


def prepare() -> None:
    """Has standard output and error escape what their encoding lacks, and makes the streams that were closed."""
    warn_once.cache_clear()
    if sys.stdin is None:
        sys.stdin = _null(0, os.O_RDONLY)
    if sys.stdout is None:  # what is opened next must not get its number; writing to this one fails
        sys.stdout = _null(1, os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _null(2, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish() -> None:
    """Sends what still waits; raises as ``say`` does."""
    with _sending():
        pass


def say(text: object) -> None:
    """A line on standard output.

    Raises:
        Clip2VideoError: it cannot be written, as on a full disk.
        SystemExit: the reader of a pipe has gone.
    """
    with _sending():
        sys.stdout.write(printable(text) + "\n")


def document(value: object, default: Any = None) -> None:
    """A JSON document on standard output, in ASCII."""
    with _sending():
        sys.stdout.write(json.dumps(value, default=default, indent=2) + "\n")


def json_line(value: object) -> None:
    """A JSON document in one line of standard output, in ASCII, sent at once."""
    with _sending():
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()


def lines() -> Iterator[list[str]]:
    """The lines of standard input but for blank ones, those together that are there at once.

    Raises:
        Clip2VideoError: one is no text in UTF-8; those before it were given.
    """
    rest, number, more = b"", 0, True
    source = cast("io.BufferedReader", sys.stdin.buffer)
    while more:
        read = source.read1(LINES_BYTES)
        more = bool(read)
        *whole, rest = (rest + read).split(b"\n") if more else (rest, b"")
        texts, wrong = list[str](), 0
        for line in whole:
            number += 1
            try:
                texts.append(line.decode("utf-8").strip())
            except UnicodeDecodeError:
                wrong = number
                break
        if texts := [text for text in texts if text]:
            yield texts
        if wrong:
            raise Clip2VideoError(f"line {wrong} of standard input is no text in UTF-8")


def documents(values: Iterable[object]) -> None:
    """A JSON array on standard output, of values that are not kept."""
    with _sending():
        before = "[\n  "
        for value in values:
            sys.stdout.write(before + json.dumps(value))
            before = ",\n  "
        sys.stdout.write("[]\n" if before[0] == "[" else "\n]\n")


def show(*parts: RenderableType, soft_wrap: bool = False) -> None:
    """What Rich lays out, on standard output. Text of users goes into it as ``plain`` text."""
    from rich.console import Console

    console = Console(highlight=False)
    with _sending():
        for part in parts:
            console.print(part, soft_wrap=soft_wrap)


def plain(text: object, style: str = "") -> Text:
    """Text as it is, for a cell of a table: without markup, emoji and controls."""
    from rich.text import Text

    return Text(printable(text), style)


def warn(text: object) -> None:
    """A line on standard error. Where that is full, there is nobody to tell."""
    try:
        sys.stderr.write(f"c2v: {printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


@cache
def warn_once(text: str) -> None:
    """``warn``, but for what was said already."""
    warn(text)


@contextmanager
def _sending() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if isinstance(error, BrokenPipeError):  # as by head, which has what it wanted
            raise SystemExit(1) from None
        raise Clip2VideoError(f"cannot write to standard output: {error.strerror}") from None


def _discard(stream: TextIO) -> None:
    """Lets the text that waits go nowhere: Python would try again at its end, and change the exit code."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _null(number: int, flags: int) -> TextIO:
    os.dup2(os.open(os.devnull, flags), number)
    return open(number, "w" if number else "r", encoding="utf-8", closefd=False)
