"""Tables of search results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from clip2video_plugin.app.demo import Ranking
    from clip2video_plugin.query import SearchResult


def print_hits(result: SearchResult) -> None:
    """Rank, score, path and duration of each hit."""
    table = _table("video", "duration")
    for hit in result.hits:
        duration = f"{hit.duration:.1f} s" if hit.duration is not None else ""
        table.add_row(str(hit.rank), f"{hit.score:.3f}", escape(hit.path), duration)
    _print(result.query, result.searched, table)


def print_ranking(ranking: Ranking) -> None:
    """Rank, score, what the video shows and its file, for the demo; the right answer in green."""
    table = _table("what the video shows", "video")
    for rank, (score, captions, path) in enumerate(ranking.rows, start=1):
        shown = escape(captions[0]) if captions else ""
        right = ranking.query in captions
        table.add_row(str(rank), f"{score:.3f}", f"[green]{shown}[/]" if right else shown, Path(path).name)
    _print(ranking.query, ranking.searched, table)


def _table(what: str, last: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column(what, overflow="fold")
    table.add_column(last, justify="right", no_wrap=True)
    return table


def _print(query: str, searched: int, table: Table) -> None:
    console = Console()
    console.print(f'[bold]"{escape(query)}"[/]  among {searched} videos', soft_wrap=True, highlight=False)
    console.print(table)
