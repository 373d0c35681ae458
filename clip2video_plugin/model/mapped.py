"""Memory of mapped files: pages that were read are freed, and read again when they are needed."""

from __future__ import annotations

import ctypes
import os
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

DONTNEED = 4  # of madvise
MAPS = Path("/proc/self/maps")  # Linux alone has it, and counts mapped pages as a process's memory


def give_back(tensors: Iterable[Tensor]) -> None:
    """Drops the pages of those tensors that are mapped from files; nobody may have written into them.

    The system says which those are: of any other memory the content would be lost.
    """
    places = sorted(tensor.data_ptr() for tensor in tensors)
    if not places or not MAPS.is_file():
        return
    for line in MAPS.read_bytes().splitlines():
        fields = line.split(maxsplit=5)  # addresses, ..., name
        if len(fields) < 6:
            continue
        start, end = (int(address, 16) for address in fields[0].split(b"-"))
        at = bisect_left(places, start)
        if at < len(places) and places[at] < end and os.path.isfile(fields[5]):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), DONTNEED)
