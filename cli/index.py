"""``c2v index``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.embed import INDEX
from clip2video_plugin.cli.loading import loading

index = typer.Typer(help="What an index holds: show, check, and clear it up.", no_args_is_help=True)
JSON = typer.Option("--json", help="Print one JSON document instead of text.")
DRY_RUN = typer.Option("--dry-run", "-n", help="Remove nothing; print what would go.")


@index.command()
def info(index: Annotated[Optional[str], INDEX] = None, as_json: Annotated[bool, JSON] = False) -> None:
    """Show what an index holds, by which model, and how large it is.

    [dim]c2v index info[/]

    [dim]c2v index info --index s3://bucket/index --json[/]
    """
    with loading():
        from clip2video_plugin.index.contents import describe

    found = describe(index)
    if as_json:
        terminal.document(asdict(found))
        return
    from clip2video_plugin.cli.tables import print_index

    print_index(found)


@index.command("list")
def list_videos(
    index: Annotated[Optional[str], INDEX] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only videos whose files are gone.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the videos with their durations, and mark those whose files are gone.

    [dim]c2v index list[/]

    [dim]c2v index list --missing --json[/]
    """
    with loading():
        from clip2video_plugin.index import open_index

    videos = (video for video in open_index(index).videos() if not missing or video.missing)
    if as_json:
        names = ("path", "duration", "missing", "id")
        terminal.documents({name: getattr(video, name) for name in names} for video in videos)
        return
    for video in videos:
        duration = f"{video.duration:.1f} s" if video.duration is not None else ""
        terminal.say(f"{duration:>10}  {video.path}{'  (missing)' if video.missing else ''}")


@index.command()
def failures(index: Annotated[Optional[str], INDEX] = None, as_json: Annotated[bool, JSON] = False) -> None:
    """List the videos that could not be read, and why.

    [dim]c2v index failures[/]

    [dim]c2v index failures --json[/]
    """
    with loading():
        from clip2video_plugin.index import open_index

    found = open_index(index).failures()
    if as_json:
        terminal.document([{"path": row["path"], "reason": row["reason"]} for row in found])
        return
    for row in found:
        terminal.say(f"{row['path']}: {row['reason']}")


@index.command()
def remove(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, and folders for all that is below.")],
    index: Annotated[Optional[str], INDEX] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Remove videos from an index, by path, whether the files still exist or not. The files stay.

    [dim]c2v index remove holiday/beach.mp4[/]

    [dim]c2v index remove /data/old --json[/]
    """
    with loading():
        from clip2video_plugin.index import open_index

    removed = open_index(index).remove(paths)
    if as_json:
        terminal.document(asdict(removed))
    else:
        _print_removed(removed.videos, removed.failures, "removed")
    for path in removed.unknown:
        terminal.warn(f"nothing is indexed at or below {path}; see: c2v index list")
    if removed.unknown:
        raise typer.Exit(1)


@index.command()
def prune(
    index: Annotated[Optional[str], INDEX] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; and remove what was in folders that are gone as a whole.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Remove videos and failures whose files are gone, and print them.

    Asks before, in a terminal. In a script, videos in a folder that is gone or empty as a whole are kept unless --yes
    is given, and the exit code is 1: their disk may only be away.

    [dim]c2v index prune --dry-run[/]

    [dim]c2v index prune --yes --json[/]
    """
    with loading():
        from clip2video_plugin.index import open_index

    opened = open_index(index)
    if not (yes or dry_run or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
        found = opened.prune(folders=True, dry_run=True)
        if found.videos or found.failures:
            _print_removed(found.videos, found.failures, "to remove")
            yes = typer.confirm("Remove them from the index?")
            if not yes:
                raise typer.Exit(1)
    pruned = opened.prune(folders=yes, dry_run=dry_run)
    if as_json:
        terminal.document({**asdict(pruned), "dry_run": dry_run})
    else:
        _print_removed(pruned.videos, pruned.failures, "to remove" if dry_run else "removed")
    for folder, count in pruned.kept.items():
        terminal.warn(
            f"kept {count} videos of {folder}, which is gone or empty as a whole; "
            "is its disk there? To remove them: --yes"
        )
    if pruned.kept and not dry_run:
        raise typer.Exit(1)


@index.command()
def check(index: Annotated[Optional[str], INDEX] = None, as_json: Annotated[bool, JSON] = False) -> None:
    """Check that an index is sound: vectors, ids, indexes, files. Exits with 1 when something is wrong.

    [dim]c2v index check[/]

    [dim]c2v index check --index /data/index --json[/]
    """
    with loading():
        from clip2video_plugin.index.contents import check as problems_in

    problems = problems_in(index)
    if as_json:
        terminal.document({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            terminal.say(problem)
        terminal.say(f"{len(problems)} problems" if problems else "all is right")
    if problems:
        raise typer.Exit(1)


def _print_removed(videos: list[str], failures: list[str], done: str) -> None:
    for path in videos:
        terminal.say(f"{done}: {path}")
    for path in failures:
        terminal.say(f"{done}: {path} (a noted failure)")
    terminal.say(f"{len(videos)} videos and {len(failures)} failures {done}")
