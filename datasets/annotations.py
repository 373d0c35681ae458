"""Reading annotation files that may be wrong, large, or hostile: one-line errors, counted warnings, no code run."""

from __future__ import annotations

import codecs
import io
import json
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from clip2video_plugin.errors import AnnotationError

PICKLE_LIMIT = 64 << 20  # bytes
OnMissing = Literal["skip", "error", "keep"]
"""What to do about videos that are not there."""
YOUTUBE = re.compile(r"https?://(www\.|m\.)?(youtube\.com|youtu\.be)/\S+")
# C0 and C1 control characters, and lone surrogates, which MongoDB refuses
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
SURROGATES = re.compile("[\ud800-\udfff]")
SPACES = re.compile(r"[\t\r\n\v\f\x85]+")
LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines() would split at characters inside captions, such as U+2028
LARGEST = (1 << 63) - 1  # number that MongoDB holds


class NoAnnotations(AnnotationError):
    """A file has none of a benchmark's layouts: it lies beside the annotations and is something else."""


class NotText(AnnotationError):
    """A file is in another encoding than UTF-8 or UTF-16, or no text at all."""


@dataclass
class Annotation:
    """What the files say of one video. Times in seconds; ``captions`` in their order, repeats kept.

    ``raw_captions`` are the captions before they were cleaned, ``source`` is the name of the file that they are from.
    """

    video_id: str
    captions: list[str] = field(default_factory=list)
    raw_captions: list[str] = field(default_factory=list)
    caption_ids: list[int] = field(default_factory=list)
    captions_zh: list[str] = field(default_factory=list)
    start: float | None = None
    end: float | None = None
    source_url: str | None = None
    category: str | None = None
    source: str = ""


Warnings = Counter[str]  # kind -> how often


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, with or without byte order mark, or in UTF-16 with one.

    Raises:
        AnnotationError: it cannot be read, or (NotText) is in another encoding; the message gives the offset.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error.strerror or error}") from None
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if utf_16 else "UTF-8"
        raise NotText(f"{path} is not {kind} at byte {error.start}; save it as UTF-8") from None


def lines_of(text: str) -> list[str]:
    """The lines of a text, which end at CR, LF or both and nowhere else."""
    return LINE_END.split(text)


def read_json(path: Path, expected: str) -> Any:
    """A JSON file. ``expected`` says in words which layouts are accepted.

    Raises:
        AnnotationError: it is no JSON, or an object gives a key twice; the message gives the file, the offset and
            what was expected.
    """
    return parse_json(read_text(path), str(path), expected)


def parse_json(text: str, place: str, expected: str) -> Any:
    """As ``read_json``, of a text that is at ``place``."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except _Twice as error:
        raise AnnotationError(f"{place} gives {str(error)[:80]!r} twice, with different values; keep one") from None
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-8", "surrogatepass"))
        raise AnnotationError(f"{place} is no JSON at byte {offset}: {error.msg}; expected {expected}") from None
    except RecursionError:
        raise AnnotationError(f"{place} is nested too deeply; expected {expected}") from None
    except ValueError:  # Python's bound on the digits of a whole number
        raise AnnotationError(f"{place} holds a number of thousands of digits; expected {expected}") from None


class _Twice(Exception):
    """A key that an object gives twice, of which Python would keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        for key, value in pairs:
            if value != out[key]:
                raise _Twice(key)
    return out


