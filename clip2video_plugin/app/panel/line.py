"""The query line: a prompt with chips, which say the same as a ``Query`` and its one-line form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from clip2video_plugin.query import Query

# Fields of a query that are options of the panel, and where the page's state has them
OPTIONS = {
    "k": "options.k",
    "weight": "weight",
    "threshold": "options.threshold",
    "moments": "options.moments",
    "min_confidence": "options.min_confidence",
    "bank": "options.bank",
    "diversity": "options.diversity",
}
DEFAULT_K = 25
ANY = "any"
TAG = "tag "  # before a tag that is a choice, so that one called "any" is no other choice
SEVERAL = ("without", "then", "like")
USUAL: dict[str, Any] = {field.name: field.default for field in fields(Query)}


def query_of(text: str, chips: Sequence[Mapping[str, str]] = ()) -> Query:
    """The query of a line as it was typed, and of the chips beside it; raises QueryError."""
    given: dict[str, Any] = {kind: [chip["text"] for chip in chips if chip["kind"] == kind] for kind in SEVERAL}
    for chip in chips:
        if chip["kind"] == "captions":
            given["captions"] = chip["text"]
        elif chip["kind"] == "where":
            given["where"] = f"({given['where']}) and ({chip['text']})" if "where" in given else chip["text"]
    return Query.parse(text, **given)


def chips_of(query: Query, names: Mapping[str, str], thresholds: Mapping[str, float]) -> list[dict[str, str]]:
    """What a query has beside its prompts.

    Args:
        names: of samples, by id.
        thresholds: from which on something negated holds, by what it is.
    """
    chips = [{"kind": kind, "text": str(one)} for kind in SEVERAL for one in getattr(query, kind)]
    for kind in ("captions", "where"):
        if (value := getattr(query, kind)) is not None:
            chips.append({"kind": kind, "text": value})
    for chip in chips:
        chip["label"] = names.get(chip["text"], chip["text"]) if chip["text"] else "none"
        if chip["kind"] == "without" and chip["text"] in thresholds:
            chip["note"] = f"≥ {thresholds[chip['text']]:.2f}"
    return chips


def line_of(query: Query) -> str:
    """The one-line form of what is asked, without the options."""
    return replace(query, **{name: USUAL[name] for name in OPTIONS}).line()


def text_of(query: Query) -> str:
    """What stands in the box beside the chips: the prompts."""
    if not query.prompts:
        return ""
    return Query(query.prompts, how=query.how).line()


def options_of(state: Any) -> dict[str, Any]:
    """Brain key, tag, length, and the options of a query, as the page's state has them."""
    told = {name: state.get(path) for name, path in OPTIONS.items()}
    told = {name: USUAL[name] if value is None else value for name, value in told.items()}
    tag = state.get("options.only_tag") or ANY
    return {
        **told,
        "k": int(state.get("options.k") or DEFAULT_K),
        "bank": told["bank"] or None,
        "min_confidence": told["min_confidence"] or None,  # 0 leaves all in, and needs no calibration
        "weight": None if told["weight"] == state.get("own_weight") else told["weight"],
        "brain_key": state.get("options.brain_key"),
        "tag": tag.removeprefix(TAG) if tag.startswith(TAG) else None,
        "length": state.get("options.length") or ANY,
    }
