"""What a run of embedding did, told as it goes on and when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """A video, by the path that open() takes, and what is wrong with it, in one line."""

    path: str
    reason: str


@dataclass
class Report:
    """What an embedding run did: counts, the videos that could not be read, and seconds taken.

    ``damaged`` lists videos that were embedded from the part of them that can be read; ``total`` is the number
    of videos asked for, where it is known; ``indexing`` says that all are embedded and the vector index is being made;
    ``waiting`` that another process writes to the index and this one waits; ``model`` names the model, ``warning`` is
    its (``Model.warning``), and ``about`` what it says of itself; ``note`` says why it is not the default one where it
    might be expected. ``moved`` counts videos whose files were found under another path with the same content;
    ``passed_over``, by ending, files in folders that may be videos though their ending is of none. ``captioned`` of the
    skipped got other captions; ``caption_notes`` say in lines what of the captions was of no use.
    ``windows`` says
    which windows videos get, None for none; ``windowed`` counts those that got them, ``others`` those of these that had
    other ones. ``current`` is a long video that is underway, and ``within`` how much of it is done, 0 to 1. ``actors``
    of a cluster work at it (``engine``).
    """

    embedded: int = 0
    skipped: int = 0
    moved: int = 0
    failed: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    damaged: list[Failure] = field(default_factory=list)
    total: int | None = None
    indexing: bool = False
    waiting: bool = False
    warning: str | None = None
    passed_over: dict[str, int] = field(default_factory=dict)
    model: str = ""
    about: str | None = None
    note: str | None = None
    captioned: int = 0
    caption_notes: list[str] = field(default_factory=list)
    windows: str | None = None
    windowed: int = 0
    others: int = 0
    current: str = ""
    within: float = 0.0
    actors: int = 0

    def __repr__(self) -> str:
        counts = {"embedded": self.embedded, "skipped": self.skipped, "moved": self.moved}
        counts |= {"failed": len(self.failed), "damaged": len(self.damaged)}
        shown = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "embedded")
        return f"Report({shown}, in {self.seconds:.1f} s by model {self.model!r})"

    @property
    def done(self) -> int:
        return self.embedded + self.skipped + self.moved + len(self.failed)


Progress = Callable[[Report], None]
