"""Torch files from before version 1.6, mapped: torch itself holds all their numbers in memory at once.

It asks for the numbers of a storage by ``readinto``. Large ones are not given: they stay in the file, and the tensors
are made to point there.
"""

from __future__ import annotations

import io
import mmap
import pickle
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 16  # bytes
DEEPEST = 8  # dicts within dicts that may hold weights
LONGEST = 1000  # bytes of a class's name: torch looks through a refused one in time that grows with its square


def read_legacy(path: Path) -> Any:
    """What ``torch.load(weights_only=True)`` makes of a file. Tensors in dicts are right, other large ones are not.

    Raises:
        Exception: as ``torch.load``.
    """
    with io.FileIO(path) as raw, _Places(raw) as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
        tensors = list(_tensors(state))
        places = [file.place(tensor) for tensor in tensors]  # all of them, before memory is freed and used again
        if all(p is not None or t.untyped_storage().nbytes() <= LARGE for t, p in zip(tensors, places, strict=True)):
            content = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_COPY)
            for tensor, place in zip(tensors, places, strict=True):
                if place is not None:
                    _point(tensor, content, place)
            return state
    with io.FileIO(path) as raw, _Lines(raw) as whole:  # another version of torch may read in another way
        return torch.load(whole, map_location="cpu", weights_only=True)


class _Lines(io.BufferedReader):
    """A file whose lines, in which pickles name classes, are short."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(LONGEST + 1)
        if len(line) > LONGEST:
            raise pickle.UnpicklingError(f"a name of over {LONGEST} bytes")
        return line


class _Places(_Lines):
    """A file that does not read large parts, and remembers which memory each was to be read into."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self.size = self.seek(0, io.SEEK_END)
        self.seek(0)
        self.parts: list[tuple[int, int, int]] = []  # address, bytes, and where in the file

    def fileno(self) -> int:
        raise io.UnsupportedOperation("numbers are to be asked for by readinto")

    def readinto(self, buffer: Any) -> int:
        memory = np.frombuffer(buffer, np.uint8)
        if memory.nbytes <= LARGE:
            return super().readinto(buffer)
        at = self.tell()
        size = min(memory.nbytes, self.size - at)
        self.parts.append((memory.ctypes.data, size, at))
        self.seek(size, io.SEEK_CUR)
        return size

    def place(self, tensor: Tensor) -> int | None:
        """Where in the file the storage of a tensor lies; None where it is in memory."""
        start = tensor.untyped_storage().data_ptr()
        parts = sorted(self.parts)
        found = bisect_right(parts, (start, self.size, self.size)) - 1
        if found < 0 or start >= parts[found][0] + parts[found][1]:
            return None
        return parts[found][2] + start - parts[found][0]


def _tensors(state: Any) -> Iterator[Tensor]:
    """The plain tensors in dicts within dicts, each dict once."""
    level, seen = [state], set[int]()
    for _ in range(DEEPEST):
        dicts = {id(value): value for value in level if isinstance(value, Mapping) and id(value) not in seen}
        seen |= set(dicts)
        level = [value for inner in dicts.values() for value in inner.values()]
        for value in level:
            if isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu":
                yield value


def _point(tensor: Tensor, content: mmap.mmap, place: int) -> None:
    size = tensor.untyped_storage().nbytes()
    storage = torch.frombuffer(content, dtype=torch.uint8, count=size, offset=place).untyped_storage()
    flat = torch.empty(0, dtype=tensor.dtype)
    tensor.data = flat.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
