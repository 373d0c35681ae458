"""``c2v eval``."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.loading import loading


def eval_(
    dataset: Annotated[Optional[str], typer.Argument(help="A FiftyOne dataset with captions.")] = None,
    protocol: Annotated[
        Optional[str], typer.Option(help="Instead of a name: the dataset that was imported for this protocol.")
    ] = None,
    brain_key: Annotated[
        Optional[list[str]], typer.Option("--brain-key", help="Runs to compare.", show_default="all CLIP2Video runs")
    ] = None,
    compared: Annotated[
        Optional[tuple[str, str]],
        typer.Option("--compare", metavar="OLD NEW", help="Two runs, query by query: what improved, what broke."),
    ] = None,
    tags: Annotated[
        Optional[list[str]], typer.Option("--tag", help="Evaluate samples with this tag alone; may be repeated.")
    ] = None,
    captions: Annotated[
        Optional[str], typer.Option("--captions", help="Field of captions.", show_default="query, else captions")
    ] = None,
    ties: Annotated[str, typer.Option(help="strict, or reference for the published arithmetic.")] = "strict",
    weight: Annotated[Optional[float], typer.Option(min=0, max=1, help="Weight of the global vector.")] = None,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="Evaluate although videos of the protocol are missing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Evaluate retrieval on a dataset's captions, beside the paper's published numbers.

    Exits with 4 when the gallery is not the protocol's.

    [dim]c2v eval msrvtt-test --brain-key clip2video[/]

    [dim]c2v eval --protocol msvd --brain-key old --brain-key new --markdown[/]

    [dim]c2v eval holiday --compare clip2video tuned --tag tuned-val[/]
    """
    with loading():
        from clip2video_plugin.app.compare import compare
        from clip2video_plugin.app.evaluate import evaluate, find_dataset, tagged
        from clip2video_plugin.cli.tables import print_comparison, print_evaluations
        from clip2video_plugin.evaluation.report import markdown

    options: dict[str, Any] = {
        "captions_field": captions,
        "ties": ties,
        "weight": weight,
        "allow_incomplete": allow_incomplete,
    }
    found, keys = find_dataset(dataset, protocol, list(compared) if compared else brain_key)
    samples = tagged(found, tags or ())
    if compared:
        comparison = compare(samples, *compared, **options)
        evaluations = [comparison.old, comparison.new]
    else:
        comparison = None
        evaluations = [evaluate(samples, brain_key=key, **options) for key in keys]
    if as_json and comparison:
        terminal.document(comparison.to_dict())
    elif as_json:
        terminal.document([evaluation.to_dict() for evaluation in evaluations])
    elif as_markdown:
        for line in markdown(evaluations).splitlines():
            terminal.say(line)
    else:
        name = f"{found.name}, tagged {' or '.join(tags)}" if tags else found.name
        print_evaluations(name, evaluations)
        if comparison:
            print_comparison(comparison)
