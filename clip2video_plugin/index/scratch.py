"""A temporary folder for LanceDB's long work, which can be removed when its process was killed.

LanceDB makes folders in $TMPDIR; while it makes an index they hold megabytes. A process that is killed leaves them,
and their names do not say whose they are. So while LanceDB works, $TMPDIR is a folder of ours (``aside.py``).
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clip2video_plugin.aside import Aside, clear

NAME = "c2v-lance"
os.environ.setdefault("TMPDIR", tempfile.gettempdir())  # so that it is changed later, not added, while others read it
_guard, _inside = threading.Lock(), [0]  # how many blocks of this process run
_made = list[tuple[Aside, str]]()  # the folder, and what $TMPDIR was before


@contextmanager
def scratch() -> Iterator[None]:
    """While the block runs, temporary files of all threads go into a folder that is removed at its end."""
    if os.name != "posix":
        yield
        return
    with _guard:
        if not _inside[0]:
            with suppress(OSError):  # then they go where they went before
                _begin()
        _inside[0] += 1
    try:
        yield
    finally:
        with _guard:
            _inside[0] -= 1
            if not _inside[0] and _made:
                made, os.environ["TMPDIR"] = _made.pop()
                made.close()


def _begin() -> None:
    before = os.environ["TMPDIR"]
    made = Aside(Path(before), NAME)
    _made.append((made, before))
    os.environ["TMPDIR"] = str(made.folder)


def remove_dead() -> None:
    """Removes the folders of processes that are no more."""
    clear(Path(os.environ["TMPDIR"]), NAME)
