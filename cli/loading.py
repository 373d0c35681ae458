"""What commands begin with: files of this machine that they name, and importing what they need, faster."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.places import Uri, place_of


def local(text: str) -> Path:
    """A file or folder of this machine, for what is read or written nowhere else.

    Raises:
        Clip2VideoError: it is the URI of an object.
    """
    place = place_of(text)
    if isinstance(place, Uri):
        raise Clip2VideoError(
            f"{place} is no file of this machine, which is wanted here; copy it first (c2v embed takes URIs)"
        )
    return place


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
