"""``c2v datasets``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.loading import loading, local

datasets = typer.Typer(help="Benchmarks: audit their splits, fetch split lists.", no_args_is_help=True)


@datasets.command()
def audit(
    kind: Annotated[str, typer.Argument(help="msrvtt, msvd or vatex.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with annotations; videos are not needed.", parser=local)
    ],
    protocol: Annotated[
        Optional[str], typer.Option(help="1k-a, 7k, full; msvd; vatex-1k5, vatex-hgr.", show_default="the kind's first")
    ] = None,
    splits: Annotated[Optional[Path], typer.Option("--splits", help="Folder of split lists.", parser=local)] = None,
    max_words: Annotated[int, typer.Option(min=3, help="Token limit of the model.")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Report what the splits of a protocol share: source videos, time, captions; and captions over the token limit.

    [dim]c2v datasets audit msrvtt MSRVTT/ --protocol 1k-a[/]
    """
    with loading():
        from clip2video_plugin.cli.tables import print_audit
        from clip2video_plugin.datasets.audit import audit as run
        from clip2video_plugin.datasets.benchmark import read_splits
        from clip2video_plugin.model.tokenizer import clip_tokenizer, count_longer

    result = run(
        read_splits(kind, folder, protocol=protocol, splits_path=splits),
        lambda captions: count_longer(captions, clip_tokenizer(), max_words),
    )
    if as_json:
        terminal.document(asdict(result))
    else:
        print_audit(result, max_words)


@datasets.command("fetch-splits")
def fetch(
    kind: Annotated[str, typer.Argument(help="msrvtt, msvd or vatex.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put the lists.", parser=local)],
    url: Annotated[Optional[str], typer.Option(help="A mirror's folder.", show_default="the published address")] = None,
) -> None:
    """Download split lists that no official file determines (1k-A pairs, VATEX HGR); each is checked by SHA-256.

    [dim]c2v datasets fetch-splits msrvtt MSRVTT/[/]
    """
    from clip2video_plugin.datasets.splits import LISTS, fetch_splits
    from clip2video_plugin.progress import bar

    with bar("Fetching lists", len(LISTS.get(kind, ())), unit="lists") as progress:
        for path in fetch_splits(kind, folder, url=url, progress=progress):
            terminal.say(path)
