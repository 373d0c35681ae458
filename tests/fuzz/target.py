"""What is fuzzed: files that are right, how they are read, and what counts as an answer."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from random import Random

from .mutate import mutate

Files = dict[str, bytes]  # of one input, by name below its folder


class Wrong(Exception):
    """An answer that cannot be: of another form than it should have, or another the second time."""


class Room:
    """A folder in memory in which the files of one input lie while they are read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._numbers, self._empty = folder, count(), True

    def put(self, files: Files) -> Path:
        """Writes the files into a new folder, which no library has heard of before."""
        place = self.folder / f"in{next(self._numbers)}"
        place.mkdir()
        self._empty = False
        for name, content in files.items():
            path = place / name
            if "/" in name:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return place

    def one(self, files: Files) -> Path:
        """The only file of an input, written."""
        place = self.put(files)
        return place / next(iter(files))

    def clear(self) -> None:
        if not self._empty:
            for entry in os.scandir(self.folder):
                shutil.rmtree(entry.path, ignore_errors=True)
            self._empty = True


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        says: what it is, in a few words.
        make: files that are right, by a name for each input; gets an empty folder to work in.
        read: gives the product's answer to an input, or raises what the product raises.
        share: of a thousand inputs over all targets, how many are of this one.
        tokens: words of its language.
        still: names of files that stay as they are.
    """

    name: str
    says: str
    make: Callable[[Path], Iterable[tuple[str, Files]]]
    read: Callable[[Files, Room], object]
    share: int
    tokens: Sequence[bytes] = ()
    still: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pool:
    """Inputs to make others of. Input n of a seed is the same in every process and every run."""

    target: Target
    inputs: Sequence[Files]

    @cached_property
    def _by_ending(self) -> dict[str, list[bytes]]:
        out: dict[str, list[bytes]] = {}
        for files in self.inputs:
            for name, content in files.items():
                out.setdefault(os.path.splitext(name)[1], []).append(content)
        return out

    def input(self, seed: int, number: int) -> Files:
        random = Random(f"{seed}/{self.target.name}/{number}")
        files = dict(random.choice(self.inputs))
        names = [name for name in files if name not in self.target.still]
        if not names:
            return files
        for _ in range(1 if len(names) == 1 else random.choice((1, 1, 2))):
            name = random.choice(names)
            chance = random.random() if len(names) > 1 else 1.0
            if chance < 0.03:
                files.pop(name, None)
            elif chance < 0.06 and name in files:  # the file of another
                files[name] = files.get(random.choice(names), b"")
            else:
                others = self._by_ending[os.path.splitext(name)[1]]
                files[name] = mutate(random, files.get(name, b""), others, self.target.tokens)
        return files
