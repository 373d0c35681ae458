"""Commits while others commit: done again for a while, and never twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import lancedb
import pyarrow as pa

PATIENCE = 120.0  # seconds


def open_or_make(connection: lancedb.DBConnection, name: str, schema: pa.Schema) -> Any:
    """Opens a table, made empty where it is not there; where two make it at once, it is one of theirs."""
    if (found := opened_if_there(connection, name)) is not None:
        return found
    unless_done(
        lambda: opened_if_there(connection, name) is not None, lambda: connection.create_table(name, schema=schema)
    )
    return connection.open_table(name)


def drop(connection: lancedb.DBConnection, name: str) -> None:
    """Removes a table; nothing happens where another has done so."""
    unless_done(lambda: opened_if_there(connection, name) is None, lambda: connection.drop_table(name))


def opened_if_there(connection: lancedb.DBConnection, name: str) -> Any:
    """The table, None where there is none."""
    try:
        return connection.open_table(name)
    except FileNotFoundError:
        return None
    except ValueError as error:  # as of a store that cannot be reached
        if "was not found" not in str(error):
            raise
        return None


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
    """Does it again while others commit to the table first, for a while; LanceDB itself gives up after 10 times."""
    until, pause = time.monotonic() + PATIENCE, 0.05
    while True:
        try:
            return step()
        except (OSError, RuntimeError, ValueError) as error:
            if not conflicts(error) or time.monotonic() > until:
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # apart from the others
        pause = min(2 * pause, 2.0)


def conflicts(error: BaseException) -> bool:
    """Whether LanceDB committed nothing as others committed first."""
    said = str(error).lower()
    return any(words in said for words in ("concurrent transaction", "concurrent writers", "commit conflict"))
