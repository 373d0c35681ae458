"""Vectors of the windows of a video that is being embedded, in a file beside the tables until it is finished.

A run that is killed in the middle of a film goes on from there. Only of local indexes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index.connection import local_folder

FOLDER = ".c2v.unfinished"


class Unfinished:
    """The vectors [n, D] so far of one video's windows, in an order that never changes.

    ``marks`` is all that they depend on; what was made by other marks counts as none. Where another process embeds
    the same video, or the index is elsewhere, nothing is kept.
    """

    def __init__(self, uri: str, table: str, video: str, dim: int, marks: dict[str, Any]) -> None:
        folder = _folder(uri, table)
        self.uri, self._dim, self._file = uri, dim, None if folder is None else _file(folder, video)
        self._head = json.dumps(marks, sort_keys=True).encode() + b"\n"
        self._open: BinaryIO | None = None
        self._lock: FileLock | None = None

    def begin(self) -> NDArray[np.float32]:
        """The vectors that are there; from now on more can be added."""
        nothing = np.zeros((0, self._dim), np.float32)
        if self._file is None:
            return nothing
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._file.with_suffix(".lock"))
            self._lock.acquire(timeout=0)
            there = self._file.read_bytes() if self._file.exists() else b""
            known = there[len(self._head) :] if there.startswith(self._head) else b""
            vectors = np.frombuffer(known[: len(known) // (4 * self._dim) * 4 * self._dim], np.float32)
            vectors = vectors.reshape(-1, self._dim)
            torn = np.abs(np.linalg.norm(vectors, axis=1) - 1) > 1e-3  # by a power cut
            vectors = vectors[: int(torn.argmax())] if torn.any() else vectors
            self._open = self._file.open("r+b" if known else "wb")
            if not known:
                self._open.write(self._head)
            self._open.truncate(self._open.seek(len(self._head) + vectors.nbytes))
        except Timeout:
            self._lock = None
            return nothing
        except OSError as error:
            raise self._failed(error) from None
        return vectors

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Keeps more vectors [n, D].

        Raises:
            VideoIndexError: they cannot be written, as on a disk that is full.
        """
        if self._open is not None and len(vectors):
            try:
                self._open.write(np.ascontiguousarray(vectors, np.float32).tobytes())
                self._open.flush()
            except OSError as error:
                raise self._failed(error) from None

    def close(self) -> None:
        """Leaves the vectors for another run."""
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _failed(self, error: OSError) -> VideoIndexError:
        return VideoIndexError(f"index {self.uri}: {error.strerror or error}")


def forget(uri: str, table: str, videos: Iterable[str] | None = None) -> None:
    """Removes what is kept of videos that are finished or gone; of all of a table by default."""
    folder = _folder(uri, table)
    if folder is None or not folder.exists():
        return
    files = list(folder.iterdir()) if videos is None else [_file(folder, video) for video in videos]
    for file in files:
        file.unlink(missing_ok=True)
        file.with_suffix(".lock").unlink(missing_ok=True)


def _folder(uri: str, table: str) -> Path | None:
    folder = local_folder(uri)
    return None if folder is None else folder / FOLDER / table


def _file(folder: Path, video: str) -> Path:
    return folder / hashlib.sha256(os.fsencode(video)).hexdigest()[:32]
