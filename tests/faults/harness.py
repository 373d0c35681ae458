"""Faults in a scenario, one at a time: its n-th operation fails, or its process is killed there; then it runs again.

A scenario is a piece of work in a folder. A try copies the prepared folder, runs the work in a process of its own with
one fault (``shim.c`` counts the operations on files of all its libraries, ``lance.py`` LanceDB's calls), looks at what
the process said, runs it again without one, and compares all that is there with what an undisturbed run leaves.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

KINDS = ("open", "create", "write", "sync", "rename", "remove", "mkdir", "list", "truncate", "LanceDB call")
ALL, WRITES = (1 << len(KINDS)) - 1, 1 << KINDS.index("write")
MODES = ("count", "fail", "full", "kill", "tear")
LIMIT = 90.0  # seconds after which a process hangs
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


T = TypeVar("T")


@dataclass(frozen=True)
class Scenario:
    """A piece of work in a folder, all of it below that folder.

    ``prepare`` makes what is there before; it is called once, in a process of its own, and copied for every try to
    the same place. ``run`` does the work as ``c2v`` does it (``c2v``, ``as_c2v``): exits, or prints a line and exits.
    ``state`` gives all that matters afterwards, of plain values (numbers are compared to 1e-4), ``leftovers`` names
    temporary files that are still there. ``foreign`` files and folders, relative to the folder, must stay as they are,
    byte by byte; those that ``prepare`` does not make are made before the first run, as files. In the ``watched``
    ones operations count. ``imports`` are the modules that the work needs, imported once and not for every try, as
    ``once`` is done, which starts no threads; ``warm`` makes other things ready for each, such as lower thresholds.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    state: Callable[[Path], object]
    leftovers: Callable[[Path], Sequence[str]]
    foreign: tuple[str, ...] = ("foreign.txt",)
    watched: tuple[str, ...] = (".",)
    imports: tuple[str, ...] = ()
    once: Callable[[], object] = bool
    warm: Callable[[], object] = bool


def c2v(*arguments: object) -> None:
    """The command line, in this process."""
    from clip2video_plugin.cli.main import main

    sys.argv = ["c2v", *map(str, arguments)]
    main()


