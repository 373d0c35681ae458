"""What all stores answer with: a version of an object, and bytes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

CHANGED = "it changed while it was read; read it again when nobody writes it"


class Passing(Exception):
    """A failure that may pass, so that another attempt may succeed; ``reason`` says what failed, in words for users."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Version:
    """One version of an object: its size in bytes (None where nobody says), when it changed (seconds since 1970; a
    number made of its tag where nobody says), and what the store calls it, if it calls it anything."""

    size: int | None
    changed: float
    tag: str = ""

    def is_of(self, other: Version) -> bool:
        """False where the two are certainly different; what one of them does not say is not compared."""
        return all(a == b or None in (a, b) for a, b in zip(self._marks(), other._marks(), strict=True))

    def _marks(self) -> tuple[int | float | str | None, ...]:
        return self.size, self.changed or None, self.tag or None


@dataclass
class Answer:
    """Bytes of an object from ``start`` on, as they come; ``whole`` when they are all of it, from 0 on."""

    version: Version
    start: int
    body: Iterator[bytes]
    whole: bool = False


class Source(Protocol):
    """An object in a store. Both raise VideoReadError, or ``Passing`` for what another attempt may mend."""

    def look(self) -> Version:
        """Its version, without its bytes."""

    def read(self, start: int, end: int, version: Version | None) -> Answer:
        """Bytes [start, end) of it, of this version where one is named."""
