"""Sampled frames on disk, so that later epochs and other runs need not decode again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import TrainingError

ENTRY = np.dtype([("stamp", "<u8"), ("count", "<u8")])


class FrameCache:
    """uint8 frames of ``videos`` x ``draws`` samplings in one file, found by position and proved by a stamp.

    Rows are written before their stamp, and read only when it fits, so a process may be killed at any time, several
    may share a cache, and a changed video is read anew.

    Raises:
        TrainingError: the folder cannot be written, or has no room for all the frames.
    """

    def __init__(self, folder: Path, videos: int, draws: int, count: int, size: int) -> None:
        self.draws = draws
        name = f"{videos}x{draws}x{count}x{size}"
        self._frames = folder / f"frames-{name}.u8"
        self._entries = folder / f"entries-{name}.bin"
        self._frames_shape = (videos, draws, count, size, size, 3)
        self._entries_shape = (videos, draws)
        self._open: tuple[NDArray[np.uint8], NDArray[np.void]] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _reserve(self._frames, int(np.prod(self._frames_shape, dtype=np.int64)))
            _reserve(self._entries, int(np.prod(self._entries_shape)) * ENTRY.itemsize)
        except OSError as error:
            need = np.prod(self._frames_shape, dtype=np.int64) / 1e9
            raise TrainingError(f"cache {folder} cannot hold {need:.1f} GB of frames: {error.strerror}") from None

    def get(self, video: int, draw: int, stamp: str) -> NDArray[np.uint8] | None:
        """Frames [n, size, size, 3], or None when they are not there or of another stamp."""
        frames, entries = self._files()
        entry = entries[video, draw]
        if int(entry["stamp"]) != _number(stamp):
            return None
        return np.array(frames[video, draw, : int(entry["count"])])

    def put(self, video: int, draw: int, stamp: str, frames: NDArray[np.uint8]) -> None:
        store, entries = self._files()
        entries[video, draw] = (0, 0)
        store[video, draw, : len(frames)] = frames
        entries[video, draw] = (_number(stamp), len(frames))

    def _files(self) -> tuple[NDArray[np.uint8], NDArray[np.void]]:
        if self._open is None:
            self._open = (
                np.memmap(self._frames, np.uint8, "r+", shape=self._frames_shape),
                np.memmap(self._entries, ENTRY, "r+", shape=self._entries_shape),
            )
        return self._open


def _reserve(path: Path, size: int) -> None:
    """Makes the file that large, blocks and all: a full disk must show now, not as a bus error later."""
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _number(stamp: str) -> int:
    digest = hashlib.blake2b(stamp.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little") | 1  # never that of an empty entry