def as_c2v(work: Callable[[], T]) -> T:
    """Does it with errors told as ``c2v`` tells them."""
    from clip2video_plugin.errors import Clip2VideoError

    try:
        return work()
    except (Clip2VideoError, OSError) as error:
        print(f"c2v: {error}", file=sys.stderr)
        raise SystemExit(1) from None


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th operation: ``mode`` is fail, full (of the disk, from then on), kill or tear (killed in
    the middle of a write). Or kill at a ``moment``, in seconds. ``kinds`` are bits of those that count."""

    mode: str
    n: int = 0
    kinds: int = ALL
    moment: float | None = None

    def __str__(self) -> str:
        return f"kill at {self.moment:.3f} s" if self.moment is not None else f"{self.mode} {self.n}"


@dataclass
class Ended:
    """How a process ended: its exit code (below 0 the signal), output, what it gave, operations by kind, and the one
    that was struck, "rename /folder/file"."""

    code: int
    out: str
    err: str
    value: Any
    counts: list[int]
    struck: str
    seconds: float
    hung: bool


@dataclass
class Tried:
    """A fault, where it struck, and what was wrong then or after; nothing is how it should be."""

    fault: Fault
    struck: str
    problems: list[str] = field(default_factory=list)


class Warm:
    """A process that has imported what some scenarios need; each work is done in a fork of it."""

    def __init__(self, home: Path, *scenarios: Scenario) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim(home)),
            "PYTHONPATH": "",
            "C2V_MODELS": str(home / "models"),
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }
        for name in ("C2V_INDEX", "C2V_MODEL", "C2V_KEEP"):
            environment.pop(name, None)
        (home / "tmp").mkdir(exist_ok=True)
        start = (
            f"import sys; sys.path[0] = {str(ROOT)!r}; from tests.faults.warm import main; "
            f"del sys.path[0]; main()"  # where datasets/ would hide a package of that name
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", start, *(scenario.name for scenario in scenarios)],
            env=environment,
            cwd=home,
            start_new_session=True,  # Ctrl-C is for who tries
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready":
            raise RuntimeError(f"scenarios {', '.join(one.name for one in scenarios)} did not start")

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(LIMIT)

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    def do(self, scenario: Scenario, what: str, folder: Path, fault: Fault | None = None) -> Ended:
        """``prepare``, ``run``, ``state`` or ``leftovers`` in a process of its own."""
        answer = self.home / "answer"
        for ending in ("", ".out", ".err", ".struck"):
            answer.with_suffix(ending).unlink(missing_ok=True)
        asked: dict[str, Any] = {"scenario": scenario.name, "what": what, "folder": str(folder), "limit": LIMIT}
        asked["answer"] = str(answer)
        if fault and fault.moment is not None:
            asked["moment"] = fault.moment
        elif fault:
            asked["strike"] = {
                "mode": MODES.index(fault.mode),
                "n": fault.n,
                "kinds": fault.kinds,
                "code": (errno.EIO, errno.ENOSPC, errno.EACCES)[fault.n % 3],
            }
        assert self._process.stdin
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        ended = json.loads(self._line())
        value, counts = pickle.loads(answer.read_bytes()) if answer.exists() else (None, [])
        out, err, struck = (
            path.read_text(errors="replace") if (path := answer.with_suffix(ending)).exists() else ""
            for ending in (".out", ".err", ".struck")
        )
        if struck:
            kind, _, path = struck.rstrip("\n").partition(" ")
            struck = f"{KINDS[int(kind)]} {path.removeprefix(str(folder) + '/')}"
        return Ended(ended["code"], out, err, value, counts, struck, ended["seconds"], ended["hung"])


class Trial:
    """A scenario made ready: what an undisturbed run leaves, how many operations it has, and tries of faults."""

    def __init__(self, scenario: Scenario, home: Path, warm: Warm | None = None) -> None:
        self.scenario, self.warm, self._own = scenario, warm or Warm(home, scenario), warm is None
        self.made, self.folder = home / "made", home / "try"
        home.mkdir(exist_ok=True)
        shutil.rmtree(self.made, ignore_errors=True)
        self.made.mkdir()
        # in the place of every try, as ids of videos are made of paths
        self._copied()
        self._well(self._do("prepare"), "prepare")
        shutil.rmtree(self.made)
        shutil.copytree(self.folder, self.made, symlinks=True)
        for name in scenario.foreign:
            if not (path := self.made / name).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"of somebody else\n")
                os.utime(path, (1.6e9, 1.6e9))
        self._copied()
        self.foreign = self._foreign()
        ended = self._well(self._do("run", Fault("count")), "undisturbed run")
        self.counts = dict(zip(KINDS, ended.counts, strict=True))
        self.seconds, self.said = ended.seconds, _said(ended)
        self.expected = self._well(self._do("state"), "state").value
        if wrong := [*self._left(), *self._changed()]:
            raise RuntimeError(f"{scenario.name}, undisturbed: {'; '.join(wrong)}")

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self.warm.__exit__()

    def _do(self, what: str, fault: Fault | None = None) -> Ended:
        return self.warm.do(self.scenario, what, self.folder, fault)

    @property
    def operations(self) -> int:
        """Of an undisturbed run, of all kinds."""
        return sum(self.counts.values())

    def faults(
        self, modes: Sequence[str], every: int = 1, first: int = 1, kinds: Sequence[str] = KINDS
    ) -> Iterator[Fault]:
        """Of each mode at every n-th operation of these kinds; writes alone are torn."""
        for mode in modes:
            counted = ["write"] if mode == "tear" else kinds
            bits = sum(1 << KINDS.index(kind) for kind in counted)
            for n in range(first, sum(self.counts[kind] for kind in counted) + 1, every):
                yield Fault(mode, n, bits)

    def attempt(self, fault: Fault) -> Tried:
        """The work with a fault, then again without."""
        self._copied()
        ended = self._do("run", fault)
        tried = Tried(fault, ended.struck)
        say = tried.problems.append
        killed = ended.code == -9 and (fault.mode in ("kill", "tear") or fault.moment is not None) and not ended.hung
        if ended.hung:
            say(f"hangs for {LIMIT:g} s")
        elif not killed:
            tried.problems += self._told(ended)
        again = self._do("run")
        if again.code:
            say(f"the rerun ends with {again.code}: {_last(again)}")
        there = self._do("state")
        if there.code:
            say(f"what is there cannot be read: {_last(there)}")
        elif difference := differs(there.value, self.expected):
            say(f"after the rerun {difference}")
        stays = ended.struck.removeprefix("remove ") if fault.mode == "fail" else ""  # Lance's cleaning passes over it
        if stays.endswith(".open"):
            stays = ".c2v.left"  # the mark of a lock: by this name it tells the next writer to look
        left = [name for name in self._left() if not (stays and stays.endswith(name.removeprefix("left over: ")))]
        tried.problems += [*left, *self._changed()]
        return tried

    def _told(self, ended: Ended) -> Iterator[str]:
        """What is wrong with how a process ended that was not killed."""
        if "Traceback" in ended.err or "panicked" in ended.err or "Exception ignored" in ended.err:
            yield f"a traceback: {_last(ended)}"
        elif ended.code < 0:
            yield f"died of signal {-ended.code}"
        elif ended.code and not re.search(r"^c2v: \S", ended.err, re.MULTILINE):
            yield f"ended with {ended.code} and said nothing"
        elif not ended.code and _said(ended) == self.said:
            there = self._do("state")
            if there.code:
                yield f"claims success; what is there cannot be read: {_last(there)}"
            elif difference := differs(there.value, self.expected):
                yield f"claims success; {difference}"

    def _left(self) -> list[str]:
        ended = self._do("leftovers")
        names = [*(ended.value or ()), *(f"$TMPDIR/{path.name}" for path in (self.warm.home / "tmp").iterdir())]
        return [f"left over: {name}" for name in names] + ([_last(ended)] if ended.code else [])

    def _copied(self) -> None:
        temporary = self.warm.home / "tmp"
        for folder in (self.folder, temporary):
            shutil.rmtree(folder, ignore_errors=True)
        temporary.mkdir()
        shutil.copytree(self.made, self.folder, symlinks=True)

    def _foreign(self) -> dict[str, tuple[str, int]]:
        """File -> its content's hash and its time of change."""
        out = dict[str, tuple[str, int]]()
        for name in self.scenario.foreign:
            root = self.folder / name
            for path in [root, *sorted(root.rglob("*"))] if root.is_dir() else [root]:
                if path.is_file():
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    out[str(path.relative_to(self.folder))] = digest, path.stat().st_mtime_ns
        return out

    def _changed(self) -> list[str]:
        now = self._foreign()
        names = sorted(now.keys() | self.foreign.keys())
        return [f"a foreign file was touched: {name}" for name in names if now.get(name) != self.foreign.get(name)]

    def _well(self, ended: Ended, what: str) -> Ended:
        if ended.code:
            raise RuntimeError(f"{self.scenario.name}: {what} ended with {ended.code}: {ended.err or ended.out}")
        return ended


