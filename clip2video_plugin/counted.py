"""Numbers of things, in words."""

from __future__ import annotations


def counted(number: int, one: str) -> str:
    """``1 video``, ``2 videos``, ``0 queries``: ``one`` is the thing's name in the singular."""
    if number == 1:
        return f"1 {one}"
    return f"{number} {one[:-1]}ies" if one.endswith("y") else f"{number} {one}s"
