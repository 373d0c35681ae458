"""Runs the parts of a job as tasks of a Ray cluster, each on a free CPU core (``index/segments.py``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from clip2video_plugin.cluster import Cluster, connected
from clip2video_plugin.errors import Clip2VideoError, first_line
from clip2video_plugin.version import __version__

TRIES = 3  # of a part whose process or machine is lost

Part = TypeVar("Part")
Done = TypeVar("Done")


def run_on(address: str | None) -> Callable[[Callable[[Part], Done], Sequence[Part]], list[Done]]:
    """Makes a ``map`` that runs on a Ray cluster (``cluster.Cluster.address``). The function is sent once.

    That ``map`` raises Clip2VideoError when a part fails, or when its process is lost three times.
    """

    def run(work: Callable[[Part], Done], parts: Sequence[Part]) -> list[Done]:
        with connected(address) as (ray, _):
            task = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_done)
            shared = ray.put(work)
            waiting = [task.remote(shared, part, __version__) for part in parts]
            try:
                return list(ray.get(waiting))
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, Clip2VideoError):
                    raise cause from None
                raise Clip2VideoError(f"a part failed on the cluster: {first_line(cause)}") from None
            except ray.exceptions.RayError as error:
                raise Clip2VideoError(f"a part was lost {TRIES} times on the cluster: {first_line(error)}") from None
            finally:
                done, others = ray.wait(waiting, num_returns=len(waiting), timeout=0)
                for one in others:  # of no use where one failed; by force, a task that ends just now ends this process
                    ray.cancel(one)
                for one in done:  # what they say is not asked for, but would be told of
                    with suppress(Exception):
                        ray.get(one)

    return run


def run_with(engine: str) -> Callable[[Callable[[Part], Done], Sequence[Part]], list[Done]]:
    """``run_on`` for what a user asks for: ray, or ray://host:port.

    Raises:
        Clip2VideoError: it is neither, or Ray is not installed.
    """
    return run_on(Cluster.of(engine, None, None, None, "float32").address)


def _done(work: Callable[[Part], Done], part: Part, version: str) -> Any:
    if version != __version__:
        raise Clip2VideoError(
            f"a node has clip2video-plugin {__version__}, this process {version}; install the same everywhere"
        )
    return work(part)
