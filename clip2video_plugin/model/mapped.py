"""Memory of mapped files: pages that were read are given back, and read again when they are needed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

DONTNEED = 4  # of madvise
MAPS = Path("/proc/self/maps")  # Linux alone has it, and counts mapped pages as a process's memory


def give_back(tensors: Iterable[Tensor]) -> None:
    """Drops the pages of those tensors that are mapped from files; nobody may have written into them.

    Which are is read from the system: memory that is no file's would be lost.
    """
    places = sorted(tensor.data_ptr() for tensor in tensors)
    if not places or not MAPS.is_file():
        return
    for line in MAPS.read_bytes().splitlines():
        span, mode, _, _, inode = line.split(maxsplit=5)[:5]
        start, end = (int(address, 16) for address in span.split(b"-"))
        if end <= places[0] or start > places[-1] or inode == b"0" or not mode.endswith(b"p"):
            continue
        if any(start <= place < end for place in places):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), DONTNEED)
