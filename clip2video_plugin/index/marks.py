"""Marks beside the locks of an index on this machine, which tell that a writer or builder left files behind.

The mark is there while a lock is held. Whoever ends well removes it. So a mark that is found when the lock is taken
is of a process that died or failed, and ``upkeep.sweep`` looks for what that left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEFT = ".c2v.left"  # somebody left something, and nobody has looked for it since
OPEN = ".open"  # after the name of a lock


@contextmanager
def marked(lock: Path) -> Iterator[None]:
    """Keeps the mark of a lock there while the block runs; the caller holds the lock."""
    mark, left = lock.with_name(lock.name + OPEN), lock.with_name(LEFT)
    if mark.exists():
        mark.replace(left)
    mark.touch()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            mark.replace(left)
        raise
    with suppress(OSError):  # then somebody looks in vain
        mark.unlink()


def left_in(folder: Path) -> bool:
    """Whether files may be left behind; a writer that works now counts as one that may."""
    return (folder / LEFT).exists() or any(folder.glob(f".c2v*{OPEN}"))
