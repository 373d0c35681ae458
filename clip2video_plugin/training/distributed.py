"""The processes that torchrun started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

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


class _Gather(torch.autograd.Function):
    """torch.distributed.nn.functional.all_gather is deprecated in favour of a private module."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gather(x: Tensor) -> Tensor:
    """The rows of every process, in order of rank, with their gradients: [N, ...] -> [W x N, ...]."""
    rows: Tensor = _Gather.apply(x.contiguous())  # type: ignore[no-untyped-call]
    return rows


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
            # A thread of gloo drops its last work under the GIL; destroying the group while that thread waits for
            # it joins the thread with the GIL held: a deadlock. Asleep, we do not hold it.
            time.sleep(0.2)
            dist.destroy_process_group()
