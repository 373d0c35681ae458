"""``Query``: all that may be asked, in one object."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from clip2video_plugin.bounds import checked_k, checked_weight
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Span
from clip2video_plugin.places import Uri, has_credentials, without_credentials
from clip2video_plugin.query.filters import parse_filter
from clip2video_plugin.query.language import SEVERAL, fields_of, line_of

HOW = ("mean", "max")


@dataclass(frozen=True)
class Query:
    """What is looked for. At least one of ``prompts``, ``like`` and ``captions`` says it.

    Attributes:
        prompts: sentences; one may be given as a string. ``how`` says what several are: "mean" for paraphrases of one
            thing, "max" for alternatives, of which one is enough.
        like: what the videos are to be like: a file (a video, an image, a folder of frames), the URI of a video, the id
            of a row or of a sample, several of these, or (one of these, Span) for a part of it; as text ``FILE@12-17``.
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
        object.__setattr__(self, "like", _likes(self.like))
        if isinstance(self.bank, os.PathLike):
            object.__setattr__(self, "bank", os.fspath(self.bank))
        if self.how not in HOW:
            raise QueryError(f"how is {self.how!r}; allowed are {', '.join(HOW)}")
        if not self.prompts:
            object.__setattr__(self, "how", "mean")
        object.__setattr__(self, "k", checked_k(self.k))
        object.__setattr__(self, "weight", checked_weight(self.weight))
        for name, most in (("threshold", None), ("min_confidence", 1), ("diversity", 1)):
            object.__setattr__(self, name, _number(name, getattr(self, name), most))
        if self.where is not None:
            if not self.where.strip():
                object.__setattr__(self, "where", None)
            else:
                parse_filter(self.where)  # what is wrong with it shows before anything is read
        if not (self.prompts or self.like or self.captions):
            raise QueryError("the query '' is empty; describe what happens in the video")

    @classmethod
    def parse(cls, line: str = "", **more: Any) -> Query:
        """The query that a line says, as ``a dog runs | a dog jumps --not "a stage" --where "duration<60"``.

        ``|`` stands between alternatives. An operator (``OPERATORS`` in ``language.py``; ``c2v search --help`` explains
        each) has the value up to the next one, or the next words in double quotes, in which nothing is an operator and
        a double quote is written twice. Only these exact words, alone between spaces, are operators; all else is text,
        and a line without any is a prompt as it stands.

        Args:
            more: fields beside those of the line: of what may be several in addition to them, of filters too, and
                instead of all others; None says nothing.

        Raises:
            QueryError: an operator lacks its value, or a value is none of those allowed.
        """
        if not isinstance(line, str):
            raise QueryError(f"the query {line!r} is empty; describe what happens in the video")
        fields = fields_of(line)
        for name, value in more.items():
            if value is None:
                continue
            if name in SEVERAL:
                several = (value,) if isinstance(value, str | Path) else tuple(value)
                if name == "prompts" and several and fields.get("how") == "max":
                    raise QueryError("the query has alternatives (|) and paraphrases; it may have one kind of them")
                fields[name] = (*fields.get(name, ()), *several)
            elif name == "where" and name in fields:
                fields[name] = f"({fields[name]}) and ({value})"
            else:
                fields[name] = value
        return cls(**fields)

    def line(self) -> str:
        """The line that says this query: ``Query.parse(query.line()) == query``, but for a bank that is no file."""
        return line_of(self)


def _likes(given: object) -> tuple[str, ...]:
    """What a query is like, each as text: a file, an id, or ``FILE@12-17``."""
    if isinstance(given, str | os.PathLike) or (
        isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Span)
    ):
        given = (given,)
    if not isinstance(given, tuple | list):
        raise QueryError(f"like is {given!r}; give a file, an id, or FILE@12-17, or several of these")
    out = list[str]()
    for one in given:
        what, span = one if isinstance(one, tuple) and len(one) == 2 else (one, None)
        what = str(what) if isinstance(what, Uri) and what.secret is None else what
        if not isinstance(what, str | os.PathLike) or not os.fspath(what).strip():
            raise QueryError(f"like is {one!r}; give a file, an id, or FILE@12-17, or several of these")
        if has_credentials(os.fspath(what)):
            shown = without_credentials(os.fspath(what))
            raise QueryError(
                f"like is {shown} with credentials, which a query would show; name a file, or embed it first"
            )
        out.append(os.fspath(what) + ("" if span is None else f"@{float(span.start)!r}-{float(span.end)!r}"))
    return tuple(out)


def _number(name: str, value: object, most: float | None) -> float | None:
    """A finite number, of those with a ``most`` in [0, most]; or None."""
    if value is None:
        return None
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if isfinite(number) and (most is None or 0 <= number <= most):
            return number
    allowed = "a finite number" if most is None else f"a number that lies in [0, {most:g}]"
    raise QueryError(f"{name} is {value!r}; it must be {allowed}")
