"""Subtitles and other text files beside a video: what is said in it, and when. Files may be anything at all."""

from __future__ import annotations

import codecs
import html
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from clip2video_plugin import stores
from clip2video_plugin.errors import Clip2VideoError, VideoReadError
from clip2video_plugin.places import Place

SUBTITLES, LINES = (".srt", ".vtt"), ".txt"
ENDINGS = (*SUBTITLES, LINES)
FOLDERS = 16  # of a path, each of which is come back to from the folders in it
LARGEST = 16 << 20  # bytes; the subtitles of two hours have 100 thousand
CLOCK = r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{1,2})(?:[.,:]([0-9]{1,3}))?"
TIMING = re.compile(rf"\s*{CLOCK}\s*-{{1,3}}>\s*{CLOCK}")
TAG = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")  # <i>, <v Anna>, <00:01.000>, {\an8}
BINARY = re.compile("[\x00-\x08\x0e-\x1f]")  # of which no text is made
LINE_END = re.compile(r"\r\n|\r|\n")
UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class SubtitleError(Clip2VideoError):
    """A text file beside a video cannot be read as text."""


@dataclass(frozen=True)
class Line:
    """A line that belongs to a video; ``start`` and ``end`` in seconds where it is said at a time."""

    text: str
    start: float | None = None
    end: float | None = None


def read_lines(path: Place) -> list[Line]:
    """The subtitles of an .srt or .vtt file in their order, or the lines of another; none twice.

    Raises:
        SubtitleError: it cannot be read, is larger than 16 MB, or is no text.
    """
    text = _text(path)
    timed = path.suffix.lower() in SUBTITLES
    lines = parse_subtitles(text) if timed else (Line(tidy(line)) for line in LINE_END.split(text))
    return list(dict.fromkeys(line for line in lines if line.text))


def parse_subtitles(text: str) -> list[Line]:
    """The subtitles of a text in SubRip or WebVTT, as far as it is such; those without words are left out.

    What stands outside of them is passed over: headers, notes, styles, numbers. Times may lack hours or milliseconds;
    an end before its start is taken for it.
    """
    out, said = list[Line](), list[str]()
    times: tuple[float, float] | None = None

    def end() -> None:
        if times and (words := tidy(" ".join(said))):
            out.append(Line(words, *times))
        said.clear()

    for line in LINE_END.split(text):
        if "->" in line and (found := TIMING.match(line[:200])):
            if said and said[-1].strip().isdecimal():  # the number of this one, with no blank line before it
                said.pop()
            end()
            first, last = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
            times = min(first, last), max(first, last)
        elif not line.strip():
            end()
            times = None
        elif times:
            said.append(line)
    end()
    return out


def _seconds(clock: Iterable[str | None]) -> float:
    hours, minutes, seconds, rest = (part or "0" for part in clock)
    return 3600.0 * int(hours) + 60 * int(minutes) + int(seconds) + int(rest.ljust(3, "0")) / 1000


def tidy(text: str) -> str:
    """Words as they are said: no styling, entities, controls or spaces at the edges."""
    shown = html.unescape(TAG.sub("", text)) if "<" in text or "{" in text or "&" in text else text
    return " ".join(UNSHOWN.sub(" ", shown).split())


def _text(path: Place) -> str:
    """In the encoding that a mark or the bytes tell; what is no Unicode is Windows' Latin."""
    try:
        with path.open("rb") if isinstance(path, Path) else stores.opened(path) as file:
            data = file.read(LARGEST + 1)
    except VideoReadError as error:
        raise SubtitleError(f"{path} cannot be read: {error.reason}") from None
    except OSError as error:
        raise SubtitleError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise SubtitleError(f"{path} has over {LARGEST >> 20} MB, which no subtitles have")
    mark, encoding = next((m for m in MARKS if data.startswith(m[0])), (b"", _encoding(data)))
    text = data[len(mark) :].decode(encoding, errors="replace")
    if 100 * len(BINARY.findall(text)) > len(text):
        raise SubtitleError(f"{path} is no text")
    return text


def _encoding(data: bytes) -> str:
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark
        half = data[first:1000:2]
        if 2 * half.count(0) > len(half):
            return encoding
    try:
        data.decode()
        return "utf-8"
    except UnicodeDecodeError:
        return "cp1252"


class Sidecars:
    """The text files beside videos; remembers the folders that were looked at last, and what could not be read."""

    def __init__(self) -> None:
        self.unread = list[str]()
        self._in_folder = lru_cache(FOLDERS)(_by_owner)

    def lines(self, video: Place) -> list[Line] | None:
        """What the files beside a video say, none where there are none; None where one cannot be read."""
        try:
            texts = self.files(video)
        except OSError as error:
            self.unread.append(f"text files beside videos in {os.path.dirname(str(video))}: {error.strerror or error}")
            return None
        return self.read(texts)

    def read(self, texts: Iterable[Place]) -> list[Line] | None:
        """What these say; None where one cannot be read."""
        out = list[Line]()
        for path in texts:
            try:
                out += read_lines(path)
            except SubtitleError as error:
                self.unread.append(str(error))
                return None
        return list(dict.fromkeys(out))

    def files(self, video: Place) -> list[Path]:
        """``clip.srt``, ``clip.vtt``, ``clip.txt``, ``clip.mp4.srt``, ``clip.en.srt`` of ``clip.mp4``, by name.

        In any case, unless a video of exactly that name is there as well; one that fits two videos by leaving out
        parts is that of the longer name.

        Raises:
            OSError: the folder cannot be listed.
        """
        if not isinstance(video, Path):
            return []
        owners = self._in_folder(os.path.dirname(video))
        return [video.parent / name for name in texts_of(video.name, owners)]


def texts_of(video: str, owners: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of text files of a video, by ``owners_of``."""
    if not owners:
        return []
    stem = os.path.splitext(video)[0]
    names = {video, stem, _folded(video), _folded(stem)}
    return sorted({name for key in names for name in owners.get(key, ())})


def _by_owner(folder: str) -> dict[str, list[str]]:
    """``owners_of`` what a folder holds."""
    try:
        with os.scandir(folder) as entries:
            kinds = [(e.name, os.path.splitext(e.name)[1].lower() in ENDINGS and e.is_file()) for e in entries]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return owners_of([name for name, _ in kinds], [name for name, is_text in kinds if is_text])


def owners_of(names: Sequence[str], texts: Sequence[str]) -> dict[str, list[str]]:
    """Name of a video, or its stem, exact or folded -> text files of it, of the names in a folder."""
    if not texts:
        return {}
    others = set(names).difference(texts)
    exact = {*others, *(os.path.splitext(name)[0] for name in others)}
    folded = set(map(_folded, exact))
    out = dict[str, list[str]]()
    for text in texts:
        base, ending = os.path.splitext(text)
        parts = 1 if ending.lower() == LINES else 4  # of a language, as in clip.en.forced.srt
        for _ in range(parts):
            key = base if base in exact else _folded(base)
            if key in exact or key in folded:
                out.setdefault(key, []).append(text)
                break
            base = os.path.splitext(base)[0]
    return out


def _folded(name: str) -> str:
    """A name in small letters, as a key that no name is."""
    return "/" + unicodedata.normalize("NFC", name).casefold()