def _said(ended: Ended) -> str:
    """Its output but for how long it took."""
    return re.sub(r"[0-9.]+ (ms|s)\b", "", ended.out + ended.err)


def _last(ended: Ended) -> str:
    lines = (ended.err.strip() or ended.out.strip()).splitlines()
    return lines[-1][:300] if lines else "nothing"


def differs(one: Any, other: Any, where: str = "the state") -> str:
    """Where two values differ first, in words; "" where they are alike."""
    if isinstance(one, float) and isinstance(other, float):
        return "" if math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4) else f"{where} is {one}, not {other}"
    if type(one) is not type(other):
        return f"{where} is {str(one)[:200]}, not {str(other)[:200]}"
    if isinstance(one, dict):
        if lacking := [key for key in other if key not in one]:
            return f"{where} lacks {lacking[:5]}"
        if more := [key for key in one if key not in other]:
            return f"{where} has {more[:5]} besides"
        return next((d for key in one if (d := differs(one[key], other[key], f"{where}[{key!r}]"))), "")
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return f"{where} has {len(one)} entries, not {len(other)}"
        pairs = enumerate(zip(one, other, strict=True))
        return next((d for n, (a, b) in pairs if (d := differs(a, b, f"{where}[{n}]"))), "")
    return "" if one == other else f"{where} is {str(one)[:200]}, not {str(other)[:200]}"


def shim(home: Path) -> Path:
    """The shim, compiled."""
    source, made = HERE / "shim.c", home / "shim.so"
    if not shutil.which("cc"):
        raise RuntimeError("no C compiler (cc) is installed, which makes what strikes operations (shim.c)")
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made
