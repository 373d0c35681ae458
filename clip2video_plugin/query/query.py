"""``Query``: everything that one search can ask for, in one object."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from clip2video_plugin.bounds import check_choice, checked_k, checked_weight
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Span
from clip2video_plugin.places import Uri, has_credentials, without_credentials
from clip2video_plugin.query.filters import parse_filter
from clip2video_plugin.query.language import SEVERAL, fields_of, line_of

How = Literal["mean", "max"]
"""What several sentences of a query are: paraphrases of one thing, or alternatives of which one is enough."""


@dataclass(frozen=True)
class Query:
    """What to search for. At least one of ``prompts``, ``like`` and ``captions`` must be given.

    Attributes:
        prompts: sentences; a single one may be a string.
        how: what several prompts are: "mean" for paraphrases of one thing, "max" for alternatives, of which one is
            enough.
        like: examples. Each is a file (a video, an image, a folder of frames), the URI of a video, or the id of a row
            or a sample. A part of one is (example, Span), or as text ``FILE@12-17`` in seconds.
        without: sentences. A video that scores ``threshold`` or more for one of them is left out.
        threshold: a score; by default it is chosen from the index (``SearchResult.dropped`` says it).
        then: what happens after the prompt, in this order.
        captions: words to look for in captions; by default those of the prompt, "" for none.
        where: a filter, such as ``duration<60 and tag:beach`` (``query/filters.py``).
        weight: 0 to 1, the share of the global vector (appearance); the rest is the aligned one's (motion). By default
            the model's own.
        k: the most hits to give.
        moments: give all matching spans of a hit, not only its best window.
        min_confidence: 0 to 1; hits that are right with a smaller probability are left out.
        bank: queries that correct for videos near to every sentence (QB-Norm): a text file with one on each line, or
            the queries themselves.
        diversity: 0 to 1, how much hits must differ from each other (maximal marginal relevance).

    Raises:
        QueryError: a value is not allowed, or there is nothing to search for.
    """

    prompts: tuple[str, ...] = ()
    how: How = "mean"
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
        check_choice("how", self.how, How, QueryError)
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
        """Reads a query from one line, such as ``a dog runs | a dog jumps --not "a stage" --where "duration<60"``.

        ``|`` separates alternatives. The operators are those of ``c2v search --help`` (``OPERATORS`` in
        ``language.py``). An operator's value reaches to the next operator, or is in double quotes. Within double quotes
        nothing is an operator, and a double quote is written twice. Only the exact words, alone between spaces, are
        operators. Everything else is text. A line without any operator is one prompt.

        Args:
            line: the line; "" for none.
            more: fields of ``Query``. Prompts, examples, ``without``, ``then`` and filters are added to those of the
                line; any other field replaces the line's. None changes nothing.

        Raises:
            QueryError: an operator lacks its value, or a value is not allowed.
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

    def __repr__(self) -> str:
        """What of it is not the usual."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return f"Query({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    def line(self) -> str:
        """This query as one line: ``Query.parse(query.line()) == query``, unless its bank is not a file."""
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
