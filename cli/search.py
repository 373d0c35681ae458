"""``c2v search``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.embed import DEVICE, INDEX, MODEL
from clip2video_plugin.cli.loading import loading, one_thread

WHAT = "The query"
NUMBER = "NUMBER"


def search(
    query: Annotated[
        Optional[str],
        typer.Argument(
            help="What happens in the video, in words; - reads one query from each line of standard input.",
            show_default=False,
        ),
    ] = None,
    also: Annotated[
        Optional[list[str]],
        typer.Option(metavar="TEXT", help="The same in other words; searches for the mean.", rich_help_panel=WHAT),
    ] = None,
    without: Annotated[
        Optional[list[str]],
        typer.Option("--not", metavar="TEXT", help="Leave out videos that show this.", rich_help_panel=WHAT),
    ] = None,
    threshold: Annotated[
        Optional[float],
        typer.Option(
            metavar=NUMBER,
            help="Score from which --not leaves a video out.",
            show_default="chosen from the index",
            rich_help_panel=WHAT,
        ),
    ] = None,
    then: Annotated[
        Optional[list[str]],
        typer.Option(metavar="TEXT", help="What happens next; may be repeated.", rich_help_panel=WHAT),
    ] = None,
    where: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILTER",
            help="Search only these: duration<60, path:*.mp4, caption:dog, tag:beach, added>7d; and, or, not, ().",
            rich_help_panel=WHAT,
        ),
    ] = None,
    like: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="FILE",
            help="Like this video, image or id of a row; FILE@12-17 is a part, in seconds.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    captions: Annotated[
        Optional[str],
        typer.Option(
            metavar="TEXT",
            help='Other words to look for in captions; "" ignores captions.',
            show_default="the query",
            rich_help_panel=WHAT,
        ),
    ] = None,
    weight: Annotated[
        Optional[float],
        typer.Option(
            min=0,
            max=1,
            metavar=NUMBER,
            help="Share of appearance (the global vector); the rest is motion (the aligned vector).",
            show_default="the model's",
            rich_help_panel=WHAT,
        ),
    ] = None,
    bank: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE",
            help="A text file of queries, one a line: corrects for videos near to every sentence (QB-Norm).",
            rich_help_panel=WHAT,
        ),
    ] = None,
    k: Annotated[
        Optional[int], typer.Option("-k", min=1, metavar=NUMBER, help="Most videos to show.", show_default="10")
    ] = None,
    moments: Annotated[bool, typer.Option("--moments", help="Show every stretch of a hit that fits.")] = False,
    min_confidence: Annotated[
        Optional[float],
        typer.Option(
            min=0,
            max=1,
            metavar=NUMBER,
            help="Leave out hits that are less probably right than this (first: c2v index calibrate).",
        ),
    ] = None,
    diverse: Annotated[
        Optional[float],
        typer.Option(min=0, max=1, metavar=NUMBER, help="How much hits must differ from each other."),
    ] = None,
    existing: Annotated[bool, typer.Option("--existing", help="Leave out videos whose files are gone.")] = False,
    index: Annotated[Optional[str], INDEX] = None,
    model: Annotated[
        Optional[str], typer.Option("--model", "-m", help=MODEL.help, show_default="the index's own")
    ] = None,
    device: Annotated[Optional[str], typer.Option("--device", help=DEVICE.help, show_default="cpu")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Find the videos that a query describes.

    Alternatives are separated by |. The options under "The query", and -k,
    --moments, --min-confidence and --diverse, may also be written inside the
    query. There, the value of an option reaches to the next option, or is in
    double quotes. Everything else is text.

    [dim]c2v search "a dog runs on the beach"[/]

    [dim]c2v search "a dog runs | a dog jumps" --not "a stage" -k 3 --json[/]

    [dim]c2v search 'a dog runs | a dog jumps --not "a stage" --then "a man sits" --where "duration<60"'[/]

    [dim]c2v search --like holiday.mp4@12-17 --moments[/]

    [dim]c2v search - < queries.txt > answers.jsonl[/]
    """
    with loading():
        from clip2video_plugin.errors import QueryError
        from clip2video_plugin.index import open_index
        from clip2video_plugin.query import Query, load_for
        from clip2video_plugin.query import search as find

    def asked(line: str) -> Query:
        return Query.parse(
            line,
            prompts=also,
            without=without,
            threshold=threshold,
            then=then,
            where=where,
            like=like,
            captions=captions,
            bank=bank,
            moments=moments or None,
            min_confidence=min_confidence,
            diversity=diverse,
        )

    if query == "-":
        opened = open_index(index)
        loaded = load_for(opened, model, device)
        for lines in terminal.lines():
            try:
                parts: Iterable[list[Query]] = [[asked(line) for line in lines]]
            except QueryError:  # of one of them; those before it are answered
                parts = ([asked(line)] for line in lines)
            for part in parts:
                for answer in find(part, index=opened, model=loaded, k=k, weight=weight, existing=existing):
                    terminal.json_line(answer.to_dict())
        return
    with one_thread():
        result = find(
            asked(query or ""), index=index, model=model, k=k, weight=weight, device=device, existing=existing
        )
    if as_json:
        terminal.document(result.to_dict())
        return
    from clip2video_plugin.cli.tables import print_hits

    print_hits(result)
