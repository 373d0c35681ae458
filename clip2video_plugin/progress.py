"""The progress bar of long runs, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from clip2video_plugin.paths import printable

if TYPE_CHECKING:
    from clip2video_plugin.report import Report


class Tell(Protocol):
    """What a long run calls with the number of things done and, where it is known, of all."""

    def __call__(self, done: int, /, *, total: int | None = None) -> None: ...


class Bar:
    """A bar over ``total`` steps; call it with the number done and a note."""

    def __init__(self, progress: Progress, total: int | None, unit: str) -> None:
        self._progress, self.total, self.unit = progress, total, unit
        (self._task,) = progress.task_ids

    def __call__(self, done: float, note: str = "", total: int | None = None) -> None:
        (task,) = self._progress.tasks
        rate = f"{task.speed:.1f} {self.unit}/s" if task.speed else ""
        if total is not None:
            self.total = total
        self._progress.update(self._task, completed=done, note=note, rate=rate, total=self.total)

    def failing(self, done: float, failed: int, total: int | None = None, note: str = "") -> None:
        """The number done, and of those that failed."""
        self(done, ", ".join(filter(None, [note, f"[red]{failed} failed[/]" if failed else ""])), total)

    def report(self, report: Report) -> None:
        """Progress of an embedding run."""
        if report.waiting:
            self(report.done, "waiting for another writer of the index", report.total)
        elif report.indexing:
            self(report.done, "making the vector index", report.total)
        else:
            underway = f"{escape(report.current)}: {report.within:.0%}" if 0 < report.within < 1 else ""
            actors = f"{report.actors} actors" if report.actors else ""
            notes = ", ".join(filter(None, [actors, underway]))
            self.failing(report.done + report.within % 1, len(report.failed), report.total, notes)


@contextmanager
def bar(title: str, total: int | None = None, *, unit: str = "videos", quiet: bool = False) -> Iterator[Bar]:
    """Shows a bar with rate and remaining time while the block runs; nothing where no one watches."""
    console = Console(stderr=True)
    progress = Progress(
        SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
    progress.add_task(escape(printable(title)), total=total, note="", rate="")
    # rich before 14.3 writes an empty line at the end of a bar that it was told not to show
    with progress if console.is_terminal and not quiet else nullcontext():
        yield Bar(progress, total, unit)
