"""``Query``: all that may be asked, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Literal

from clip2video_plugin.bounds import checked_k, checked_weight
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Span

HOW = ("mean", "max")


@dataclass(frozen=True)
class Query:
    """What is looked for. At least one of ``prompts``, ``like`` and ``captions`` says it.

    Attributes:
        prompts: sentences; one may be given as a string. ``how`` says what several are: "mean" for paraphrases of one
            thing, "max" for alternatives, of which one is enough.
        like: what the videos are to be like: a file (a video, an image, a folder of frames), the id of a row or of a
            sample, several of these, or (one of these, Span) for a part of it; as text ``FILE@12-17``.
        without: sentences that a video must not fit; those that fit one with ``threshold`` or more are left out. The
            threshold is that of the index by default, and is shown.
        then: what comes after the prompt, in this order.
        captions: what the text side looks for; by default the prompt, "" for nothing.
        where: a filter (``index/filters.py``): ``duration<60 and tag:beach``.
        weight: w in [0, 1] of the global vector against the aligned one; the model's own by default.
        k: most hits to give.
        moments: give all spans of a hit, not only its best window.
        min_confidence: leave out hits that are right with less than this probability.
        bank: queries to normalise scores by (QB-Norm): a text file with a line each, or the queries.
        diversity: 0 to 1, how far hits are to differ from each other (maximal marginal relevance).

    Raises:
        QueryError: a value is none of those allowed, or nothing is looked for.
    """

    prompts: tuple[str, ...] = ()
    how: Literal["mean", "max"] = "mean"
    like: tuple[str | Path | tuple[str | Path, Span], ...] = ()
    without: tuple[str, ...] = ()
    threshold: float | None = None
    then: tuple[str, ...] = ()
    captions: str | None = None
    where: str | None = None
    weight: float | None = None
    k: int = 10
    moments: bool = False
    min_confidence: float | None = None
    bank: str | Path | tuple[str, ...] | None = None
    diversity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prompts", "without", "then"):
            given = getattr(self, name)
            texts = (given,) if isinstance(given, str) else tuple(given)
            for text in texts:
                if not isinstance(text, str) or not text.strip():
                    raise QueryError(f"the query {text!r} is empty; describe what happens in the video")
            object.__setattr__(self, name, texts)
        single = isinstance(self.like, str | Path) or (
            isinstance(self.like, tuple) and len(self.like) == 2 and isinstance(self.like[1], Span)
        )
        object.__setattr__(self, "like", (self.like,) if single else tuple(self.like or ()))
        if self.how not in HOW:
            raise QueryError(f"how is {self.how!r}; allowed are {', '.join(HOW)}")
        object.__setattr__(self, "k", checked_k(self.k))
        object.__setattr__(self, "weight", checked_weight(self.weight))
        for name in ("min_confidence", "diversity"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1
            ):
                raise QueryError(f"{name} is {value!r}; it must be a number that lies in [0, 1]")
        if not (self.prompts or self.like or self.captions):
            raise QueryError("the query '' is empty; describe what happens in the video")
