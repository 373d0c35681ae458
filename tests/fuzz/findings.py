"""What is kept on disk: the inputs others are made of, those that were answered in a new way, and findings."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .outcome import Outcome
from .target import Files, Room, Target

KNOWN = Path(__file__).parent / "corpus"  # past findings
MOST_NOVEL, LARGEST = 400, 64 << 10  # of a target; bytes of one
LONE = 3
ABOUT = "finding.json"


class Keeper:
    """Below a folder: ``seeds/TARGET/NAME``, ``corpus/TARGET/HASH``, ``findings/TARGET/HASH``: folders of files."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._signs: dict[str, set[str]] = {}

    def make_seeds(self, target: Target, room: Room) -> int:
        folder = self.out / "seeds" / target.name
        if folder.exists():
            return sum(1 for _ in folder.iterdir())
        partial = self.out / "seeds" / f".{target.name}"
        place, made = room.put({}), 0
        for name, files in target.make(place):
            write_files(partial / name, files)
            made += 1
        room.clear()
        partial.rename(folder)
        return made

    def pool(self, target: Target) -> list[Files]:
        """Seeds, past findings, and what was kept of earlier runs."""
        kept = self._in(self.out / "corpus" / target.name, "kept")
        found = [files for _, files in (*self.seeds(target), *self.known(target), *kept)]
        if not found:
            raise LookupError(f"{target.name} has no inputs to make others of")
        return found

    def seeds(self, target: Target) -> list[tuple[str, Files]]:
        return self._in(self.out / "seeds" / target.name, "seed")

    def known(self, target: Target) -> list[tuple[str, Files]]:
        return self._in(KNOWN / target.name, "known")

    def _in(self, folder: Path, what: str) -> list[tuple[str, Files]]:
        places = (
            sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
            if folder.is_dir()
            else []
        )
        return [(f"{what} {path.name}", read_files(path)) for path in places]

    def keep_novel(self, target: Target, found: Outcome, files: Files) -> bool:
        """Keeps an input that was refused in words that no other was."""
        folder = self.out / "corpus" / target.name
        if target.name not in self._signs:
            self._signs[target.name] = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        signs = self._signs[target.name]
        name = digest(found.sign)
        if name in signs or len(signs) >= MOST_NOVEL or sum(map(len, files.values())) > LARGEST:
            return False
        signs.add(name)
        partial = folder / f".{name}.{os.getpid()}"  # others read the folder meanwhile
        write_files(partial, files)
        with suppress(OSError):  # another was first
            partial.rename(folder / name)
        return True

    def count(self, target: str, sign: str) -> int:
        """How many of a signature are kept."""
        return len(list((self.out / "findings" / target).glob(f"{digest(sign)}-*")))

    def keep(self, target: str, sign: str, kind: str, files: Files, seed: int, number: int, text: str) -> str:
        """Writes a finding, unless there are enough of its signature; gives the signature."""
        if (there := self.count(target, sign)) < LONE:
            folder = self.out / "findings" / target / f"{digest(sign)}-{there + 1}"
            about = {"target": target, "kind": kind, "sign": sign, "seed": seed, "number": number, "text": text}
            write_files(folder, files)
            (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        return sign

    def findings(self) -> Iterator[dict[str, object]]:
        for path in sorted((self.out / "findings").glob(f"*/*/{ABOUT}")):
            yield {**json.loads(path.read_text(encoding="utf-8")), "folder": str(path.parent)}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def write_files(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read_files(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ABOUT
    }
