"""LanceDB's calls from Python as operations that fail or are where a process is killed (``shim.c``)."""

from __future__ import annotations

import functools
from typing import Any

CALLS = {
    "LanceDBConnection": ("create_table", "open_table", "drop_table", "list_tables"),
    "LanceTable": (
        *("add", "add_columns", "alter_columns", "checkout", "checkout_latest", "count_rows", "create_index"),
        *("create_fts_index", "delete", "index_stats", "list_indices", "list_versions", "optimize", "stats"),
        *("set_unenforced_primary_key", "update"),
    ),
    "LanceMergeInsertBuilder": ("execute",),
    "LanceQueryBuilder": ("to_list",),
}


def strike_calls(shim: Any) -> None:
    """From now on each of these calls asks first whether it fails."""
    import lancedb.db
    import lancedb.merge
    import lancedb.query
    import lancedb.table

    places = (lancedb.db, lancedb.table, lancedb.merge, lancedb.query)
    for name, methods in CALLS.items():
        found = next(getattr(place, name) for place in places if hasattr(place, name))
        for method in methods:
            if call := getattr(found, method, None):
                setattr(found, method, _asking(shim, f"{name}.{method}", call))


def _asking(shim: Any, name: str, call: Any) -> Any:
    @functools.wraps(call)
    def asking(*args: Any, **options: Any) -> Any:
        if shim.faults_call(name.encode()):
            raise RuntimeError(f"lance error: LanceError(IO): {name}: Input/output error (os error 5), injected")
        return call(*args, **options)

    return asking
