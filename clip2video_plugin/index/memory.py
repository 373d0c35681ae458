"""Gives the memory of LanceDB's long work back to the system, instead of keeping it for reuse."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pyarrow as pa

from clip2video_plugin.index.scratch import scratch

# Bytes that Lance reads ahead of who takes them: 2 GB by itself, so that folding 400,000 rows took 370 MB, not 130.
# Read when a scan begins.
os.environ.setdefault("LANCE_DEFAULT_IO_BUFFER_SIZE", str(32 << 20))
# Rows that it passes on at once: 4 MB of vectors of 1,024 numbers, by itself 34.
os.environ.setdefault("LANCE_DEFAULT_BATCH_SIZE", "1024")
# And of codes of vectors on their way into the lists of an index: 128 MB by itself.
os.environ.setdefault("LANCE_SHUFFLE_BATCH_BYTES", str(16 << 20))
# What malloc.h calls M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX
_TRIM, _MAP, _ARENAS = -1, -3, -8
SMALL, LARGE = 1 << 20, 32 << 20  # bytes; glibc, left alone, grows its own threshold from 128 KB to the larger


@cache
def _libc() -> Any:
    """The C library where it is glibc, else None."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


# Lance allocates in one thread and frees in another. Of eight heaps for each core, as glibc has them, each keeps holes:
# embedding 150,000 videos grew by 180 MB and did not stop; with two it stops at 90.
if _libc() is not None and "MALLOC_ARENA_MAX" not in os.environ:
    _libc().mallopt(_ARENAS, 2)


@contextmanager
def given_back() -> Iterator[None]:
    """While the block runs, what is allocated in a megabyte or more goes back to the system as soon as it is freed.

    Folding and indexing pass buffers of some megabytes between threads. Where glibc keeps them for reuse, each thread
    has its own, and a process of 180 MB stays at 410 after folding 100,000 rows; this way it stays at 210. Outside the
    block they are kept, as a network allocates the same again and again. Without glibc, memory is left as it is.
    LanceDB's temporary files are removed in any case (``scratch.py``).
    """
    libc = _libc()
    if libc is None:
        with scratch():
            yield
        return
    libc.mallopt(_MAP, SMALL)
    try:
        with scratch():
            yield
    finally:
        libc.mallopt(_MAP, LARGE)
        libc.mallopt(_TRIM, 2 * LARGE)
        pa.default_memory_pool().release_unused()
        libc.malloc_trim(0)
