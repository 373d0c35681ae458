"""A query's filter as a FiftyOne view: it asks the dataset's fields where other searches ask a table's columns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import fiftyone as fo
import fiftyone.core.collections as foc

from clip2video_plugin.app.videos import field_of_captions
from clip2video_plugin.index.filters import (
    Added,
    And,
    Caption,
    Duration,
    Filter,
    Not,
    Or,
    PathIs,
    Tag,
    glob_regex,
    word_regex,
)

OPERATORS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "=": "$eq", "!=": "$ne"}


def kept_by(samples: foc.SampleCollection, kept: Filter) -> foc.SampleCollection:
    """The samples that a filter keeps, by their metadata, tags, paths, captions, and when they were added.

    Samples without metadata have no known length, and fit no comparison with one.
    """
    return samples.match(fo.ViewExpression(_expression(kept, field_of_captions(samples))))


def _expression(kept: Filter, captions: str) -> dict[str, Any]:
    """An aggregation expression of MongoDB that is true or false; texts of users are literals in it."""
    match kept:
        case And(parts) | Or(parts):
            return {"$and" if isinstance(kept, And) else "$or": [_expression(part, captions) for part in parts]}
        case Not(part):
            return {"$not": [_expression(part, captions)]}
        case Duration(comparison, seconds):
            length = "$metadata.duration"  # which compares as less than every number where it is not there
            return {"$and": [{"$isNumber": length}, {OPERATORS[comparison]: [length, seconds]}]}
        case Added(comparison, time):
            try:
                when = datetime.fromtimestamp(time, UTC)
            except (ValueError, OverflowError, OSError):  # beyond all calendars
                when = datetime.max.replace(tzinfo=UTC) if time > 0 else datetime.min.replace(tzinfo=UTC)
            return {OPERATORS[comparison]: ["$created_at", when]}
        case PathIs(glob):
            return _matches("$filepath", glob_regex(glob))
        case Tag(tag):
            return {"$in": [{"$literal": tag}, {"$ifNull": ["$tags", []]}]}
        case Caption():
            field = f"${captions}"
            joined = {"$concat": ["$$value", " ", {"$toString": "$$this"}]}
            several = {"$reduce": {"input": field, "initialValue": "", "in": joined}}
            text = {"$cond": [{"$isArray": field}, several, {"$ifNull": [{"$toString": field}, ""]}]}
            return {"$and": [_matches(text, word_regex(word)) for word in kept.words]}


def _matches(text: Any, regex: str) -> dict[str, Any]:
    options = "" if text == "$filepath" else "i"
    return {"$regexMatch": {"input": {"$ifNull": [text, ""]}, "regex": {"$literal": regex}, "options": options}}
