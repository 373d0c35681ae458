"""``c2v plugin``: the plugin in FiftyOne's plugins folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

plugin = typer.Typer(help="The FiftyOne plugin: install, uninstall, status.", no_args_is_help=True)


@plugin.command("install")
def install() -> None:
    """Put the plugin into FiftyOne's plugins folder, where the App finds it.

    [dim]c2v plugin install && fiftyone app launch[/]
    """
    from clip2video_plugin.app import plugin as actions

    print(f"installed: {actions.install()}")
    print("restart the App; then open the panel Video search (+ beside Samples)")


@plugin.command("uninstall")
def uninstall() -> None:
    """Take the plugin out of FiftyOne's plugins folder. Datasets and indexes stay."""
    from clip2video_plugin.app import plugin as actions

    where = actions.uninstall()
    print(f"uninstalled: {where}" if where else "it was not installed")


@plugin.command("status")
def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say whether FiftyOne finds the plugin, and what it could not load. Exits with 1 when it does not work."""
    from clip2video_plugin.app import plugin as actions
    from clip2video_plugin.cli.tables import print_plugin_status

    found = actions.status()
    if as_json:
        print(json.dumps({**asdict(found), "works": found.works}, default=str, indent=2))
    else:
        print_plugin_status(found)
    if not found.works:
        raise typer.Exit(1)
