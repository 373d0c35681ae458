"""Full text over a column of a table: the rows that hold all words of a sentence.

LanceDB's index of words, which works offline: words are cut at spaces and punctuation ("_" as well), compared by their
English stems without accents, and those such as "the" do not count. What a user types is data in a query object, never
text of a query language. Any column of strings, or of lists of them, can have one; that of captions has it as soon as
there are some.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from lancedb.query import FullTextOperator, MatchQuery

from clip2video_plugin.index.connection import in_list, local_folder, read
from clip2video_plugin.index.hits import Hit, Keep
from clip2video_plugin.index.nearest import SHOWN
from clip2video_plugin.index.upkeep import WORDS, has_index, index_words
from clip2video_plugin.paths import as_path

SETTLED = 1_000_000_000  # ns after which two writes cannot have the same time
ELSEWHERE = 10.0  # seconds between two questions to a table that is not on this machine
LONGEST = 4_000  # characters of a sentence that are looked for
PREFILTERED = 1_000  # ids in one filter; those of a larger view are picked out of the hits


class Text:
    """The texts of a column of a table, and whether it has any, which is remembered."""

    def __init__(self, uri: str, table: Any, column: str = WORDS) -> None:
        self._uri, self._table, self._column = uri, table, column
        folder = local_folder(uri)
        # of the table's versions: its time of change says at once that all is as before
        self._folder = folder and folder / f"{table.name}.lance" / "_versions"
        self._known: tuple[int, bool] | None = None

    @property
    def there(self) -> bool:
        """Whether any row has a text; once that is known, the table is not asked again."""
        changed = self._changed()
        if changed is None or self._known is None or self._known[0] != changed:
            there = read(self._uri, lambda: has_index(self._table, self._column))
            self._known = None if changed is None else (changed, there)
            return there
        return self._known[1]

    def make(self) -> None:
        """Makes the index of words, where there is none yet; texts that come later are found at once."""
        index_words(self._table, self._column)
        self._known = None

    def _changed(self) -> int | None:
        """When the table was written to last, in ns; None where that is not known, or could be now.

        Of a table elsewhere another number every ten seconds: to ask it takes a round trip.
        """
        if self._folder is None:
            return int(time.monotonic() / ELSEWHERE)
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except OSError:
            return None
        return changed if time.time_ns() - changed > SETTLED else None

    def search(
        self,
        words: str,
        k: int,
        *,
        pool: int = 0,
        ids: Collection[str] | None = None,
        where: str | None = None,
        keep: Keep | None = None,
    ) -> list[Hit]:
        """The k rows that hold all of the words, or ``pool`` if that is more, best first. Ties go by id.

        ``score`` is BM25, and no cosine. More than ``pool`` rows are looked at only until k of them are kept.

        What is looked for are words and nothing else: there are no operators; those without a letter or a number, and
        such as "the", are left out, and where none is left nothing is found. ``ids``, ``where``, ``keep`` as in
        ``VideoIndex.search``.
        """
        if not self.there or (ids is not None and not ids):
            return []
        words = words[:LONGEST].encode(errors="replace").decode()  # lone surrogates
        query = MatchQuery(words, self._column, operator=FullTextOperator.AND)  # type: ignore[call-arg]
        narrow = ids is not None and len(ids) <= PREFILTERED
        filters = [in_list("id", ids or ()) if narrow else "", f"({where})" if where else ""]
        inside = None if ids is None or narrow else frozenset(ids)
        joined = " AND ".join(filter(None, filters))
        return read(self._uri, lambda: _enough(lambda most: self._hits(query, most, joined, inside), k, pool, keep))

    def _hits(self, query: MatchQuery, most: int, where: str, inside: frozenset[str] | None) -> tuple[list[Hit], bool]:
        """At most so many hits, and whether there are no more."""
        found = self._table.search(query, query_type="fts").select([*SHOWN, "_score"]).limit(most)
        if where:
            found = found.where(where, prefilter=True)
        rows = found.to_list()
        rows.sort(key=lambda row: (-row["_score"], row["id"]))
        hits = [
            Hit(0, row["id"], as_path(row["path"]), row["_score"], row["start"], row["end"], row["duration"],
                sample_id=row["sample_id"], matched="captions")
            for row in rows
            if inside is None or row["id"] in inside
        ]  # fmt: skip
        return hits, len(rows) < most


def _enough(find: Callable[[int], tuple[list[Hit], bool]], k: int, pool: int, keep: Keep | None) -> list[Hit]:
    """The first of those that may be shown, of as many hits as it takes to have k."""
    most = max(k, pool) + 1
    while True:
        hits, complete = find(most)
        kept = hits if keep is None else keep(hits)
        if len(kept) >= k or complete:
            return [replace(hit, rank=rank) for rank, hit in enumerate(kept[: max(k, pool)], start=1)]
        most *= 4
