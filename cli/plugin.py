"""``c2v plugin``: the plugin in FiftyOne's plugins folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clip2video_plugin.cli import terminal

plugin = typer.Typer(help="The FiftyOne plugin: install, uninstall, status.", no_args_is_help=True)


@plugin.command("install")
def install() -> None:
    """Put the plugin into FiftyOne's plugins folder, where the App finds it.

    [dim]c2v plugin install && fiftyone app launch[/]
    """
    from clip2video_plugin.app import plugin as actions

    terminal.say(f"installed: {actions.install()}")
    terminal.say("restart the App; then open the panel Video search (+ beside Samples)")


@plugin.command("uninstall")
def uninstall() -> None:
    """Take the plugin out of FiftyOne's plugins folder. Datasets and indexes stay."""
    from clip2video_plugin.app import plugin as actions

    where = actions.uninstall()
    terminal.say(f"uninstalled: {where}" if where else "it was not installed")


@plugin.command("status")
def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say whether FiftyOne finds the plugin, and what it could not load. Exits with 1 when it does not work."""
    from clip2video_plugin.app import plugin as actions
    from clip2video_plugin.cli.tables import print_plugin_status

    found = actions.status()
    if as_json:
        terminal.document({**asdict(found), "works": found.works}, default=str)
    else:
        print_plugin_status(found)
    if not found.works:
        raise typer.Exit(1)
