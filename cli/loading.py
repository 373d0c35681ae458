"""Importing what a command needs, faster."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Imports without looking for garbage in between: torch, LanceDB and FiftyOne make a million objects, none of it.

    Takes a second off ``c2v search`` (benchmarks/startup.py). What was imported is not looked through later either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch compute in one thread: for a sentence more save 10 ms, and wait for each other on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
