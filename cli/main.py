"""Entry point of ``c2v``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.bench import bench
from clip2video_plugin.cli.curating import audit, captions, duplicates
from clip2video_plugin.cli.datasets import datasets
from clip2video_plugin.cli.demo import demo
from clip2video_plugin.cli.embed import embed
from clip2video_plugin.cli.evaluating import eval_
from clip2video_plugin.cli.frames import frames
from clip2video_plugin.cli.importing import import_
from clip2video_plugin.cli.index import index
from clip2video_plugin.cli.models import models
from clip2video_plugin.cli.plugin import plugin
from clip2video_plugin.cli.search import search
from clip2video_plugin.cli.training import finetune, train
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.paths import printable
from clip2video_plugin.version import __version__

UsageError: Any = typer.BadParameter.__mro__[1]


class Commands(TyperGroup):
    """The commands; what is wrong in a command line is quoted without the controls in it."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _quoted():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _quoted():
            return super().invoke(ctx)


@contextmanager
def _quoted() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        error.message = printable(error.message)
        raise


app = typer.Typer(
    name="c2v",
    cls=Commands,
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
for command in (duplicates, audit, captions):
    index.command()(command)
app.add_typer(index, name="index")
app.add_typer(models, name="models")
app.add_typer(datasets, name="datasets")
app.add_typer(plugin, name="plugin")


def _version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"c2v {__version__}")
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
    terminal.prepare()
    try:
        try:
            app()
        finally:
            terminal.finish()
    except Clip2VideoError as error:
        terminal.warn(error)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:  # MongoDB, for one, takes no other text
        terminal.warn(f"{error.object!r} is not text in UTF-8")
        sys.exit(1)
    except OSError as error:
        terminal.warn(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:  # Typer's answer to Ctrl-C
            again = (
                "run the same command again"
                + (" with --resume" if sys.argv[1:2] in (["train"], ["finetune"]) else "")
                + " to go on"
            )
            terminal.warn(f"interrupted; what was done is kept, {again}")
        raise
