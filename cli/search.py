"""``c2v search``."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.embed import DEVICE, INDEX, MODEL
from clip2video_plugin.cli.loading import loading, one_thread


def search(
    query: Annotated[
        str,
        typer.Argument(help="What happens in the video, in words; - reads queries from standard input, a line each."),
    ],
    index: Annotated[Optional[str], INDEX] = None,
    model: Annotated[
        Optional[str], typer.Option("--model", "-m", help=MODEL.help, show_default="the index's own")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Most videos to show.")] = 10,
    weight: Annotated[
        Optional[float],
        typer.Option(
            min=0, max=1, help="Share of the global vector against the aligned one.", show_default="the model's"
        ),
    ] = None,
    device: Annotated[Optional[str], typer.Option("--device", help=DEVICE.help, show_default="cpu")] = None,
    min_confidence: Annotated[
        Optional[float],
        typer.Option(
            min=0, max=1, help="Leave out what is right with less than this probability (after: c2v index calibrate)."
        ),
    ] = None,
    existing: Annotated[bool, typer.Option("--existing", help="Pass over videos whose files are gone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Find the videos that a sentence describes.

    [dim]c2v search "a dog runs on the beach"[/]

    [dim]c2v search "two people shake hands, then sit down" -k 3 --json[/]

    [dim]c2v search - < queries.txt > answers.jsonl[/]
    """
    with loading():
        from clip2video_plugin.index import open_index
        from clip2video_plugin.query import Query, load_for
        from clip2video_plugin.query import search as find

    def asked(text: str) -> Query:
        return Query((text,), min_confidence=min_confidence)

    if query == "-":
        opened = open_index(index)
        loaded = load_for(opened, model, device)
        for line in terminal.lines():
            answer = find(
                Query((line,), min_confidence=min_confidence),
                index=opened,
                model=loaded,
                k=k,
                weight=weight,
                existing=existing,
            )
            terminal.json_line(answer.to_dict())
        return
    with one_thread():
        result = find(
            Query((query,), min_confidence=min_confidence),
            index=index,
            model=model,
            k=k,
            weight=weight,
            device=device,
            existing=existing,
        )
    if as_json:
        terminal.document(result.to_dict())
        return
    from clip2video_plugin.cli.tables import print_hits

    print_hits(result)
