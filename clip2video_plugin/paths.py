"""Names of files, which on Linux are any bytes: as text for a table, for a terminal, and back.

Python shows a byte that is not UTF-8 as a lone surrogate (``os.fsdecode``), which neither a table, nor MongoDB, nor a
terminal takes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# No path holds NUL, so text that starts an escape with it is no other path.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_STORED = re.compile("\0([0-9a-f]{4})")
# Controls (C0, DEL, C1), line and paragraph separators, lone surrogates, and what turns the direction of writing.
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def stored(path: str | Path) -> str:
    """A path as UTF-8 text for a column of a table: itself where it is that, and never that of another path.

    The same in every locale.
    """
    try:
        text = os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no file can be called so
        text = str(path)
    return _UNSTORABLE.sub(lambda found: f"\0{ord(found[0]):04x}", text)


def as_path(text: str) -> str:
    """The path that ``stored`` made the text of, as ``open`` takes it."""
    path = _STORED.sub(lambda found: chr(int(found[1], 16)), text)
    try:
        return os.fsdecode(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return path


def printable(text: object) -> str:
    r"""Text for a terminal: one line without controls; what it cannot show stands as in a shell's $'\xff'."""
    return _UNPRINTABLE.sub(lambda found: _escaped(found[0]), str(text))


def expanded(path: str | Path) -> Path:
    """A path as a user names it, with ``~`` for a home; a file that is called so, or a user there is not, stays."""
    try:
        return Path(path if os.path.lexists(path) else os.path.expanduser(path))
    except ValueError:  # no user can be called so
        return Path(path)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")
