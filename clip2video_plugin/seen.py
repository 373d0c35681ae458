"""Which of many names came before: exact, and in memory that does not grow with their number."""

from __future__ import annotations

import hashlib
import os
import sqlite3

CACHE_KB = 65_536


class Seen:
    """Names that were given so far, in a temporary file that goes with it."""

    def __init__(self) -> None:
        # In the order of who asks, one at a time, though not always from one thread.
        self._names = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for line in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KB}"):
            self._names.execute(f"PRAGMA {line}")
        self._names.execute("CREATE TABLE names (hash BLOB PRIMARY KEY) WITHOUT ROWID")
        self._names.execute("BEGIN")

    def is_new(self, name: str) -> bool:
        """Whether it was not asked for before."""
        key = hashlib.sha256(os.fsencode(name)).digest()[:16]
        return self._names.execute("INSERT OR IGNORE INTO names VALUES (?)", (key,)).rowcount == 1
