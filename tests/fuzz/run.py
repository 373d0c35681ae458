"""Workers, and the watch over them: an input on which one dies, hangs or takes too much memory is a finding."""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .findings import Keeper
from .worker import STATE, TOLD, State

HANG, MEMORY = 30.0, 2 << 30  # seconds and bytes that one input may take
SLICE = 5_000  # inputs of one order
OLD = 50_000  # inputs after which a worker is replaced, so that what libraries keep does not pile up
LOOK = 0.05  # seconds between looks at the workers
TAIL = 3_000  # bytes of what a worker said last


@dataclass
class Tally:
    """What came of the inputs of a target."""

    name: str
    says: str = ""
    inputs: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0  # seconds
    peak: int = 0  # bytes
    seconds: float = 0.0
    novel: int = 0

    def add(self, answer: dict[str, Any], start: int) -> None:
        self.inputs += answer["next"] - start
        self.accepted += answer["accepted"]
        self.refused.update(answer["refused"])
        self.findings.update(answer["findings"])
        self.slowest = max(self.slowest, answer["slowest"][0])
        self.peak = max(self.peak, answer["peak"])
        self.novel += answer["novel"]


class Process:
    """A worker, seen from outside."""

    def __init__(self, out: Path, place: Path, number: int) -> None:
        self.place = place / f"worker{number}"
        self.room, self.log = self.place / "room", self.place / "log"
        shutil.rmtree(self.place, ignore_errors=True)
        self.room.mkdir(parents=True)
        state = self.place / "state"
        state.write_bytes(b"")
        os.truncate(state, STATE)
        self.state = State(state)
        self.state.end()
        arguments = [out.absolute(), state, self.room, self.log, MEMORY]
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # Ctrl-C is for whoever watches
        )
        self.order: dict[str, Any] | None = None
        self.read, self.broke, self.asked = 0, "", 0.0

    def tell(self, order: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.order, self.asked = order, time.monotonic()
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def watch(self, hang: float) -> None:
        """Kills it where its input takes too long or too much."""
        number, began = self.state.began()
        if self.broke:
            return
        if time.monotonic() - (began if number >= 0 and began else self.asked) > hang:
            os.kill(self.process.pid, signal.SIGABRT)  # so that faulthandler says where it is
            time.sleep(0.2)
            self.broke = f"hang over {hang:g} s"
        elif number >= 0 and _resident(self.process.pid) > MEMORY:
            self.broke = f"memory over {MEMORY >> 20} MB"
        if self.broke:
            self.process.kill()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def last_words(self) -> str:
        return self.log.read_bytes()[-TAIL:].decode("utf-8", "replace") if self.log.exists() else ""


class Run:
    """A run over targets, one after the other, by ``jobs`` processes; its results stay when it is interrupted.

    Args:
        targets: names and descriptions.
        tell: called with a line now and then.
        hang: seconds that an input may take.
    """

    def __init__(
        self,
        out: Path,
        targets: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        jobs: int = 2,
        hang: float = HANG,
        tell: Callable[[str], None] = print,
    ) -> None:
        self.out, self.seed, self.jobs, self.hang, self.tell = out, seed, jobs, hang, tell
        self.keeper = Keeper(out)
        self.tallies = {name: Tally(name, says) for name, says in targets}
        memory = Path("/dev/shm")
        self._place = Path(tempfile.mkdtemp(prefix="c2v-fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
        self._workers: list[Process] = []
        self._started = 0

    def close(self) -> None:
        for worker in self._workers:
            worker.end()
        shutil.rmtree(self._place, ignore_errors=True)

    def _worker(self) -> Process:
        self._started += 1
        worker = Process(self.out, self._place, self._started)
        self._workers.append(worker)
        return worker

    def _replace(self, worker: Process) -> None:
        worker.end()
        self._workers.remove(worker)

    def renew(self) -> None:
        """Ends the workers, so that the memory of the next target is its own."""
        for worker in list(self._workers):
            self._replace(worker)

    def target(self, name: str, inputs: int | None, seconds: float | None, first: int = 0) -> Tally:
        """Reads inputs ``first`` to ``first + inputs`` of a target, or as many as there is time for."""
        tally, start = self.tallies[name], None
        self._make(name)
        left: list[tuple[int, int]] = []  # parts that must be read again, as their worker died
        ahead, end, said = first, None if inputs is None else first + inputs, time.monotonic()
        with selectors.DefaultSelector() as answers:
            while True:
                now = time.monotonic()
                over = seconds is not None and start is not None and now - start > seconds
                while len(self._workers) < self.jobs:
                    self._worker()
                for worker in [w for w in self._workers if w.order is None]:
                    if over or not (left or end is None or ahead < end):
                        continue
                    part = left.pop() if left else (ahead, ahead + SLICE if end is None else min(ahead + SLICE, end))
                    ahead = max(ahead, part[1])
                    self._order(worker, name, part, answers)
                busy = [worker for worker in self._workers if worker.order is not None]
                if not busy:
                    break
                for key, _ in answers.select(LOOK):
                    if start is None:  # what workers import is not counted
                        start = time.monotonic() - TOLD
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    worker = key.data
                    answers.unregister(key.fileobj)
                    start_of, stop_of = worker.order["from"], worker.order["to"]
                    worker.order = None
                    if line:
                        answer = json.loads(line)
                        tally.add(answer, start_of)
                        worker.read += answer["next"] - start_of
                        if answer["next"] < stop_of:
                            left.append((answer["next"], stop_of))
                        if answer.get("stop") or worker.read > OLD:
                            self._replace(worker)
                    else:
                        left += self._died(tally, worker, start_of, stop_of)
                        self._replace(worker)
                for worker in busy:
                    if worker.order is not None:
                        worker.watch(self.hang)
                tally.seconds = time.monotonic() - (start or now)
                if time.monotonic() - said > 10:
                    said = time.monotonic()
                    self.tell(self._progress(tally, inputs))
        return tally

    def _order(self, worker: Process, name: str, part: tuple[int, int], answers: selectors.BaseSelector) -> None:
        with suppress(BrokenPipeError):  # its end is read elsewhere
            worker.tell({"target": name, "seed": self.seed, "from": part[0], "to": part[1]})
        answers.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]

    def _make(self, name: str) -> None:
        worker = next((w for w in self._workers if w.order is None), None) or self._worker()
        worker.tell({"target": name})
        assert worker.process.stdout is not None
        line = worker.process.stdout.readline()
        worker.order = None
        if not line:
            words = worker.last_words()
            self._replace(worker)
            raise RuntimeError(f"{name}: the inputs that others are made of could not be made\n{words}")
        self.tallies[name].findings.update(json.loads(line)["wrong"])

    def _died(self, tally: Tally, worker: Process, start: int, stop: int) -> list[tuple[int, int]]:
        """Notes what killed a worker; gives what is still to be read."""
        code = worker.process.wait()
        number, _, files = worker.state.now()
        if number < 0:
            why = f"a worker ended between two inputs ({worker.broke or code})"
            raise RuntimeError(f"{tally.name}: {why}\n{worker.last_words()}")
        why = worker.broke or f"crash {signal.Signals(-code).name if code < 0 else code}"
        words = worker.last_words()
        tally.findings[self.keeper.keep(tally.name, why, why.split()[0], files, self.seed, number, words)] += 1
        tally.inputs += 1
        return [part for part in ((start, number), (number + 1, stop)) if part[0] < part[1]]

    def _progress(self, tally: Tally, inputs: int | None) -> str:
        of = f" of {inputs:,}" if inputs is not None else ""
        return (
            f"{tally.name}: {tally.inputs:,}{of} inputs in {tally.seconds:.0f} s, {tally.accepted:,} accepted, "
            f"{sum(tally.refused.values()):,} refused, {len(tally.findings)} kinds of findings"
        )


def _resident(process: int) -> int:
    """Bytes in memory now, 0 of a process that is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
