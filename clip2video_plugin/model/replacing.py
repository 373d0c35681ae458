"""Folders that are replaced as a whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clip2video_plugin.alone import alone_in
from clip2video_plugin.aside import exchange


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of ``folder`` when all has gone well.

    Whenever the process ends, ``folder`` is the old one or the new one and whole. What a killed process leaves
    beside it (``.NAME.new``) goes with the next one.
    """
    folder = folder.resolve()  # a link stays one
    folder.parent.mkdir(parents=True, exist_ok=True)
    new, old = (folder.with_name(f".{folder.name}.{age}") for age in ("new", "old"))
    with alone_in(folder.parent):
        if old.exists() and not folder.exists():  # between the two steps below
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for file in new.iterdir():
                _flush(file)
            _flush(new)
            if not folder.exists():
                new.rename(folder)
            elif not exchange(new, folder):
                folder.rename(old)
                try:
                    new.rename(folder)
                except BaseException:
                    old.rename(folder)
                    raise
            _flush(folder.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    if os.name != "posix":  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
