"""The one-line form of a query, which command line, panel and Python share: from a line to fields, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from clip2video_plugin.errors import QueryError

if TYPE_CHECKING:
    from clip2video_plugin.query.query import Query

# operator -> field of ``Query``, and how it is written
OPERATORS = {
    "|": ("prompts", "a dog runs | a dog jumps"),
    "--also": ("prompts", "a dog runs --also a running dog"),
    "--not": ("without", '--not "a stage"'),
    "--then": ("then", '--then "a man sits down"'),
    "--where": ("where", '--where "duration<60 and tag:beach"'),
    "--like": ("like", "--like clip.mp4@12-17"),
    "--captions": ("captions", '--captions "red bus"'),
    "--weight": ("weight", "--weight 0.7"),
    "-k": ("k", "-k 10"),
    "--moments": ("moments", "--moments"),
    "--threshold": ("threshold", "--threshold 0.6"),
    "--min-confidence": ("min_confidence", "--min-confidence 0.5"),
    "--bank": ("bank", "--bank queries.txt"),
    "--diverse": ("diversity", "--diverse 0.5"),
}
SEVERAL = ("prompts", "without", "then", "like")
NUMBERS = ("weight", "threshold", "min_confidence", "diversity")
# In double quotes: from the beginning of a word to the end of one; a double quote in between is doubled, or in a word.
_WORD = re.compile(r'(?<!\S)"(?P<quoted>(?:[^"]|""|(?<!\s)"(?=[^\s"]))*)"(?!\S)|\S+')
_WHOLE, _NUMBER = re.compile(r"[0-9]+"), re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


class _Part(NamedTuple):
    """An operator, "" of what the line begins with; its value; and what stands after a value in double quotes."""

    operator: str
    value: str
    quoted: bool
    rest: str


def fields_of(line: str) -> dict[str, Any]:
    """The fields of ``Query`` that a line says. One without any operator is a prompt as it stands.

    Raises:
        QueryError: an operator lacks its value, or has one that it cannot have.
    """
    if _is_plain(line):
        return {"prompts": (line.strip(),)} if line.strip() else {}
    out = dict[str, Any]()
    kinds = list[str]()
    for operator, value, quoted, rest in _parts(line):
        if not operator:
            out["prompts"] = (value,)
            continue
        name, written = OPERATORS[operator]
        if name == "moments":
            out["moments"], rest = True, rest or value
        elif not value and not (quoted and name == "captions"):
            raise QueryError(f"{operator} lacks its value; write it as in: {written}")
        elif name in SEVERAL:
            out[name] = (*out.get(name, ()), value)
            kinds += [operator] * (name == "prompts")
        elif name == "where" and name in out:
            out[name] = f"({out[name]}) and ({value})"
        elif name in out:
            raise QueryError(f"{operator} stands twice; write it once, as in: {written}")
        else:
            out[name] = _value(operator, value)
        if rest and "prompts" in out:
            raise QueryError(f"what does {rest!r} after {operator} belong to? Put double quotes around a whole value")
        if rest:
            out["prompts"] = (rest,)
    if len(set(kinds)) > 1:
        raise QueryError("the query has alternatives (|) and paraphrases (--also); it may have one kind of them")
    if "|" in kinds:
        out["how"] = "max"
    return out


def line_of(query: Query) -> str:
    """The line that says a query, but for a bank that is no file."""
    first, *others = query.prompts or ("",)
    if len(query.prompts) == 1 and query == type(query)((first,)) and _is_plain(first) and first == first.strip():
        return first
    between = "|" if query.how == "max" else "--also"
    words = [_quoted(first)] if query.prompts else []
    if query.how == "max" and query.prompts and not others:
        words.insert(0, "|")
    for text in others:
        words += [between, _quoted(text)]
    for operator, (name, _) in OPERATORS.items():
        value = getattr(query, name)
        if name == "prompts" or value == getattr(type(query), name):
            continue
        for one in value if name in SEVERAL else [value]:
            if name == "moments":
                words.append(operator)
            elif not isinstance(one, tuple):
                words += [operator, repr(one) if name in NUMBERS else _quoted(str(one), value=True)]
    line = " ".join(words)
    return f"{line} -k {query.k}" if _is_plain(line) else line


def _words(line: str) -> Iterator[tuple[re.Match[str], str | None]]:
    """The words of a line, and of one in double quotes what they hold."""
    for word in _WORD.finditer(line):
        quoted = word["quoted"]
        yield word, None if quoted is None else quoted.replace('""', '"')


def _is_plain(line: str) -> bool:
    """Whether no operator stands in a line, in double quotes or not."""
    return not any(
        one in OPERATORS for word, quoted in _words(line) for one in ([word[0]] if quoted is None else quoted.split())
    )


def _parts(line: str) -> Iterator[_Part]:
    operator, start, first = "", 0, True
    lead: tuple[str, int] | None = None  # what a part begins with in double quotes, and where they end

    def part(end: int) -> _Part:
        whole = line[start:end].strip()
        if lead is None:
            return _Part(operator, whole, False, "")
        value, rest = lead[0], line[lead[1] : end].strip()
        if operator in ("", "|", "--also") and (rest or not value.strip()):
            return _Part(operator, whole, False, "")
        return _Part(operator, value, True, rest)

    for word, quoted in _words(line):
        if quoted is None and word[0] in OPERATORS:
            if operator or line[start : word.start()].strip():
                yield part(word.start())
            operator, start, first, lead = word[0], word.end(), True, None
            continue
        if first and quoted is not None:
            lead = quoted, word.end()
        first = False
    if operator or line[start:].strip():
        yield part(len(line))


def _value(operator: str, text: str) -> str | int | float:
    name, written = OPERATORS[operator]
    if name == "k":
        if _WHOLE.fullmatch(text):
            return int(text)
        raise QueryError(f"{operator} is {text!r}, which is no whole number; write it as in: {written}")
    if name in NUMBERS:
        if _NUMBER.fullmatch(text) and isfinite(float(text)):
            return float(text)
        raise QueryError(f"{operator} is {text!r}, which is no number; write it as in: {written}")
    return text


def _quoted(text: str, value: bool = False) -> str:
    """A text as it is written: in double quotes where it could be misread, or is a ``value`` of several words."""
    bare = (
        text and text == text.strip() and '"' not in text and _is_plain(text) and not (value and len(text.split()) > 1)
    )
    return text if bare else '"' + text.replace('"', '""') + '"'
