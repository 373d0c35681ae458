"""``c2v demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.loading import loading, local


def demo(
    app: Annotated[bool, typer.Option("--app", help="Open the demo in the FiftyOne App afterwards.")] = False,
    folder: Annotated[
        Optional[Path],
        typer.Option("--dir", help="Where to keep it.", show_default="~/.cache/clip2video/demo", parser=local),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the App.")] = 5151,
    address: Annotated[str, typer.Option(help="Address of the App.")] = "127.0.0.1",
) -> None:
    """Generate some videos, import them into FiftyOne, index them and search three sentences.

    It has a FiftyOne database of its own; yours is not touched.

    [dim]c2v demo --app[/]
    """
    with loading():
        from clip2video_plugin.app.demo import default_folder, listen, open_app, run_demo
        from clip2video_plugin.cli.tables import print_ranking

    if app:
        listen(address, port).close()  # said before the work, not after it
    folder = folder or default_folder()
    for ranking in run_demo(folder):
        print_ranking(ranking)
    if not app:
        terminal.show("See the videos and search them in the FiftyOne App:  [bold]c2v demo --app[/]")
        return

    def tell(url: str) -> None:
        terminal.say(f"The App is at {url}")
        terminal.say("Press the Video search button above the grid and type a sentence. Ctrl-C ends it.")

    open_app(folder, port=port, address=address, ready=tell)
