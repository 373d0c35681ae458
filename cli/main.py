"""Entry point of ``c2v``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from clip2video_plugin import __version__
from clip2video_plugin.cli.bench import bench
from clip2video_plugin.cli.datasets import datasets
from clip2video_plugin.cli.demo import demo
from clip2video_plugin.cli.embed import embed
from clip2video_plugin.cli.evaluating import eval_
from clip2video_plugin.cli.frames import frames
from clip2video_plugin.cli.importing import import_
from clip2video_plugin.cli.models import models
from clip2video_plugin.cli.plugin import plugin
from clip2video_plugin.cli.search import search
from clip2video_plugin.cli.training import finetune, train
from clip2video_plugin.errors import Clip2VideoError

app = typer.Typer(
    name="c2v",
    help="Search videos by a sentence with CLIP2Video: on the command line, from Python and in the FiftyOne App.",
    epilog="Try it:  c2v demo     Your videos:  c2v embed FOLDER  and then  c2v search 'a dog runs on the beach'",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(embed)
app.command()(search)
app.command()(frames)
app.command("import")(import_)
app.command("eval")(eval_)
app.command()(train)
app.command()(finetune)
app.command()(bench)
app.command()(demo)
app.add_typer(models, name="models")
app.add_typer(datasets, name="datasets")
app.add_typer(plugin, name="plugin")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"c2v {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs ``c2v``; what goes wrong is one line on standard error."""
    try:
        app()
    except Clip2VideoError as error:
        print(f"c2v: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == 130:  # Typer's answer to Ctrl-C
            again = (
                "run the same command again"
                + (" with --resume" if sys.argv[1:2] in (["train"], ["finetune"]) else "")
                + " to go on"
            )
            print(f"c2v: interrupted; what was done is kept, {again}", file=sys.stderr)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
