"""Downloads that resume and are checked; what a server says wrongly is refused in words."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from clip2video_plugin.alone import alone_in
from clip2video_plugin.errors import Clip2VideoError, first_line
from clip2video_plugin.web import Answer, Broken, Refused, Unreachable, ask, web_page

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 3.0, 10.0, 30.0)  # seconds, before a server that broke off is asked again
LARGEST = 16 << 30  # bytes of a file of which nobody says more

Progress = Callable[[int, int | None], None]  # (bytes there, bytes in all)
Tell = Callable[[str], None]


class OtherFile(Refused):
    """The SHA-256 is not the expected one; ``found`` is it."""

    def __init__(self, message: str, found: str) -> None:
        super().__init__(message)
        self.found = found


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is known of a file before it is there.

    Attributes:
        url: where it lies.
        sha256, size: what it must be, where that is known.
        largest: bytes that it cannot exceed.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    largest: int = LARGEST

    @property
    def most(self) -> int:
        return self.size or self.largest


def download(
    url: str,
    sha256: str,
    target: Path,
    *,
    progress: Progress | None = None,
    error: type[Clip2VideoError] = Clip2VideoError,
) -> Path:
    """Downloads a file to ``target``, unless it is there and whole.

    An interrupted download goes on where it stopped; ``target`` appears only when its SHA-256 is right.

    Raises:
        error: the server cannot be reached, or gives another file.
    """
    with in_words(url, error):
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(target.parent):  # two processes would write into one part
            bring(Wanted(url=url, sha256=sha256), target, progress=progress)
    return target


def bring(
    wanted: Wanted,
    target: Path,
    *,
    progress: Progress | None = None,
    tell: Tell | None = None,
    pauses: tuple[float, ...] = (),
    timeout: float = TIMEOUT,
    by: Callable[[Path], None] | None = None,
) -> str:
    """``download`` for whom is alone in the folder, and turns what is raised ``in_words``; returns the SHA-256.

    A server that breaks off is asked again after each of ``pauses``, counted anew whenever more has arrived.
    Without known SHA-256 the file is checked against what the server itself states of it.
    ``by`` fills a part in another way.
    """
    if found := _arrived(wanted, target):
        return found
    part = Path(f"{target}.part")
    if by:
        by(part)
        stated = None
    else:
        stated = _persist(wanted, part, progress, tell, pauses, timeout)
    found = _check(wanted, part, stated)
    if not wanted.sha256:
        _write_note(target, _Note(wanted.url))
    os.replace(part, target)
    _note_of(part).unlink(missing_ok=True)
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def in_words(url: str, error: type[Clip2VideoError]) -> Iterator[None]:
    """What goes wrong on the way becomes one line."""
    try:
        yield
    except Refused as refusal:
        raise error(refusal) from None
    except Broken as failure:
        raise error(f"{url} cannot be downloaded: {failure}; run the same command again to resume") from None
    except OSError as failure:  # the own disk's
        reason = ": ".join(str(part) for part in (failure.filename, failure.strerror or first_line(failure)) if part)
        raise error(f"{url} cannot be written: {reason}; run the same command again to resume") from None


@dataclass(frozen=True)
class _Note:
    """Beside a part, and beside a file of unknown SHA-256: from where it came, for the next run."""

    url: str
    validator: str | None = None
    total: int | None = None


def _persist(
    wanted: Wanted,
    part: Path,
    progress: Progress | None,
    tell: Tell | None,
    pauses: tuple[float, ...],
    timeout: float,
) -> str | None:
    """Fills a part over as many answers as it takes; returns the SHA-256 that the server states, if it does."""
    most, left, reached = _size(part), list(pauses), False
    while True:
        try:
            return _fill(wanted, part, progress, timeout)
        except Broken as failure:
            reached |= not isinstance(failure, Unreachable)
            if _size(part) > most:
                most, left = _size(part), list(pauses)
            if not left or not reached:
                raise
            if tell:
                tell(f"{failure}; trying again in {left[0]:g} s")
            time.sleep(left.pop(0))


def _fill(wanted: Wanted, part: Path, progress: Progress | None, timeout: float) -> str | None:
    """Appends to a part what one answer gives of it."""
    have, note = _size(part), _read_note(part)
    if note and note.url != wanted.url:
        note = None
    if have > wanted.most or (have and not note and not wanted.sha256):  # nothing says that it belongs to this file
        have = 0
    if have and have == wanted.size and wanted.sha256:
        return None  # only to be checked
    with ask(wanted.url, have, note.validator if note else None, timeout) as answer:
        if answer.nothing_left and (answer.total == have or (answer.total is None and wanted.sha256)):
            return answer.sha256
        moved = not wanted.sha256 and answer.start and note and answer.total != note.total
        if answer.nothing_left or answer.start not in (0, have) or moved:
            _forget(part)
            raise Broken(f"the server does not go on after byte {have}")
        return _take(wanted, part, answer, progress)


def _take(wanted: Wanted, part: Path, answer: Answer, progress: Progress | None) -> str | None:
    """Writes an answer's bytes, as far as it is what was asked for."""
    have, total = answer.start, answer.total
    if total is not None and (total > wanted.most or total != (wanted.size or total)):
        right = f"expected {wanted.size}" if wanted.size else f"at most {wanted.largest} can be right"
        raise Refused(f"{wanted.url} offers {total} bytes, {right}; nothing was kept")
    if wanted.sha256 and answer.sha256 and answer.sha256 != wanted.sha256:
        problem = f"offers a file with SHA-256 {answer.sha256}, expected {wanted.sha256}"
        raise OtherFile(f"{wanted.url} {problem}; nothing was kept", answer.sha256)
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise OSError(None, f"{_mb(total - have)} are needed, {_mb(free)} are free", str(part))
    chunk = answer.read(CHUNK)
    if (page := web_page(answer.kind, b"" if have else chunk)) is not None:
        raise Refused(f"{wanted.url} gave a web page{page} instead of the file; nothing was kept")
    _write_note(part, _Note(wanted.url, answer.validator, total))
    with part.open("ab" if have else "wb") as file:
        while chunk and have + len(chunk) <= wanted.most:
            file.write(chunk)
            have += len(chunk)
            if progress:
                progress(have, total or wanted.size)
            chunk = answer.read(CHUNK)
    if chunk:
        _forget(part)
        raise Refused(f"{wanted.url} gave more than {wanted.most} bytes; nothing was kept")
    whole = total if total is not None else wanted.size
    if whole is not None and have < whole:
        raise Broken(f"the connection ended after {have} of {whole} bytes")
    return answer.sha256


