"""``c2v models``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, cast

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.loading import loading, local

if TYPE_CHECKING:
    from clip2video_plugin.model.config import Activation

models = typer.Typer(help="Models: list, fetch, import, choose the default.", no_args_is_help=True)


@models.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """List the models: those installed, and those that c2v models fetch gets."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    with loading():
        from clip2video_plugin.model.installed import models_folder
        from clip2video_plugin.model.listing import list_models
        from clip2video_plugin.model.published import PUBLISHED

    listed = list_models()
    if as_json:
        models = [model.to_dict() for model in listed]
        installed = {model.name: str(model.folder) for model in listed if model.folder}
        released = [model for model in models if model["name"].startswith("clip2video-")]  # by the paper's authors
        terminal.document({"installed": installed, "released": released, "models": models})
        return
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("name", overflow="fold", width=max(map(len, PUBLISHED)))
    table.add_column("what it is", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("licence", width=10)
    table.add_column("R@1", overflow="fold")
    table.add_column("here", width=7)
    for model in listed:
        recall = Text("\n").join(terminal.plain(recall) for recall in model.recall) if model.recall else "-"
        state = "default" if model.default else "yes" if model.folder else "-"
        texts = (model.name, model.words, model.card.licence or "not stated")
        name, words, licence = (terminal.plain(text) for text in texts)
        table.add_row(name, words, model.size_in_words, licence, recall, state)
    terminal.show(table)
    terminal.say("R@1: text to video, in percent, as published for the benchmark named")
    terminal.say("Get one: c2v models fetch NAME --default    A file: c2v models import FILE --name NAME")
    drive = next(known for known in PUBLISHED.values() if known.on_drive)
    terminal.say(
        f'CLIP2Video lies on Google Drive, which takes pip install "gdown>=6.5" (extra [drive]). See {drive.page}'
    )
    terminal.say(f"Models live in {models_folder()}")


@models.command()
def info(
    model: Annotated[
        Optional[str], typer.Argument(help="Name or folder.", show_default="the default, see c2v models use")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what a checkpoint was trained on, its source and licence, architecture, size and SHA-256.

    [dim]c2v models info[/]

    [dim]c2v models info msrvtt --json[/]
    """
    with loading():
        from clip2video_plugin.model.checkpoint import describe_checkpoint
        from clip2video_plugin.model.installed import is_default

    found = describe_checkpoint(model)
    facts = {
        "name": found.name,
        "about": found.card.sentence,
        **found.card.to_dict(),
        "default": is_default(found.folder),
        "folder": str(found.folder),
        "sha256": found.sha256,
        "parameters": found.parameters,
        "vector_dim": found.config.vector_dim,
        **found.config.to_dict(),
    }
    if as_json:
        terminal.document(facts)
    else:
        for key, value in facts.items():
            if value is not None:
                terminal.say(f"{key:15} {value}")


@models.command()
def use(name: Annotated[str, typer.Argument(help="Name of an installed model; shapes is the embedded one.")]) -> None:
    """Make a model the default: of new indexes, and wherever else no --model is given. An index keeps its own.

    [dim]c2v models use clip-vit-b32[/]
    """
    with loading():
        from clip2video_plugin.model.installed import (
            VARIABLE,
            default_model,
            find_checkpoint,
            read_card,
            use_by_default,
        )

    use_by_default(name)
    about = read_card(find_checkpoint(name)[1]).sentence
    terminal.say(f"{name} is used from now on where no --model is given{f' ({about})' if about else ''}")
    if (overriding := default_model()) != name:
        terminal.say(f"{VARIABLE} is set to {overriding}, which comes first as long as it is")


@models.command("import")
def import_model(
    path: Annotated[
        Path,
        typer.Argument(
            help="File or folder: OpenAI's CLIP, open_clip, Hugging Face, CLIP4Clip, CLIP2Video, SigLIP 2.",
            parser=local,
        ),
    ],
    name: Annotated[Optional[str], typer.Option(help="Name of the checkpoint.", show_default="from the file")] = None,
    heads: Annotated[
        Optional[str],
        typer.Option(help="Attention heads of the image tower, or of image,text, where the file does not say: 16,20."),
    ] = None,
    activation: Annotated[
        Optional[str], typer.Option(help="quick_gelu, gelu or gelu_tanh, where the file does not say.")
    ] = None,
    init_from_clip: Annotated[
        bool,
        typer.Option(
            "--init-from-clip",
            help="Make a start for training of a CLIP: CLIP2Video's temporal parts, untrained, from its text tower.",
        ),
    ] = False,
    max_frames: Annotated[Optional[int], typer.Option(min=1, help="Frames per video.", show_default="12")] = None,
    max_words: Annotated[
        Optional[int], typer.Option(min=2, help="Tokens per caption.", show_default="32, or as many as a CLIP takes")
    ] = None,
    center_weight: Annotated[
        Optional[float], typer.Option(min=0, max=1, help="CLIP2Video: weight of the global part.", show_default="0.5")
    ] = None,
    center_proj: Annotated[
        Optional[str], typer.Option(help="CLIP2Video: TAB or TAB_TDB.", show_default="TAB_TDB")
    ] = None,
) -> None:
    """Convert weights to a checkpoint. No code in the file is run; every key and shape is checked.

    A CLIP works at once: the vectors of a video's frames are averaged.

    [dim]c2v models import ViT-B-32.pt --name clip[/]

    [dim]c2v models import pytorch_model.bin.2 --name msrvtt[/]

    [dim]c2v models import open_clip_pytorch_model.bin --activation gelu --heads 16,16[/]
    """
    with loading():
        from clip2video_plugin.model.convert import import_checkpoint
        from clip2video_plugin.model.installed import read_card

    given = {
        "max_frames": max_frames,
        "max_words": max_words,
        "center_weight": center_weight,
        "center_proj": center_proj,
    }
    folder = import_checkpoint(
        path,
        name=name,
        init_from_clip=init_from_clip,
        options={key: value for key, value in given.items() if value is not None},
        heads=_heads(heads),
        activation=cast("Activation | None", activation),
        tell=terminal.say,
    )
    terminal.say(f"{folder.name}: {folder}")
    card = read_card(folder)
    if card.sentence:
        terminal.say(card.sentence)
    if card.training == "untrained":
        terminal.say(f"train it: c2v finetune DATASET --model {folder.name} --brain-key KEY")
    else:
        terminal.say(
            f"use it: c2v embed FOLDER --model {folder.name}    make it the default: c2v models use {folder.name}"
        )


def _heads(text: Optional[str]) -> Optional[tuple[int, ...]]:
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number of heads; give 16, or 16,20 for image and text") from None


@models.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A name that c2v models list shows.")],
    default: Annotated[bool, typer.Option("--default", help="Use it from now on where no --model is given.")] = False,
    url: Annotated[
        Optional[str],
        typer.Option(
            help="Another address of the file, or of the folder of its files. C2V_MIRROR is put before every address.",
            show_default="the published address",
        ),
    ] = None,
    sha256: Annotated[
        Optional[str],
        typer.Option(help="SHA-256 that the weights must have.", show_default="the published, or the first"),
    ] = None,
) -> None:
    """Download a published model, check it and install it, ready to embed and search with. Resumes.

    [dim]c2v models fetch clip-vit-b32 --default[/]

    [dim]c2v models fetch clip2video-msrvtt[/]
    """
    with loading():
        from clip2video_plugin.model.fetch import fetch_model
        from clip2video_plugin.model.installed import is_default, read_card
        from clip2video_plugin.progress import bar

    with bar(f"Fetching {name}", unit="MB") as progress:

        def show(done: int, total: int | None) -> None:
            progress(done // 1_000_000, total=total and total // 1_000_000)

        folder = fetch_model(name, url=url, sha256=sha256, default=default, progress=show, tell=terminal.warn)
    card = read_card(folder)
    terminal.say(f"{name}: {folder}")
    terminal.say(
        f"{card.sentence or 'nobody wrote down what it was trained on'}; licence: {card.licence or 'not stated'}"
    )
    usual = is_default(folder)
    option = "" if usual else f" --model {name}"
    terminal.say(f"use it: c2v embed FOLDER{option}, then c2v search 'a dog runs on the beach'")
    if not usual:
        terminal.say(f"make it the default: c2v models use {name}")
