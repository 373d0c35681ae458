"""Undoes commits whose files were cut off on the disk, in tables on this machine.

LanceDB 0.40 does not notice when the last write of a file fails, as on a disk that is full for a moment: it commits
what is there of the file, and the table, or its index, can never be read again. Files of Lance end in the same few
bytes. So what a step has made is looked at, and the step is undone where something is cut off.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clip2video_plugin.index.connection import local_folder

ENDS = {".lance": b"LANC", ".idx": b"LANC", ".arrow": b"ARROW1"}  # of rows, of indexes, of which rows are removed
NEWEST = 2**64 - 1  # less the version it is in the name of a manifest; in tables of earlier versions the version is


@contextmanager
def undone_if_cut(table: Any) -> Iterator[None]:
    """Undoes what the block commits to a table where a file of it is cut off.

    Raises:
        OSError: a file was cut off; the table is as before.
    """
    home = local_folder(str(getattr(table, "uri", "db://")))
    if home is None:
        yield
        return
    before = _files(home)
    yield
    if cut := _cut(_files(home) - before):
        undone = "that was undone" if _undo(table, home, cut) else "no older version is left; import or embed again"
        raise OSError(f"{cut[0]} was not written to its end, as on a disk that is full; {undone}")


def repair(table: Any) -> None:
    """Undoes earlier commits of files that are cut off, where the processes that made them could not."""
    home = local_folder(str(table.uri))
    if home is not None and (cut := _cut(_files(home))):
        _undo(table, home, cut)


def _undo(table: Any, home: Path, cut: list[str]) -> bool:
    """Makes the newest version that needs none of these files the newest of all; False where there is none."""
    names = [in_manifest(path) for path in cut]
    versions = sorted((one["version"] for one in table.list_versions()), reverse=True)
    for version in versions:
        manifest = _manifest(home, version)
        if manifest and not any(name in manifest for name in names):
            if version != versions[0]:
                table.restore(version)
            return True
    if not all("_indices" in path for path in cut):
        return False
    for index in table.list_indices():  # older versions are gone; what is not there is made again
        table.drop_index(index.name)
    return True


def in_manifest(path: str | Path) -> bytes:
    """By what a manifest names a file: of rows its name, of an index a number, of removed rows a number in its name."""
    folder, name = os.path.basename(os.path.dirname(path)), os.path.basename(path)
    if folder == "data":
        return name.encode()
    if folder != "_deletions":
        return uuid.UUID(folder).bytes
    number = int(os.path.splitext(name)[0].split("-")[2])  # fragment-version-number, of 64 random bits
    groups = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])  # as Protocol Buffers write it


def _manifest(home: Path, version: int) -> bytes:
    for name in (f"{NEWEST - version:020}", str(version)):
        with suppress(FileNotFoundError):
            return (home / "_versions" / f"{name}.manifest").read_bytes()
    return b""


def _files(home: Path) -> set[str]:
    """The files of rows and indexes of a table, and of the rows that are removed."""
    found = _in(home / "data") | _in(home / "_deletions")
    for folder in _in(home / "_indices"):
        found |= _in(folder)
    return {path for path in found if path.endswith(tuple(ENDS))}


def _in(folder: str | Path) -> set[str]:
    try:
        return {entry.path for entry in os.scandir(folder)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _cut(files: Iterable[str]) -> list[str]:
    return sorted(path for path in files if not _ends_well(path))


def _ends_well(path: str) -> bool:
    end = ENDS[os.path.splitext(path)[1]]
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - len(end)))
            return file.read() == end
    except FileNotFoundError:  # removed meanwhile, so that no version needs it
        return True
