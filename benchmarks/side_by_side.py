"""Variants timed in turn in one process, and how many times as fast as the first each is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table


def timed(
    variants: dict[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    *,
    rest: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of each variant in each round; a round before them warms up.

    Before each is a ``rest`` of so many seconds, in which what the one before left to its threads comes to an end.
    """
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, run in variants.items():
            time.sleep(rest)
            began = clock()
            run()
            if number:
                spent[name].append(clock() - began)
    return spent


def speedup(base: list[float], other: list[float]) -> tuple[float, float, float]:
    """How many times as fast ``other`` is: median, least and most of the rounds."""
    ratios = sorted(b / o for b, o in zip(base, other, strict=True))
    return statistics.median(ratios), ratios[0], ratios[-1]


def show(
    title: str, spent: dict[str, list[float]], values: dict[str, str] | None = None, *, more: str = "recall@10"
) -> None:
    """A table of medians and of speedups over the first variant, with the spread over the rounds.

    ``values`` stand in a last column, headed ``more``.
    """
    base = next(iter(spent.values()))
    table = Table("", "median", "times as fast", "least to most", *([more] if values else []), title=title)
    for name, times in spent.items():
        middle, least, most = speedup(base, times)
        median = statistics.median(times)
        shown = f"{median:.2f} s" if median >= 1 else f"{1000 * median:.1f} ms"
        row = [name, shown, f"{middle:.2f}", f"{least:.2f} to {most:.2f}"]
        table.add_row(*row, *([values.get(name, "")] if values else []))
    Console().print(table)
