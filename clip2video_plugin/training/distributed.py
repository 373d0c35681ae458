"""The processes that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from clip2video_plugin.errors import TrainingError, first_line


@dataclass(frozen=True)
class Place:
    """This process among the others, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0


@contextmanager
def processes(device: str) -> Iterator[Place]:
    """Joins the processes that torchrun started; alone without it.

    Raises:
        TrainingError: the device cannot be used, or the others cannot be reached.
    """
    try:
        kind = torch.device(device)
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if kind.type == "cuda":
            kind = torch.device("cuda", int(os.environ.get("LOCAL_RANK", kind.index or 0)))
            torch.cuda.set_device(kind)
        torch.empty(0, device=kind)
        if world > 1:
            dist.init_process_group("nccl" if kind.type == "cuda" else "gloo")
    except (RuntimeError, AssertionError, ValueError) as error:
        raise TrainingError(f"device {device!r} cannot be used here: {first_line(error)}") from None
    try:
        yield Place(int(os.environ.get("RANK", "0")) if world > 1 else 0, world, kind)
    finally:
        if world > 1:
            dist.destroy_process_group()
