"""What came of an input, and which outcomes are alike."""

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from . import guard
from .target import Files, Room, Target

LONGEST = 4_000  # characters of a message that still is a line
PACKAGES = ("/clip2video_plugin/", "/datasets/", "/cli/")


@dataclass(frozen=True)
class Outcome:
    """``kind`` is accepted, refused or finding; ``name`` the error's; ``sign`` is equal for what is alike."""

    kind: str
    name: str = ""
    text: str = ""
    sign: str = ""


def outcome_of(target: Target, files: Files, room: Room) -> Outcome:
    """Reads an input as the product does."""
    from clip2video_plugin.errors import Clip2VideoError

    error: BaseException | None = None
    try:
        with guard.watching(room.folder) as broken:
            target.read(files, room)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # of Rust some are no Exception
        error = raised
    finally:
        room.clear()
    if broken:
        return Outcome("finding", "Guard", broken[0], f"Guard {broken[0].split()[0]}")
    if error is None:
        return Outcome("accepted")
    name = type(error).__name__
    if isinstance(error, Clip2VideoError):
        text = str(error)
        if not text or "\n" in text or len(text) > LONGEST:
            return Outcome("finding", name, f"no line: {text[:500]!r}", f"no line {name} {_place(error)}")
        return Outcome("refused", name, text, f"{name} {_template(text)}")
    text = "".join(traceback.format_exception(error, limit=-12))
    return Outcome("finding", name, text[-4000:], f"{name} {_place(error)}")


def _place(error: BaseException) -> str:
    """The last line of the product's that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/tests/" not in f.filename and any(part in f.filename for part in PACKAGES)]
    last = (own or list(frames))[-1]
    return f"{Path(last.filename).name}:{last.name}:{last.lineno}"


def _template(text: str) -> str:
    """A message without what it names."""
    text = re.sub(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"", "Q", text)
    text = re.sub(r"\S*/\S*", "P", text)
    return re.sub(r"\d[\d.e+-]*", "N", text)[:80]
