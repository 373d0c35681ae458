"""The indexes of open tables, built where enough rows came, and how the vector index is asked then."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from clip2video_plugin.errors import IndexBusyError
from clip2video_plugin.index import choosing, memory, upkeep
from clip2video_plugin.index.connection import held, lock_of, plain_errors, read
from clip2video_plugin.index.recall import Sentences
from clip2video_plugin.index.segments import Each


def due(uri: str, tables: Sequence[Any]) -> bool:
    """``VideoIndex.needs_indexing``."""
    return any(read(uri, partial(_is_due, uri, table)) for table in tables)


def _is_due(uri: str, table: Any) -> bool:
    return upkeep.needs_indexing(table) or choosing.due(uri, table)


def finish(uri: str, tables: Sequence[Any], sentences: Sentences | None, each: Each | None, *, anew: bool) -> None:
    """``VideoIndex.finish``."""
    with plain_errors(uri):
        try:
            with held(lock_of(uri, upkeep.BUILD_LOCK), uri):
                for table in tables:
                    if upkeep.needs_indexing(table):
                        upkeep.build(uri, table, each)
                    if anew or choosing.due(uri, table):
                        with memory.given_back():
                            choosing.hold(uri, table, sentences)
        except IndexBusyError:
            return