def _arrived(wanted: Wanted, target: Path) -> str | None:
    """The SHA-256 of the file, if an earlier run has brought it."""
    if not target.is_file():
        return None
    found, note = digest(target), _read_note(target)
    right = found == wanted.sha256 if wanted.sha256 else note is not None and note.url == wanted.url
    return found if right else None


def _check(wanted: Wanted, part: Path, stated: str | None) -> str:
    """The SHA-256 of what has arrived; deletes that, and raises Refused, where it is not what it should be."""
    with part.open("rb") as file:
        page = web_page("", file.read(1 << 16))
    found, expected, size = digest(part), wanted.sha256 or stated, _size(part)
    if page is not None:
        refusal = Refused(f"{wanted.url} gave a web page{page} instead of the file; it was deleted")
    elif wanted.size is not None and size != wanted.size:
        refusal = Refused(f"{wanted.url} gave {size} bytes, expected {wanted.size}; they were deleted")
    elif expected and found != expected:
        refusal = OtherFile(
            f"{wanted.url} gave a file with SHA-256 {found}, expected {expected}; it was deleted", found
        )
    else:
        return found
    _forget(part)
    raise refusal


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.from")


def _write_note(path: Path, note: _Note) -> None:
    _note_of(path).write_text(json.dumps(asdict(note)), encoding="utf-8")


def _read_note(path: Path) -> _Note | None:
    try:
        return _Note(**json.loads(_note_of(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    _note_of(path).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
