"""``c2v import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from clip2video_plugin.cli.loading import loading


def import_(
    kind: Annotated[str, typer.Argument(help="msrvtt, msvd, vatex, or folder (videos with a table of captions).")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with annotations and videos.")],
    name: Annotated[str, typer.Option("--name", help="Name of the new FiftyOne dataset.")],
    split: Annotated[list[str], typer.Option("--split", help="train, val or test; may be repeated.")] = ["test"],  # noqa: B006
    protocol: Annotated[
        Optional[str],
        typer.Option(help="1k-a, 7k, full; msvd; vatex-1k5, vatex-hgr.", show_default="1k-a, msvd, vatex-1k5"),
    ] = None,
    videos: Annotated[Optional[Path], typer.Option("--videos", help="Where the videos are, if not in DIR.")] = None,
    annotations: Annotated[Optional[Path], typer.Option("--annotations", help="Annotation file or folder.")] = None,
    splits: Annotated[Optional[Path], typer.Option("--splits", help="Folder of split lists.")] = None,
    media: Annotated[str, typer.Option(help="video files, or folders of frames.")] = "video",
    on_missing: Annotated[str, typer.Option(help="skip, error, or keep videos that are not there.")] = "skip",
    max_samples: Annotated[Optional[int], typer.Option(min=1, help="Import no more than these.")] = None,
) -> None:
    """Import MSR-VTT, MSVD, VATEX or a folder of captioned videos into FiftyOne.

    [dim]c2v import msrvtt MSRVTT/ --name msrvtt-test --protocol 1k-a[/]

    [dim]c2v import vatex VATEX/ --name vatex --split train --split test --protocol vatex-hgr[/]
    """
    with loading():
        from clip2video_plugin.cli.tables import print_import
        from clip2video_plugin.datasets import import_dataset

    options: dict[str, Any] = {"kind": kind, "splits": split, "on_missing": on_missing}
    if kind == "folder":
        options["captions_path"] = annotations
    else:
        options |= {
            "protocol": protocol,
            "videos_path": videos,
            "annotations_path": annotations,
            "splits_path": splits,
            "media": media,
        }
    if max_samples is not None:
        options["max_samples"] = max_samples
    dataset = import_dataset(dataset_dir=folder, name=name, **options)
    print_import(dataset.name, len(dataset), dataset.info)
