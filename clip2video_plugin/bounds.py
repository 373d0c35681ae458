"""What may be asked for: one check for every way to ask, before anything is read or made."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, get_args

from clip2video_plugin.errors import Clip2VideoError, QueryError

MAX_K = 10_000  # hits of one search; FiftyOne selects them in one MongoDB pipeline, which has a size limit


def check_choice(name: str, value: object, choices: Any, error: type[Clip2VideoError] = Clip2VideoError) -> None:
    """Raises ``error`` for a value that is none of those of a Literal type, which it names."""
    allowed = get_args(choices)
    if not isinstance(value, str) or value not in allowed:
        raise error(f"{name} is {_shown(value)}; allowed are {', '.join(allowed)}")


def checked_k(k: object) -> int:
    """A number of hits, 1 to ``MAX_K``; it may exceed what there is.

    Raises:
        QueryError: it is something else.
    """
    if not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= int(k) <= MAX_K:
        raise QueryError(f"k is {_shown(k)}; it must be a whole number that lies between 1 and {MAX_K}")
    return int(k)


def checked_weight(weight: object) -> float | None:
    """A share of the global vector in [0, 1], or None for the model's own.

    Raises:
        QueryError: it is something else.
    """
    if weight is None:
        return None
    # NaN lies nowhere
    if not isinstance(weight, Real) or isinstance(weight, bool) or not 0 <= float(weight) <= 1:
        raise QueryError(f"weight is {_shown(weight)}; it must be a number that lies in [0, 1]")
    return float(weight)


def checked_count(name: str, value: object) -> int | None:
    """A whole number of at least 1, or None for the usual one.

    Raises:
        Clip2VideoError: it is something else.
    """
    if value is None:
        return None
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
        raise Clip2VideoError(f"{name} is {_shown(value)}; it must be at least 1, a whole number")
    return int(value)


def checked_amount(name: str, value: object, unit: str, least: float) -> float | None:
    """A finite number of at least ``least``, or None for the usual one.

    Raises:
        Clip2VideoError: it is something else.
    """
    if value is None:
        return None
    if not isinstance(value, Real) or isinstance(value, bool) or not least <= float(value) < math.inf:
        raise Clip2VideoError(f"{name} is {_shown(value)}; it must be at least {least:g}, in {unit}")
    return float(value)


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Real) else repr(value)
    return " ".join(text.split())[:80]