class _Plain(pickle._Unpickler):
    """Builds dicts, lists, tuples, strings and numbers; anything that names code is refused.

    Python's own, as that in C makes room for as much as a few bytes of a file ask for.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: act for code, act in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it holds a persistent id")


def read_pickle(path: Path) -> Any:
    """A pickle of plain values.

    Raises:
        AnnotationError: it is larger than 64 MB, damaged, or holds more than plain values.
    """
    try:
        if path.stat().st_size > PICKLE_LIMIT:
            raise AnnotationError(f"{path} has over {PICKLE_LIMIT >> 20} MB; convert it to JSON")
        return _Plain(io.BytesIO(path.read_bytes())).load()
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        raise AnnotationError(
            f"{path} is refused: {error}, and loading it could run code; convert it to JSON"
        ) from None
    except AnnotationError:
        raise
    except Exception as error:  # a pickle that no writer made can fail in any way
        raise AnnotationError(f"{path} is no pickle, or damaged: {type(error).__name__} {error}") from None


def clean_caption(text: Any, warnings: Warnings) -> str | None:
    """A caption that MongoDB and the App can show: no control characters, no edge spaces. None when nothing is left."""
    if not isinstance(text, str):
        warnings["captions that are no text"] += 1
        return None
    tidy = CONTROL.sub("", SPACES.sub(" ", text))
    if tidy != text:
        warnings["captions with control characters"] += 1
    tidy = tidy.strip()
    if not tidy:
        warnings["empty captions"] += 1
        return None
    return tidy


def add_captions(annotation: Annotation, texts: Any, warnings: Warnings) -> None:
    """Adds those of a list of captions that can be kept, in order, repeats included."""
    if not isinstance(texts, list):
        warnings["captions that are no text"] += 1
        return
    for text in texts:
        if (kept := clean_caption(text, warnings)) is not None:
            annotation.captions.append(kept)
            annotation.raw_captions.append(SURROGATES.sub("", text))


def add_file(videos: dict[str, Annotation], found: Iterable[Annotation], name: str, warnings: Warnings) -> None:
    """Adds what the file ``name`` says of its videos to what the files before it said.

    Captions are those of the first file that has some: never of two, since files repeat one another. That another
    file repeats them, or says otherwise, is counted.
    """
    for one in found:
        one.source = name
        known = videos.setdefault(one.video_id, one)
        if known is one:
            continue
        if known.start is None:
            known.start, known.end = one.start, one.end
        known.source_url, known.category = known.source_url or one.source_url, known.category or one.category
        known.captions_zh = known.captions_zh or one.captions_zh
        if not known.captions:
            known.captions, known.raw_captions, known.caption_ids = one.captions, one.raw_captions, one.caption_ids
            known.source = name
        elif Counter(one.captions) == Counter(known.captions):
            warnings[f"videos whose captions {name} repeats"] += 1
        elif one.captions:
            warnings[f"videos whose captions differ in {name}; those of {known.source} were taken"] += 1


def check_found(passed_over: list[AnnotationError], found: object, benchmark: str, expected: str) -> None:
    """Raises AnnotationError where every file was passed over, with the reason for the first."""
    if passed_over and not found:
        more = f" ({len(passed_over) - 1} more files are none either)" if len(passed_over) > 1 else ""
        raise AnnotationError(f"no {benchmark} annotations: {passed_over[0]}{more}; expected {expected}")


def clean_url(url: Any, warnings: Warnings) -> str | None:
    """A YouTube address, or None for anything else."""
    if url is None:
        return None
    if isinstance(url, str) and YOUTUBE.fullmatch(url):
        return url
    warnings["addresses that are not YouTube's"] += 1
    return None


def clean_times(start: Any, end: Any, warnings: Warnings) -> tuple[float | None, float | None]:
    """Start and end in seconds, or two Nones where they make no sense."""
    if start is None and end is None:
        return None, None
    try:
        start, end = float(start), float(end)
    except (TypeError, ValueError, OverflowError):
        start, end = 0.0, 0.0
    if not 0 <= start < end < float("inf"):
        warnings["times that make no sense"] += 1
        return None, None
    return start, end


def check_id(video_id: Any, pattern: re.Pattern[str], path: Path) -> str:
    """The id, if it is of the dataset's form; ids become file names, so others are refused.

    Raises:
        AnnotationError: it is not.
    """
    if not isinstance(video_id, str) or not pattern.fullmatch(video_id):
        raise AnnotationError(f"{path}: {str(video_id)[:80]!r} is no video id; expected the form {pattern.pattern}")
    return video_id


def read_list(path: Path, pattern: re.Pattern[str], warnings: Warnings) -> list[str]:
    """Ids of a list file: one a line, with or without the header ``video_id``; repeats are dropped and counted."""
    lines = [line.strip() for line in lines_of(read_text(path))]
    ids = [line for line in lines if line and line != "video_id"]
    for video_id in ids:
        check_id(video_id, pattern, path)
    unique = list(dict.fromkeys(ids))
    warnings["repeated ids in lists"] += len(ids) - len(unique)
    return unique
