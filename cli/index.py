"""``c2v index``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from clip2video_plugin.cli import terminal, upkeep
from clip2video_plugin.cli.embed import DEVICE, INDEX, MODEL
from clip2video_plugin.cli.loading import loading
from clip2video_plugin.cli.upkeep import JSON
from clip2video_plugin.counted import counted
from clip2video_plugin.errors import Clip2VideoError

if TYPE_CHECKING:
    from clip2video_plugin.app.tables import RunTable

index = typer.Typer(help="Look after an index: show, check, prune, optimize, move, export.", no_args_is_help=True)
DRY_RUN = typer.Option("--dry-run", "-n", help="Remove nothing; print what would go.")


index.command()(upkeep.optimize)
index.command()(upkeep.export)
index.command("import")(upkeep.import_)
index.command()(upkeep.move)


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
    paths: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="[PATH...]", help="Only these files, and those below these folders."),
    ] = None,
    index: Annotated[Optional[str], INDEX] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only videos whose files are gone.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="List the tables of FiftyOne runs instead.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the videos with their durations, and mark those whose files are gone. Stores are asked only with --missing.

    [dim]c2v index list[/]

    [dim]c2v index list holiday/ --missing --json[/]

    [dim]c2v index list --tables[/]
    """
    if tables:
        _list_tables(index, as_json)
        return
    with loading():
        from clip2video_plugin.index import open_index
        from clip2video_plugin.index.contents import missing as missing_of

    opened, unasked = open_index(index), Counter[str]()
    videos = missing_of(opened, paths or None, unasked) if missing else opened.videos(paths or None)
    if as_json:
        terminal.documents(
            {"path": video.path, "duration": video.duration, "missing": missing or video.missing, "id": video.id}
            for video in videos
        )
    else:
        for video in videos:
            duration = f"{video.duration:.1f} s" if video.duration is not None else ""
            terminal.say(f"{duration:>10}  {video.path}{'  (missing)' if missing or video.missing else ''}")
    for reason, count in unasked.items():
        terminal.warn(f"{counted(count, 'object')} could not be looked up: {reason}")


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
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files; a folder stands for all videos below it.")
    ],
    index: Annotated[Optional[str], INDEX] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Remove videos from an index, by path. The files stay, or may be gone already.

    [dim]c2v index remove holiday/beach.mp4[/]

    [dim]c2v index remove /data/old s3://bucket/videos/old --json[/]
    """
    with loading():
        from clip2video_plugin.index import open_index

    removed = open_index(index).remove(paths)
    if as_json:
        terminal.document(asdict(removed))
    else:
        _print_removed(removed.videos, removed.failures, [], "removed")
    for path in removed.unknown:
        terminal.warn(f"nothing is indexed at or below {path}; see: c2v index list")
    if removed.unknown:
        raise typer.Exit(1)


@index.command()
def prune(
    index: Annotated[Optional[str], INDEX] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Also remove videos whose whole folder is gone.")
    ] = False,
    tables: Annotated[
        Optional[list[str]],
        typer.Option("--table", help="Also remove this table, which does not say which FiftyOne database it is of."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Remove videos and failures whose files are gone, and tables of FiftyOne runs that no dataset has.

    Prints what goes, and asks first in a terminal. A script does not ask. It keeps tables, and videos whose whole
    folder is gone or empty, as their disk may only be away. The exit code is then 1, and --yes removes them.

    [dim]c2v index prune --dry-run[/]

    [dim]c2v index prune --yes --json[/]
    """
    with loading():
        from clip2video_plugin.index import open_index
        from clip2video_plugin.index.pruning import Pruned

    unowned, named = _unowned(index), tables or []
    # An index that holds nothing but runs has no table of videos.
    opened = open_index(index) if not unowned or _has_videos(index) else None
    if not (yes or dry_run or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
        found = opened.prune(folders=True, dry_run=True) if opened else Pruned([], [], {})
        gone = [table.name for table in unowned if table.ours or table.name in named]
        if found.videos or found.failures or gone:
            _print_removed(found.videos, found.failures, gone, "to remove")
            yes = typer.confirm("Remove them from the index?")
            if not yes:
                raise typer.Exit(1)
    pruned = opened.prune(folders=yes, dry_run=dry_run) if opened else Pruned([], [], {})
    gone = list[str]()
    if unowned or named:
        from clip2video_plugin.app.tables import prune_tables

        gone = prune_tables(index, named=named, dry_run=not yes or dry_run)
    removed = gone if yes or dry_run else []
    if as_json:
        left = [table.name for table in unowned if table.name not in removed]
        terminal.document({**asdict(pruned), "tables": removed, "kept_tables": left, "dry_run": dry_run})
    else:
        _print_removed(pruned.videos, pruned.failures, removed, "to remove" if dry_run else "removed")
    for folder, count in pruned.kept.items():
        terminal.warn(
            f"kept {counted(count, 'video')} of {folder}, which is gone or empty as a whole; "
            "is its disk there? To remove them: --yes"
        )
    for reason, count in pruned.unasked.items():
        terminal.warn(f"kept {counted(count, 'object')} that could not be looked up: {reason}")
    for table in unowned:
        if table.name in removed:
            continue
        what = f"kept table {table.name} of {counted(table.rows, 'row')}, which no dataset has"
        if table.ours or table.name in named:
            terminal.warn(f"{what}; to remove it: --yes")
        else:
            terminal.warn(f"{what}, nor does it say which FiftyOne database it is of; to remove it: --table NAME --yes")
    if (pruned.kept or set(gone) - set(removed)) and not dry_run:
        raise typer.Exit(1)


@index.command()
def check(
    index: Annotated[Optional[str], INDEX] = None,
    recall: Annotated[
        bool, typer.Option("--recall/--no-recall", help="Measure the recall of the vector index.")
    ] = True,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Check that an index is sound: vectors, ids, indexes, files. Exits with 1 when something is wrong.

    The recall of a vector index is measured. For some rows and sentences, at three weights of the global vector, its 10
    best are compared with those of an exact scan. It has to find 99 of 100.

    [dim]c2v index check[/]

    [dim]c2v index check --index /data/index --no-recall --json[/]
    """
    with loading():
        from clip2video_plugin.index.contents import check as problems_in
        from clip2video_plugin.query.recall import recalls

    problems = problems_in(index)
    measured = list(recalls(index)) if recall else []
    problems += [f"table {one.table}: {one.problem}" for one in measured if one.problem]
    if as_json:
        terminal.document({"ok": not problems, "problems": problems, "recall": [asdict(one) for one in measured]})
    else:
        from clip2video_plugin.cli.tables import print_recall

        for one in measured:
            print_recall(one)
        for problem in problems:
            terminal.say(problem)
        terminal.say(counted(len(problems), "problem") if problems else "all is right")
    if problems:
        raise typer.Exit(1)


@index.command()
def calibrate(
    index: Annotated[Optional[str], INDEX] = None,
    table: Annotated[
        str, typer.Option(help="videos, or the table of a FiftyOne run (see: c2v index list --tables).")
    ] = "videos",
    model: Annotated[
        Optional[str], typer.Option("--model", "-m", help=MODEL.help, show_default="the index's own")
    ] = None,
    device: Annotated[Optional[str], typer.Option("--device", help=DEVICE.help, show_default="cpu")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Learn from which score a hit is probably right, from the captions in the index or else from its videos.

    From then on a search shows how probable it is that each hit is right, and --min-confidence leaves out the others.
    The result is kept in the index. It is learnt again when the index has grown by half.

    [dim]c2v index calibrate && c2v search "a dog runs on the beach" --min-confidence .9[/]

    [dim]c2v index calibrate --index /data/index --json[/]
    """
    with loading():
        from clip2video_plugin.query.calibrate import calibrate as fit

    fits = fit(index, table=table, model=model, device=device)
    if as_json:
        terminal.document([one.report() for one in fits])
        return
    from clip2video_plugin.cli.tables import print_calibration

    for one in fits:
        print_calibration(one)


def _print_removed(videos: list[str], failures: list[str], tables: list[str], done: str) -> None:
    for path in videos:
        terminal.say(f"{done}: {path}")
    for path in failures:
        terminal.say(f"{done}: {path} (a noted failure)")
    for table in tables:
        terminal.say(f"{done}: table {table}, which no dataset has")
    and_tables = f" and {counted(len(tables), 'table')}" if tables else ""
    terminal.say(f"{counted(len(videos), 'video')} and {counted(len(failures), 'failure')}{and_tables} {done}")


def _has_videos(index: str | None) -> bool:
    from clip2video_plugin.index.connection import uri_of
    from clip2video_plugin.index.schema import VIDEOS
    from clip2video_plugin.index.tables import has_table

    return has_table(uri_of(index), VIDEOS)


def _list_tables(index: str | None, as_json: bool) -> None:
    with loading():
        from clip2video_plugin.app.tables import run_tables

    tables = run_tables(index)
    if as_json:
        terminal.documents(asdict(table) for table in tables)
        return
    for table in tables:
        terminal.say(f"{table.rows:>10}  {table.name}  {table.whose}")


def _unowned(index: str | None) -> list[RunTable]:
    """The tables that no dataset has; FiftyOne is asked only where the index has tables of runs."""
    with loading():
        from clip2video_plugin.index.connection import uri_of
        from clip2video_plugin.index.tables import RUN_TABLES, marked_tables

    if not marked_tables(uri_of(index), RUN_TABLES):
        return []
    with loading():
        from clip2video_plugin.app.tables import run_tables
    try:
        return [table for table in run_tables(index) if not table.used_by and table.ours is not False]
    except Clip2VideoError as error:
        terminal.warn(str(error))
        return []
