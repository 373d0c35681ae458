"""``c2v bench``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.embed import DEVICE, MODEL
from clip2video_plugin.cli.loading import loading, local


def bench(
    videos: Annotated[
        Optional[list[Path]],
        typer.Argument(help="Videos or folders, 200 videos at most. Without any, videos are generated.", parser=local),
    ] = None,
    model: Annotated[Optional[str], MODEL] = None,
    device: Annotated[Optional[str], DEVICE] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure how fast this machine decodes, encodes, embeds and searches.

    [dim]c2v bench[/]

    [dim]c2v bench holiday/ --model msrvtt --device cuda[/]
    """
    from rich.console import Console

    with loading():
        from clip2video_plugin.bench import bench as measure

    with Console(stderr=True).status("starting") as status:
        speed = measure(videos or (), model=model, device=device, progress=status.update)
    if as_json:
        terminal.document(asdict(speed))
        return
    from clip2video_plugin.cli.tables import print_speed

    print_speed(speed)
