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


def print_hits(result: SearchResult, *, labels: dict[str, str] | None = None) -> None:
    """Rank, score, path and duration of each hit; ``labels`` (path -> text) show instead of paths."""
    table = Table(
        title=f'"{escape(result.query)}"  among {result.searched} videos',
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("video", overflow="fold")
    table.add_column("duration", justify="right")
    for hit in result.hits:
        duration = f"{hit.duration:.1f} s" if hit.duration is not None else ""
        table.add_row(str(hit.rank), f"{hit.score:.3f}", escape((labels or {}).get(hit.path, hit.path)), duration)
    Console().print(table)


def print_rankings(ranking: Ranking) -> None:
    """Rank, score, what the video shows and its file, for the demo."""
    table = Table(
        title=f'"{escape(ranking.query)}"  among {ranking.searched} videos',
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("what the video shows", overflow="fold")
    table.add_column("video")
    for rank, (score, captions, path) in enumerate(ranking.rows, start=1):
        shown = escape(captions[0]) if captions else ""
        right = ranking.query in captions
        table.add_row(str(rank), f"{score:.3f}", f"[green]{shown}[/]" if right else shown, Path(path).name)
    Console().print(table)
