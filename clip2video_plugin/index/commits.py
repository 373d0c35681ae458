"""Commits to a table while others commit to it: tried again for a while, and never done twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import count
from typing import Any

# After so many seconds and tries it is given up. One try alone may take half a minute, of a slow store with 16 writers.
PATIENCE, TRIES = 120.0, 30


def unless_done(done: Callable[[], bool], step: Callable[[], Any]) -> None:
    """Does what two processes at once would do twice, such as adding a column."""

    def unless() -> None:
        if not done():
            try:
                step()
            except (OSError, RuntimeError, ValueError):  # as when another has done so meanwhile
                if not done():
                    raise

    patiently(unless)


def patiently(step: Callable[[], Any]) -> Any:
    """Does a step, and does it again where others committed to the table first, for PATIENCE seconds and TRIES.

    LanceDB itself gives up after 10 times.
    """
    until, pause = time.monotonic() + PATIENCE, 0.05
    for tried in count(1):
        try:
            return step()
        except (OSError, RuntimeError, ValueError) as error:
            if not conflicts(error) or (time.monotonic() > until and tried >= TRIES):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # apart from the others
        pause = min(2 * pause, 2.0)


def conflicts(error: BaseException) -> bool:
    """Whether an error of LanceDB says that nothing was committed, because others committed first."""
    said = str(error).lower()
    return any(words in said for words in ("concurrent transaction", "concurrent writers", "commit conflict"))
