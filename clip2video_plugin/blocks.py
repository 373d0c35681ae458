"""Videos that go to an actor together, and what came of that before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clip2video_plugin.actor import Task
from clip2video_plugin.encode_windows import Wish
from clip2video_plugin.isolated import time_for

MEGABYTES = 16  # of files in a block, for each of the videos that it may have
HOUR = 3600.0  # seconds that a block may take, and more where its files are large


@dataclass
class Block:
    """Videos that an actor gets at once; how often an actor crashed on them, and how often its node was lost."""

    wishes: list[Wish]
    crashes: int = 0
    losses: int = 0

    @property
    def seconds(self) -> float:
        """How long it may take."""
        return time_for(HOUR, sum(wish.stamp[0] for wish in self.wishes))

    def tasks(self) -> list[Task]:
        return [(str(n), wish.item.path, wish.stamp, wish.whole) for n, wish in enumerate(self.wishes)]


def blocks_of(todo: Iterator[Wish], most: int) -> Iterator[Block]:
    """Up to ``most`` videos each; of large files fewer, so that a film is alone."""
    wishes, size = list[Wish](), 0
    for wish in todo:
        if wishes and (len(wishes) == most or size + wish.stamp[0] > most * MEGABYTES * 1e6):
            yield Block(wishes)
            wishes, size = [], 0
        wishes.append(wish)
        size += wish.stamp[0]
    if wishes:
        yield Block(wishes)
