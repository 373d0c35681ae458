"""A process that reads inputs, one after the other, and may die of any of them.

Orders come as lines of JSON on standard input, answers go the same way to standard output. The input that is being read
lies in a mapped file, so that whoever watches has it when this process is gone.
"""

import faulthandler
import json
import mmap
import os
import pickle
import resource
import struct
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from .findings import Keeper
from .outcome import outcome_of
from .reduce import reduced
from .target import Files, Pool, Room, Target
from .targets import TARGETS

HEAD = struct.Struct("<qdq")  # number, monotonic seconds when it began or 0, bytes that follow
STATE = 16 << 20  # bytes of the mapped file
TOLD = 0.5  # seconds after which a part of the work is told
LONE = 3  # inputs of one signature that are kept
PATIENCE = 5.0  # seconds for making one smaller


class State:
    """The input that is being read now."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), STATE)

    def begin(self, number: int, files: Files) -> None:
        content = pickle.dumps(files)
        if len(content) > STATE - HEAD.size:
            content = b""
        self._map[HEAD.size : HEAD.size + len(content)] = content
        HEAD.pack_into(self._map, 0, number, time.monotonic(), len(content))

    def end(self) -> None:
        HEAD.pack_into(self._map, 0, -1, 0.0, 0)

    def now(self) -> tuple[int, float, Files]:
        number, began, size = HEAD.unpack_from(self._map, 0)
        return number, began, pickle.loads(self._map[HEAD.size : HEAD.size + size]) if size else {}

    def began(self) -> tuple[int, float]:
        return HEAD.unpack_from(self._map, 0)[:2]


class Worker:
    def __init__(self, out: Path, state: Path, room: Path, memory: int) -> None:
        self.keeper, self.state, self.room, self.memory = Keeper(out), State(state), Room(room), memory
        self._pools: dict[str, Pool] = {}

    def make(self, target: Target) -> dict[str, Any]:
        """Writes the inputs that others are made of; says which are not answered, and which past findings are again."""
        seeds = self.keeper.make_seeds(target, self.room)
        wrong = []
        for name, files in [*self.keeper.seeds(target), *self.keeper.known(target)]:
            found = outcome_of(target, files, self.room)
            if found.kind == "finding" or (found.kind == "refused" and name.startswith("seed")):
                wrong.append(f"{name} {found.sign} {found.text[-300:]}")
        return {"seeds": seeds, "wrong": wrong}

    def run(self, target: Target, seed: int, start: int, stop: int) -> dict[str, Any]:
        """Reads inputs ``start`` to ``stop``, or as many as there is time for; says how many, and what came of it."""
        pool = self._pools.get(target.name)
        if pool is None:
            pool = self._pools[target.name] = Pool(target, self.keeper.pool(target))
            outcome_of(target, pool.inputs[0], self.room)  # what it imports takes no input's time
        told: dict[str, Any] = {"accepted": 0, "refused": {}, "findings": [], "slowest": [0.0, start], "novel": 0}
        until, number = time.monotonic() + TOLD, start
        while number < stop:
            files = pool.input(seed, number)
            self.state.begin(number, files)
            began = time.monotonic()
            found = outcome_of(target, files, self.room)
            took = time.monotonic() - began
            self.state.end()
            told["slowest"] = max(told["slowest"], [took, number])
            if found.kind == "accepted":
                told["accepted"] += 1
            elif found.kind == "refused":
                told["refused"][found.name] = told["refused"].get(found.name, 0) + 1
                told["novel"] += self.keeper.keep_novel(target, found, files)
            else:
                told["findings"].append(self._keep(target, seed, number, files, found))
            number += 1
            if (peak := _peak()) > self.memory:
                told["findings"].append(
                    self.keeper.keep(target.name, f"memory {peak >> 20} MB", "memory", files, seed, number - 1, "")
                )
                told["stop"] = True
                break
            if time.monotonic() > until:
                break
        return {**told, "next": number, "peak": _peak()}

    def _keep(self, target: Target, seed: int, number: int, files: Files, found: Any) -> str:
        if self.keeper.count(target.name, found.sign) < LONE:
            files = reduced(files, lambda some: outcome_of(target, some, self.room).sign == found.sign, PATIENCE)
        return self.keeper.keep(target.name, found.sign, found.name, files, seed, number, found.text)


def _peak() -> int:
    """Bytes that this process has held at most; not ``ru_maxrss``, which begins at the peak of who started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


def prepare(room: Path, log: Path | None = None) -> None:
    """Makes a process ready to read inputs: nothing of this machine's is used, and nothing is said."""
    root = Path(__file__).parents[2]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root]  # datasets/ is in it
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in [name for name in os.environ if name.startswith(("C2V_", "AWS_", "AZURE_", "GOOGLE_"))]:
        del os.environ[name]
    os.environ |= {
        **{
            "HOME": str(room),
            "C2V_MODELS": str(room / "models"),
            "TMPDIR": str(room),
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        **{"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "OMP_NUM_THREADS": "1", "LANCE_LOG": "off"},
    }
    warnings.simplefilter("ignore")
    os.chdir(room)
    if log is not None:
        file = log.open("ab", buffering=0)
        os.dup2(file.fileno(), 2)
    faulthandler.enable()


def main() -> None:
    out, state, room, log, memory = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    prepare(Path(room), Path(log))
    worker = Worker(Path(out), Path(state), Path(room), int(memory))
    by_name = {target.name: target for target in TARGETS}
    for line in sys.stdin:
        order = json.loads(line)
        target = by_name[order["target"]]
        if "seed" in order:
            answer = worker.run(target, order["seed"], order["from"], order["to"])
        else:
            answer = worker.make(target)
        print(json.dumps(answer), file=answers, flush=True)
        if answer.get("stop"):
            break


if __name__ == "__main__":
    main()
