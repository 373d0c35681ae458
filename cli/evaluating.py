"""``c2v eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.loading import loading, local
from clip2video_plugin.counted import counted

if TYPE_CHECKING:
    from clip2video_plugin.app.compare import Comparison
    from clip2video_plugin.evaluation.report import Evaluation

FILES = "Without a dataset and a model"


def eval_(
    dataset: Annotated[Optional[str], typer.Argument(help="A FiftyOne dataset with captions.")] = None,
    protocol: Annotated[
        Optional[str],
        typer.Option(help="The dataset imported for it, instead of a name. Of files: the protocol to compare with."),
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
    scores: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            rich_help_panel=FILES,
            help="Matrix (.npy, .npz): rows are captions, columns videos.",
            parser=local,
        ),
    ] = None,
    text_vectors: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", rich_help_panel=FILES, help="Vectors, a row per caption.", parser=local),
    ] = None,
    video_vectors: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", rich_help_panel=FILES, help="Vectors, a row per video.", parser=local),
    ] = None,
    caption_video: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            rich_help_panel=FILES,
            help="Number of each caption's video, from 0.",
            show_default="caption_video in the .npz, else caption i is of video i",
            parser=local,
        ),
    ] = None,
    transposed: Annotated[
        bool, typer.Option("--transposed", rich_help_panel=FILES, help="Rows of the matrix are videos.")
    ] = False,
    moments: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            rich_help_panel=FILES,
            help="Predicted moments, JSON lines as moment_detr reads them.",
            parser=local,
        ),
    ] = None,
    truth: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", rich_help_panel=FILES, help="The true moments, in the same form.", parser=local),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Evaluate retrieval on a dataset's captions, or by scores or vectors in files, beside the published numbers.

    Ends with exit code 4 when the videos or captions are not those of the protocol.

    [dim]c2v eval msrvtt-test --brain-key clip2video[/]

    [dim]c2v eval --protocol msvd --brain-key old --brain-key new --markdown[/]

    [dim]c2v eval holiday --compare clip2video tuned --tag tuned-val[/]

    [dim]c2v eval --scores sims.npy --protocol 1k-a[/]

    [dim]c2v eval --text-vectors captions.npy --video-vectors videos.npy[/]

    [dim]c2v eval --moments predicted.jsonl --truth true.jsonl[/]
    """
    files: dict[str, Any] = {
        "scores": scores,
        "text_vectors": text_vectors,
        "video_vectors": video_vectors,
        "caption_video": caption_video,
        "transposed": transposed,
    }
    of_datasets = {
        "the dataset": dataset,
        "--brain-key": brain_key,
        "--compare": compared,
        "--tag": tags,
        "--captions": captions,
        "--weight": weight,
    }
    if moments is not None or truth is not None:
        with loading():
            from clip2video_plugin.evaluation.moments import evaluate_moment_files
        from clip2video_plugin.cli.tables import print_moment_scores

        arrays = {f"--{name.replace('_', '-')}": value for name, value in files.items()}
        given = {**of_datasets, "--protocol": protocol, **arrays}
        others = [name for name, value in given.items() if value not in (None, [], False)]
        found = evaluate_moment_files(moments, truth, others)
        if as_json:
            terminal.document(found.to_dict())
        else:
            print_moment_scores(found)
        return
    options: dict[str, Any] = {"ties": ties, "allow_incomplete": allow_incomplete}
    if any(files.values()):
        with loading():
            from clip2video_plugin.evaluation.files import evaluate_files

        others = [name for name, value in of_datasets.items() if value not in (None, [])]
        evaluation = evaluate_files(**files, others=others, protocol=protocol, **options)
        name = protocol or f"{counted(evaluation.captions, 'caption')} of {counted(evaluation.videos, 'video')}"
        _print(name, [evaluation], None, as_json, as_markdown)
        return
    with loading():
        from clip2video_plugin.app.compare import compare
        from clip2video_plugin.app.evaluate import evaluate, find_dataset, tagged

    options |= {"captions_field": captions, "weight": weight}
    found, keys = find_dataset(dataset, protocol, list(compared) if compared else brain_key)
    samples = tagged(found, tags or ())
    comparison = compare(samples, *compared, **options) if compared else None
    if comparison:
        evaluations = [comparison.old, comparison.new]
    else:
        evaluations = [evaluate(samples, brain_key=key, **options) for key in keys]
    name = f"{found.name}, tagged {' or '.join(tags)}" if tags else found.name
    _print(name, evaluations, comparison, as_json, as_markdown)


def _print(
    name: str, evaluations: list[Evaluation], comparison: Comparison | None, as_json: bool, as_markdown: bool
) -> None:
    from clip2video_plugin.cli.tables import print_comparison, print_evaluations
    from clip2video_plugin.evaluation.report import markdown

    if as_json and comparison:
        terminal.document(comparison.to_dict())
    elif as_json:
        terminal.document([evaluation.to_dict() for evaluation in evaluations])
    elif as_markdown:
        for line in markdown(evaluations).splitlines():
            terminal.say(line)
    else:
        print_evaluations(name, evaluations)
        if comparison:
            print_comparison(comparison)
