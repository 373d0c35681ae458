"""What is being made lies aside, in a hidden folder of its process, and takes its place as a whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


class Aside:
    """A new, empty folder ``.NAME.HEX`` in ``parent``, until it is closed. It is this user's alone.

    Those of this name whose processes were killed are removed: a process holds a lock on its own.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: Path, name: str) -> None:
        _clear(parent, name)
        while True:
            self.folder = parent / f".{name}.{uuid.uuid4().hex}"
            self.folder.mkdir(mode=0o700)
            self._handle = _locked(self.folder, wait=True)
            if self.folder.is_dir():
                return
            self.close()  # before it had its lock, another process took it for one that was left

    def close(self) -> None:
        """Removes it, with all that is still in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def clear(parent: Path, name: str) -> None:
    """Removes what processes that were killed left aside; nothing happens where that is not possible."""
    with suppress(OSError):
        _clear(parent, name)


def _clear(parent: Path, name: str) -> None:
    for left in [path for path in parent.iterdir() if _is_one(path.name, name)]:
        if (handle := _locked(left, wait=False)) >= 0:
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)


@contextmanager
def aside(parent: Path, name: str) -> Iterator[Path]:
    """The folder of an ``Aside`` for the block."""
    made = Aside(parent, name)
    try:
        yield made.folder
    finally:
        made.close()


def put(new: Path, target: Path) -> None:
    """Gives a file or folder that lies aside the name ``target``; what had it lies aside then.

    In one step where the system can exchange two folders, as Linux can.
    """
    if not target.is_dir() or target.is_symlink():
        new.replace(target)
    elif not exchange(new, target):
        old = new.with_name(f"{new.name}.old")
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            old.rename(target)
            raise


def exchange(a: Path, b: Path) -> bool:
    """Lets two folders change places in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    return (
        rename is not None
        and rename(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), ctypes.c_uint(RENAME_EXCHANGE)) == 0
    )


def _is_one(name: str, of: str) -> bool:
    tail = name.removeprefix(f".{of}.")
    return name != tail and len(tail) == 32 and set(tail) <= set("0123456789abcdef")


def _locked(folder: Path, *, wait: bool) -> int:
    """A handle that holds the lock on a folder; -1 where none can be had, or not without waiting for another's."""
    if os.name != "posix":
        return -1
    import fcntl

    handle = -1
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    if handle >= 0:
        os.close(handle)
    return -1
