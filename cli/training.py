"""``c2v train`` and ``c2v finetune``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.embed import MODEL
from clip2video_plugin.cli.loading import loading, local

SET = typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")
RESUME = typer.Option("--resume", help="Go on with an interrupted run.")
JSON = typer.Option("--json", help="Print one JSON document.")


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A TOML file or a recipe: msrvtt, msvd, vatex, shapes.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.", parser=local)] = Path("runs/train"),
    changes: Annotated[Optional[list[str]], SET] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Train or fine-tune a network on captioned videos.

    Leaves best/ (a checkpoint, for --model), log.jsonl and report.html in the folder of the run.

    [dim]c2v train msrvtt --out runs/msrvtt --set batch_size=64 --set cache=/fast/frames[/]

    [dim]torchrun --nproc-per-node 4 -m clip2video_plugin.cli train msvd --out runs/msvd --resume[/]
    """
    with loading():
        from clip2video_plugin.app.train import train_by_config
        from clip2video_plugin.cli.tables import print_training
        from clip2video_plugin.training import load_config

    result = train_by_config(load_config(config, changes or ()), out=out, resume=resume)
    if as_json:
        terminal.document(asdict(result), default=str)
    else:
        print_training(result)


def finetune(
    dataset: Annotated[str, typer.Argument(help="A FiftyOne dataset with captions.")],
    brain_key: Annotated[str, typer.Option("--brain-key", help="Key of the new embeddings.")],
    tags: Annotated[Optional[list[str]], typer.Option("--tag", help="Train on samples with this tag.")] = None,
    val_tags: Annotated[
        Optional[list[str]],
        typer.Option("--val-tag", help="Validate on samples with this tag.", show_default="a share held out"),
    ] = None,
    captions: Annotated[str, typer.Option("--captions", help="Field of captions.")] = "captions",
    model: Annotated[
        Optional[str], typer.Option("--model", "-m", help="Model to start from.", show_default=MODEL.show_default)
    ] = None,
    name: Annotated[
        Optional[str], typer.Option("--name", help="Name of the new checkpoint.", show_default="dataset and brain key")
    ] = None,
    config: Annotated[str, typer.Option("--config", help="A TOML file or recipe of settings.")] = "finetune",
    changes: Annotated[Optional[list[str]], SET] = None,
    out: Annotated[
        Optional[Path], typer.Option("--out", "-o", help="Folder of the run.", show_default="runs/NAME", parser=local)
    ] = None,
    index: Annotated[Optional[str], typer.Option("--index", "-i", help="Index folder.", envvar="C2V_INDEX")] = None,
    resume: Annotated[bool, RESUME] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Fine-tune on tagged samples of a dataset, and embed the dataset again with the new weights.

    A share of the samples is held out and gets the tag BRAIN_KEY-val, so that the new weights can be evaluated on it.
    A zero-shot model keeps averaging its frames, unless it is given temporal parts, which start as CLIP's text blocks.

    [dim]c2v finetune holiday --tag train --brain-key tuned[/]

    [dim]c2v eval holiday --compare clip2video tuned --tag tuned-val[/]

    [dim]c2v finetune holiday --model clip-vit-b32 --brain-key tuned --set network.temporal=difference[/]
    """
    with loading():
        from clip2video_plugin.app.train import finetune as run
        from clip2video_plugin.cli.tables import print_training
        from clip2video_plugin.training import load_config

    done = run(
        dataset,
        brain_key=brain_key,
        tags=tags or (),
        val_tags=val_tags or (),
        captions_field=captions,
        model=model,
        name=name,
        config=load_config(config, changes or ()),
        out=out,
        index=index,
        resume=resume,
    )
    if as_json:
        terminal.document(asdict(done), default=str)
        return
    print_training(done.result)
    terminal.say(f"checkpoint {done.checkpoint}; {dataset} is embedded with it under the brain key {done.brain_key}")
    terminal.say(f"not trained on: the samples tagged {' or '.join(done.val_tags)}")
    compare = ["c2v", "eval", dataset, "--compare", "OLD_KEY", done.brain_key]
    terminal.say("compare it: " + shlex.join([*compare, *(part for tag in done.val_tags for part in ("--tag", tag))]))
