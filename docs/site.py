"""What the site has beside its pages: the reference of the command line, from the commands themselves."""

from __future__ import annotations

import html
import posixpath
import re
import tempfile
from pathlib import Path
from typing import Any

import typer
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from clip2video_plugin.cli.main import app

EXAMPLE = re.compile(r"\[dim\](.*)\[/\]")
ROOT = Path(__file__).resolve().parent.parent
_installed = tempfile.TemporaryDirectory()  # goes when the build ends


@event_priority(100)  # before docstrings are looked for
def on_config(config: Any) -> Any:
    """Has docstrings read from the package as it is installed, where cli/ and datasets/ lie within it."""
    package = Path(_installed.name) / "clip2video_plugin"
    if not package.exists():
        package.mkdir()
        for part in [*(ROOT / "clip2video_plugin").iterdir(), ROOT / "cli", ROOT / "datasets"]:
            (package / part.name).symlink_to(part)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_installed.name]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds ``cli.md``."""
    files.append(File.generated(config, "cli.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Files of the repository outside docs/ are named, as the site does not have them."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        return f"{link[1]} (`{target[3:]}`)" if target.startswith("../") else link[0]

    return re.sub(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)", named, markdown)


def reference() -> str:
    """Markdown of all commands, their arguments, options and examples."""
    command = typer.main.get_command(app)
    summarise(command)
    text = get_docs_for_click(obj=command, ctx=command.context_class(command, info_name="c2v"), name="c2v")
    lines = list[str]()
    for line in text.splitlines():
        if found := EXAMPLE.fullmatch(line.strip()):
            lines.append(f"    {html.unescape(found[1])}")
        elif lines and line.strip() == "" and lines[-1].startswith("    "):
            continue  # examples are one block
        else:
            lines += [""] * (bool(lines) and lines[-1].startswith("    ")) + [line]
    return "\n".join(lines).replace("# `c2v`", "# Command line", 1)


def summarise(command: Any) -> None:
    """Has every list of commands show their first sentences whole, which Click cuts at 45 characters otherwise."""
    for below in getattr(command, "commands", {}).values():
        below.short_help = " ".join((below.help or "").partition("\n\n")[0].split())
        summarise(below)
