"""Reading checkpoints: their files as they are at one time, and tensors when they are asked for."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.card import ABOUT, Card
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.installed import CONFIG, TOKENIZER, WEIGHTS

Files = dict[str, BufferedReader]
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
LONGEST_HEADER = 100_000_000  # bytes; the safetensors library's own limit


@contextmanager
def opened(folder: Path) -> Iterator[Files]:
    """A checkpoint's files, open and all of one time: the folder may be replaced while they are opened, and after.

    Raises:
        CheckpointError: one is missing, or cannot be read.
    """
    try:
        while True:
            with ExitStack() as stack:
                before, missing = folder.stat(), None
                files = Files()
                for name in (CONFIG, WEIGHTS, TOKENIZER):
                    try:
                        files[name] = stack.enter_context((folder / name).open("rb"))
                    except FileNotFoundError:
                        missing = name
                after = folder.stat()
                if (before.st_ino, before.st_ctime_ns) != (after.st_ino, after.st_ctime_ns):
                    continue
                if missing:
                    raise CheckpointError(f"checkpoint {folder} has no {missing}")
                yield files
                return
    except OSError as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {error.strerror or error}") from None


def read_text(folder: Path, files: Files, name: str) -> str:
    """A text file's content. Raises CheckpointError when it is none."""
    try:
        return files[name].read().decode("utf-8")
    except ValueError as error:
        raise CheckpointError(f"{folder / name} cannot be read: {first_line(error)}") from None


def read_config(folder: Path, files: Files) -> tuple[ModelConfig, Card]:
    """What config.json says. Raises CheckpointError when it is damaged, or of no network."""
    text = read_text(folder, files, CONFIG)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / CONFIG} cannot be read: {first_line(error)}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{folder / CONFIG} holds a {type(values).__name__}; expected an object")
    card = Card.from_dict(values.pop(ABOUT, {}))
    return ModelConfig.from_dict(values), card


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies in a file: its bytes from ``begin`` to ``end``."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class StoredWeights:
    """The tensors of an open file in the safetensors form (``saving.write_safetensors``).

    Raises:
        CheckpointError: the file is damaged.
    """

    def __init__(self, path: Path, file: BufferedReader) -> None:
        self.path, self._file = path, file
        self._map: mmap.mmap | None = None
        try:
            self.entries = _entries(file)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:  # a header may hold anything
            raise CheckpointError(f"{path} is damaged: {first_line(error)}") from None

    def read(self, key: str) -> Tensor:
        """A tensor in memory of its own, float32."""
        entry = self.entries[key]
        flat = torch.empty(prod(entry.shape), dtype=entry.dtype)
        self._file.seek(entry.begin)
        if self._file.readinto(flat.view(torch.uint8).numpy().data) != entry.end - entry.begin:
            raise CheckpointError(f"{self.path} is damaged: it was cut off while it was read")
        return flat.view(entry.shape).float()

    def mapped(self, key: str) -> Tensor:
        """A tensor, float32, whose numbers stay in the file until they are used; of other types, ``read``.

        Writing to it does not change the file.
        """
        entry = self.entries[key]
        if entry.dtype != torch.float32 or entry.begin % entry.dtype.itemsize or entry.begin == entry.end:
            return self.read(key)
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        flat = torch.frombuffer(self._map, dtype=entry.dtype, count=prod(entry.shape), offset=entry.begin)
        return flat.view(entry.shape)


@dataclass(frozen=True)
class Source:
    """The file that tensors were mapped from, or are being read from, as it was then."""

    path: Path
    inode: tuple[int, int]
    state: tuple[int, int]

    @classmethod
    def of(cls, path: Path, file: BufferedReader) -> Source:
        return cls(path, *_inode_and_state(os.fstat(file.fileno())))

    def overwritten(self) -> bool:
        """Whether its content is another now. One that was removed or renamed, or replaced by a rename, is not."""
        try:
            inode, state = _inode_and_state(os.stat(self.path))
        except OSError:
            return False
        return inode == self.inode and state != self.state


def _inode_and_state(found: os.stat_result) -> tuple[tuple[int, int], tuple[int, int]]:
    return (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns)


def _entries(file: BufferedReader) -> dict[str, Entry]:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, LONGEST_HEADER):
        raise ValueError("its header is cut off")
    header: dict[str, Any] = json.loads(file.read(length).decode("utf-8"))
    header.pop("__metadata__", None)
    return {key: _entry(key, value, 8 + length, size) for key, value in header.items()}


def _entry(key: str, value: dict[str, Any], start: int, size: int) -> Entry:
    if value["dtype"] not in DTYPES:
        raise ValueError(f"{key} holds {value['dtype']}; weights are {', '.join(DTYPES)}")
    dtype, shape, (begin, end) = DTYPES[value["dtype"]], tuple(value["shape"]), value["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"{key} has the shape {list(shape)} at {begin} to {end}")
    if end - begin != prod(shape) * dtype.itemsize or start + end > size:
        raise ValueError(f"{key} does not lie within it")
    return Entry(dtype, shape, start + begin, start + end)
