"""Sampled frames on disk, so that later epochs and other runs need not decode again."""

from __future__ import annotations

import hashlib
import shutil
import sys
import uuid
import zlib
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.aside import Aside, clear
from clip2video_plugin.errors import TrainingError
from clip2video_plugin.paths import printable

CHECKSUM = 4  # bytes before the frames; a power cut can leave a file that is whole by its name alone


class FrameCache:
    """uint8 frames [n, size, size, 3], a file per sampling, named by a key that holds all that determines them.

    Files are written whole or not at all and never changed, so that any number of runs may share a folder.
    ``draws`` is the number of samplings kept of each video.

    Raises:
        TrainingError: the folder cannot be made.
    """

    def __init__(self, folder: Path, draws: int, size: int) -> None:
        self.folder, self.draws, self.size = folder, draws, size
        self._closed = False
        self._aside: Aside | None = None  # where files are written first, once there are any
        self._one = Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"cache {folder} cannot be made: {error.strerror}") from None
        clear(folder, "making")

    def check_room(self, need: int) -> None:
        """Raises TrainingError when the disk cannot take ``need`` bytes more."""
        if need > (free := shutil.disk_usage(self.folder).free):
            raise TrainingError(
                f"cache {self.folder} has no room for {need / 1e9:.1f} GB of frames, {free / 1e9:.1f} GB are free; "
                "choose another folder, or train without"
            )

    def has(self, key: str) -> bool:
        return self._path(key).exists()

    def get(self, key: str) -> NDArray[np.uint8] | None:
        """The frames of a key, or None when they are not there."""
        try:
            stored = np.fromfile(self._path(key), np.uint8)
        except OSError:
            return None
        frames = stored[CHECKSUM:]
        if not len(frames) or stored[:CHECKSUM].tobytes() != _checksum(frames):
            return None
        return frames.reshape(-1, self.size, self.size, 3)

    def put(self, key: str, frames: NDArray[np.uint8]) -> None:
        """Keeps frames; where they cannot be written, nothing more is kept, and that is said once."""
        if self._closed:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            with self._one:
                self._aside = self._aside or Aside(self.folder, "making")
            partial = self._aside.folder / uuid.uuid4().hex
            with partial.open("xb") as file:
                file.write(_checksum(frames) + frames.tobytes())
            partial.replace(path)
        except OSError as error:
            self.close()
            print(f"c2v: cache {printable(self.folder)} takes no more frames: {error.strerror}", file=sys.stderr)

    def close(self) -> None:
        """Nothing more is kept."""
        self._closed = True
        with self._one:
            if self._aside is not None:
                self._aside.close()
                self._aside = None

    def _path(self, key: str) -> Path:
        name = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()
        return self.folder / name[:2] / name[2:]


def _checksum(frames: NDArray[np.uint8]) -> bytes:
    return zlib.crc32(frames.tobytes()).to_bytes(CHECKSUM, "little")
