"""Decoding and encoding on a Ray cluster: actors read videos and give vectors; one driver lists, skips and writes.

Only a video's place and stamp travel to an actor, and its vectors back. An actor that dies is replaced. Only the block
that it was working on is suspect, and tried again one video at a time: a video whose decoder crashes twice is a
failure. Blocks that waited at that actor, or that were on a node that was lost, are not suspect.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from itertools import chain
from typing import Any

from clip2video_plugin.actor import Encoder, Work, files_of
from clip2video_plugin.apart import CRASHED
from clip2video_plugin.blocks import HOUR, Block, blocks_of
from clip2video_plugin.bounds import checked_count
from clip2video_plugin.encode import Embedded, Unreadable, usual_batch
from clip2video_plugin.encode_windows import Windowed, Wish
from clip2video_plugin.errors import CheckpointError, Clip2VideoError, first_line
from clip2video_plugin.isolated import CRASHES, STARTS
from clip2video_plugin.model.checkpoint import Model, Precision
from clip2video_plugin.version import __version__
from clip2video_plugin.video.windows import WindowPlan

CALLS = 2  # blocks at an actor, so that it never waits for the next one
BATCHES = {"cpu": 2, "cuda": 4}  # of a block
LOSSES = 6  # of nodes while their actors worked on the same video, after which it is a failure
PATIENCE = 15 * 60.0  # seconds for the first actor to find room in a cluster, which may be growing
TICK = 1.0  # seconds between two looks at the cluster
# What Ray's server of clients says where the process that it starts for a client ended at once; the next one may live.
PASSING = ("psutil.", "Starting Ray client server failed")


@dataclass(frozen=True)
class Running:
    """How many actors work; ``note`` is a line about the cluster for the user, if there is one to tell."""

    actors: int
    note: str | None


@dataclass(frozen=True)
class Cluster:
    """``encode_wishes`` on a Ray cluster.

    ``address`` is ``ray://host:port``; without, it is the cluster that $RAY_ADDRESS names, else one that was started on
    this machine, else one of this process, which ends with the run. A process that is connected already stays so.
    ``actors`` is how many to use, by default as many as there is room for, also when nodes join later. Each gets
    ``gpus`` GPUs; ``device`` and ``precision`` are those of the model in the actors.
    """

    address: str | None
    actors: int | None
    gpus: float
    device: str
    precision: Precision

    @classmethod
    def of(
        cls, engine: str, actors: int | None, gpus_per_actor: float | None, device: str | None, precision: Precision
    ) -> Cluster:
        """What a user asks for.

        Raises:
            Clip2VideoError: an option is not one of those allowed, or Ray is not installed.
        """
        if engine != "ray" and not (engine.startswith("ray://") and engine[6:].strip("/")):
            raise Clip2VideoError(f"engine is {engine!r}; allowed are ray and ray://host:port")
        actors, gpus = checked_count("actors", actors), 0.0 if gpus_per_actor is None else gpus_per_actor
        if not (0 <= gpus <= 1 or gpus == gpus // 1 >= 1):
            raise Clip2VideoError(f"gpus_per_actor is {gpus_per_actor}; allowed are 1, 2, ... and parts of one, as 0.5")
        kind, _, number = (device or "").partition(":")
        if kind == "cuda" and (number or not gpus):
            raise Clip2VideoError(f"device is {device!r}; Ray chooses the GPUs of actors: --gpus-per-actor 1")
        if find_spec("ray") is None:
            raise Clip2VideoError("engine ray is not installed: pip install clip2video-plugin[ray]")
        address = None if engine == "ray" else engine
        return cls(address, actors, float(gpus), device or ("cuda" if gpus else "cpu"), precision)

    def __call__(
        self,
        todo: Iterator[Wish],
        model: Model,
        plan: WindowPlan | None,
        *,
        sampling: str = "uniform",
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Generator[Sequence[Embedded | Windowed | Unreadable | Running], None, None]:
        """Gives the videos of a block when it is done, whichever is first."""
        if model.folder is None:
            raise CheckpointError(f"model {model.name!r} was never saved; save it (save_checkpoint) and load that")
        first = next(todo, None)
        if first is None:  # nothing to do is no reason to start anything
            return
        kind = self.device.partition(":")[0]
        batch_size = batch_size or usual_batch(kind)
        with connected(self.address) as (ray, own):
            workers = workers or _cores_beside(ray.nodes(), self.gpus)
            work = Work(
                *(model.folder, model.sha256, model.makes_vectors(), self.device, self.precision),
                *(plan, sampling, batch_size, workers),
            )
            blocks = blocks_of(chain([first], todo), BATCHES.get(kind, 2) * batch_size)
            run = _Run(ray, work, blocks, self.actors, self.gpus, 0.0 if own else PATIENCE)
            try:
                yield from run
            except (ConnectionError, ray.exceptions.RaySystemError) as error:
                raise Clip2VideoError(
                    f"the Ray cluster is gone: {first_line(error)}; the same command goes on with what is missing"
                ) from None
            finally:
                run.close()


@contextmanager
def connected(address: str | None) -> Iterator[tuple[Any, bool]]:
    """Ray, and whether its cluster is this process's own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as it will be, and is warned about
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")  # what Ray says of lost machines goes to standard output
    import ray

    if ray.is_initialized():
        yield ray, False
        return
    where = address or os.environ.get("RAY_ADDRESS") or "on this machine"
    try:
        if found := re.fullmatch(r"(?:ray://)?(?P<host>[^/]+):(?P<port>\d+)/?", where):  # Ray would try for minutes
            socket.create_connection((found["host"].strip("[]"), int(found["port"])), 15).close()
        warnings.filterwarnings("ignore", "lancedb fork support")  # Ray's processes are other programs
        join = partial(ray.init, address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        for left in (2, 1, 0):
            try:
                join()
                break
            except Exception as error:
                if not left or not any(words in str(error) for words in PASSING):
                    raise
    except Exception as error:  # of many kinds
        raise Clip2VideoError(f"no Ray cluster {where}: {_last_line(error)}") from None
    try:
        node: Any = ray._private.worker._global_node
        yield ray, address is None and node.is_head()
    finally:
        ray.shutdown()


def _last_line(error: BaseException) -> str:
    """The cause in one of Ray's errors, which are reports of many lines."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:300] if lines else type(error).__name__


def _cores_beside(nodes: list[dict[str, Any]], gpus: float) -> int:
    """CPU cores for each actor: one, and beside a GPU its share of those of its node."""
    have = [node["Resources"] for node in nodes if node["Alive"]]
    shares = [each["CPU"] * gpus / each["GPU"] for each in have if gpus and each.get("GPU", 0) >= gpus]
    return max(1, int(min(shares, default=1)))


@dataclass(eq=False)
class _Actor:
    """An actor as the driver sees it; ``loading`` until its model is there."""

    handle: Any
    loading: Any
    node: tuple[str, str] = ("", "")  # its id and address
    calls: deque[tuple[Block, Any]] = field(default_factory=deque)
    since: float = 0.0  # when it began with the oldest of these

    @property
    def next(self) -> Any:
        """What it will answer next, None where it has nothing to do."""
        return self.loading or (self.calls[0][1] if self.calls else None)


class _Run:
    """The actors of a run, the blocks that they have, and those that wait."""

    def __init__(
        self, ray: Any, work: Work, blocks: Iterator[Block], asked: int | None, gpus: float, patience: float
    ) -> None:
        self._ray, self._blocks, self._asked, self._work = ray, blocks, asked, work
        self._needs = {"CPU": float(work.workers)} | ({"GPU": gpus} if gpus else {})
        how = {"num_cpus": work.workers, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self._class, self._told = ray.remote(**how)(Encoder), ray.put(work)
        self._files: Any = None  # of the checkpoint, once an actor lacks it
        self._waiting, self._more, self._actors = deque[Block](), True, list[_Actor]()
        self._unready = 0  # actors that died before they were ready, one after another
        self._until = time.monotonic() + patience
        self._looked, self._room = 0.0, 0
        of = ray.exceptions
        self._deaths = of.RayActorError, of.OutOfMemoryError, of.ObjectLostError, of.WorkerCrashedError

    def __iter__(self) -> Iterator[Sequence[Embedded | Windowed | Unreadable | Running]]:
        while True:
            self._look()
            self._staff()
            if not self._waiting and not any(actor.calls for actor in self._actors):
                return
            yield [self._running()]
            ask = {actor.next: actor for actor in self._actors if actor.next}
            answered, _ = self._ray.wait(list(ask), num_returns=1, timeout=TICK)
            for ref in answered:
                yield self._answer(ask[ref])
            for actor in [a for a in self._actors if a.calls and time.monotonic() > a.since + a.calls[0][0].seconds]:
                self._ray.kill(actor.handle)
                yield self._died(actor, f"it took more than {actor.calls[0][0].seconds / HOUR:.1f} hours")

    def close(self) -> None:
        for actor in self._actors:
            self._end(actor)

    def _end(self, actor: _Actor) -> None:
        with suppress(Exception):  # it may be gone, and so may the cluster
            self._ray.kill(actor.handle)

    def _look(self) -> None:
        """How many actors the cluster has room for, were they alone there."""
        if time.monotonic() < self._looked + TICK:
            return
        have = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._room = sum(int(min(each.get(k, 0) / n for k, n in self._needs.items()) + 1e-6) for each in have)
        self._looked = time.monotonic()
        if not self._room and self._looked > self._until:
            needs = " and ".join(f"{count:g} {kind}" for kind, count in self._needs.items())
            raise Clip2VideoError(f"no node of the Ray cluster has {needs} for an actor; they have {self._has(have)}")

    def _has(self, nodes: list[dict[str, float]]) -> str:
        return ", ".join(" and ".join(f"{n.get(k, 0):g} {k}" for k in ("CPU", "GPU")) for n in nodes) or "nothing"

    def _running(self) -> Running:
        note = None
        if self._asked and 0 < self._room < self._asked:
            note = f"the cluster has room for {self._room} of {self._asked} actors; others start when it has more"
        return Running(sum(not actor.loading for actor in self._actors), note)

    def _staff(self) -> None:
        """Actors for the blocks there are, and blocks for the actors; at the end those without are let go."""
        target = self._asked or max(self._room, 1)
        while self._more and len(self._waiting) < target:
            if block := next(self._blocks, None):
                self._waiting.append(block)
            else:
                self._more = False
        wanted = min(target, len(self._waiting) + sum(bool(actor.calls) for actor in self._actors))
        while len(self._actors) < wanted:
            handle = self._class.remote()
            self._actors.append(_Actor(handle, handle.load.remote(self._told, self._files)))
        for calls in range(CALLS):
            for actor in self._actors:
                if self._waiting and not actor.loading and len(actor.calls) == calls:
                    block = self._waiting.popleft()
                    actor.since = actor.since if actor.calls else time.monotonic()
                    actor.calls.append((block, actor.handle.encode.remote(block.tasks())))
        if not self._more and not self._waiting:
            for actor in [actor for actor in self._actors if not actor.calls]:
                self._end(actor)
                self._actors.remove(actor)

    def _answer(self, actor: _Actor) -> Sequence[Embedded | Windowed | Unreadable]:
        try:
            said = self._ray.get(actor.next)
        except self._deaths as error:
            return self._died(actor, CRASHED, error)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, Clip2VideoError):
                raise cause from None
            where = f"an actor on node {actor.node[1]} failed" if actor.node[1] else "an actor could not start"
            raise Clip2VideoError(f"{where}: {type(cause).__name__}: {first_line(cause)}") from None
        if not actor.loading:
            block, _ = actor.calls.popleft()
            actor.since = time.monotonic()
            return [replace(done, item=block.wishes[int(done.item.id)].item) for done in said]
        if said is None:
            self._files = self._files or self._ray.put(files_of(self._work.folder))
            actor.loading = actor.handle.load.remote(self._told, self._files)
        else:
            actor.loading, actor.node, self._unready = None, said, 0
        return []

    def _died(self, actor: _Actor, reason: str, error: Exception | None = None) -> list[Unreadable]:
        """Forgets an actor. Blocks that waited there wait again; the one it worked on is tried again, or fails."""
        self._end(actor)
        self._actors.remove(actor)
        if actor.loading:
            self._unready += 1
            last = _last_line(error or Exception())
            if getattr(error, "actor_init_failed", False):  # nothing of ours runs before ``load``
                raise Clip2VideoError(
                    f"actors cannot start: {last}; install clip2video-plugin {__version__} on all machines"
                )
            if self._unready >= STARTS:
                raise Clip2VideoError(f"{STARTS} actors died as they started: {last}")
            return []
        block, *others = [block for block, _ in actor.calls]
        self._waiting.extendleft(reversed(others))
        of = self._ray.exceptions
        # Of a machine that is gone Ray knows only after seconds; until then its actors cannot be reached.
        if not isinstance(error, of.ActorUnavailableError | of.ObjectLostError) and self._lives(actor.node[0]):
            block.crashes += 1
        else:
            block.losses, reason = block.losses + 1, f"{LOSSES} machines were lost while they read it"
        if isinstance(error, of.OutOfMemoryError):
            reason = "it takes more memory than its machine has"
        if len(block.wishes) > 1 and (block.crashes or block.losses == LOSSES):
            self._waiting.extend(Block([wish]) for wish in block.wishes)
        elif block.crashes == CRASHES or block.losses == LOSSES:
            return [Unreadable(wish.item, wish.stamp, reason) for wish in block.wishes]
        else:
            self._waiting.append(block)
        return []

    def _lives(self, node: str) -> bool:
        return any(each["NodeID"] == node and each["Alive"] for each in self._ray.nodes())
