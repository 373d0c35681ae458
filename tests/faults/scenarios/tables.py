"""What an index holds, as plain values, and what is in its folder that no table needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

DRAWN = "added"  # a column that differs from run to run: whether it is there counts
HINT = "latest_version_hint.json"  # of Lance, beside the versions


def tables_of(index: Path) -> dict[str, Any]:
    """Table -> its rows in order, and the columns that have indexes; one of failures that has none counts as none."""
    import lancedb

    from clip2video_plugin.index.connection import table_names

    connection = lancedb.connect(index)
    out = dict[str, Any]()
    for name in sorted(table_names(connection)):
        table = connection.open_table(name)
        rows = [_plain(row) for row in table.to_arrow().to_pylist()]
        indexed = sorted(one.name for one in table.list_indices())
        out[name] = {
            "rows": sorted(rows, key=lambda row: str([row.get(c) for c in ("key", "id", "name")])),
            "indexed": indexed,
        }
    return {name: table for name, table in out.items() if name != "failures" or table["rows"]}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value is not None if name == DRAWN else value for name, value in row.items()}


def strays(index: Path) -> Iterator[str]:
    """Files of tables that none of their versions has, and what else is in the folder beside tables and locks."""
    import lancedb

    from clip2video_plugin.index.connection import table_names

    connection = lancedb.connect(index)
    names = table_names(connection)
    for name in names:
        home = index / f"{name}.lance"
        known = set(connection.open_table(name).to_lance().tracked_files().read_all()["path"].to_pylist())
        for path in sorted(home.rglob("*")):
            if path.is_file() and path.name != HINT and str(path.relative_to(home)) not in known:
                yield str(path.relative_to(index))
    for path in sorted(index.iterdir()):
        if path.is_dir() and path.suffix == ".lance" and path.stem not in names:
            yield path.name
    for pattern in (".c2v.left", ".c2v*.open", ".c2v.unfinished/*/*"):
        yield from (str(path.relative_to(index)) for path in sorted(index.glob(pattern)))
