"""``c2v index optimize``, ``export``, ``import`` and ``move``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.embed import INDEX
from clip2video_plugin.cli.loading import loading
from clip2video_plugin.counted import counted
from clip2video_plugin.progress import bar

JSON = typer.Option("--json", help="Print one JSON document instead of text.")


def optimize(
    index: Annotated[Optional[str], INDEX] = None,
    keep: Annotated[
        Optional[str],
        typer.Option(help="Remove versions older than this: 90s, 30m, 2h, 7d.", show_default="$C2V_KEEP, else 1h"),
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait while another process optimizes or builds.")] = 600,
    engine: Annotated[
        Optional[str],
        typer.Option(
            metavar="ray|ray://HOST:PORT",
            help="Make the vector index of over a million rows in parts, on a Ray cluster that can reach the index.",
        ),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Fold small parts together, bring indexes up to date, and remove old versions.

    Prints each table before and after. c2v embed does this by itself as an index grows. Others may read and write
    meanwhile.

    [dim]c2v index optimize[/]

    [dim]c2v index optimize --index s3://bucket/index --keep 1d --json[/]
    """
    with loading():
        from clip2video_plugin.index.optimizing import optimize as bring_in_order
        from clip2video_plugin.tasks import run_with
    each = run_with(engine) if engine is not None else None
    with bar("Optimizing", unit="tables", quiet=as_json) as progress:
        done = bring_in_order(
            index, keep=keep, seconds=wait, each=each, progress=lambda n, *, total=None: progress(n, total=total)
        )
    if as_json:
        terminal.document([asdict(one) for one in done])
        return
    from clip2video_plugin.cli.tables import print_optimized

    print_optimized(done)


def export(
    place: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER",
            help="FILE.parquet: the videos alone. Any other name: a folder with all of it. Here, or in s3, gs, az.",
        ),
    ],
    index: Annotated[Optional[str], INDEX] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    relative_to: Annotated[
        Optional[str],
        typer.Option(metavar="FOLDER", help="Write paths from this folder or prefix on. All videos must lie below it."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Write an index as Parquet, with its vectors, for other programs and other machines.

    [dim]c2v index export videos.parquet[/]

    [dim]c2v index export s3://bucket/backup --relative-to /data/videos[/]
    """
    with loading():
        from clip2video_plugin.index.portable import export_index

    with bar("Writing", unit="rows", quiet=as_json) as progress:
        done = export_index(
            index,
            place,
            force=force,
            relative_to=relative_to,
            progress=lambda n, *, total=None: progress(n, total=total),
        )
    if as_json:
        terminal.document(asdict(done))
        return
    terminal.say(f"{_rows(done.rows)} written to {done.place}, {done.bytes / 1e6:.2f} MB")


def import_(
    source: Annotated[str, typer.Argument(metavar="FILE|FOLDER", help="What c2v index export wrote, or its URI.")],
    index: Annotated[Optional[str], INDEX] = None,
    root: Annotated[
        Optional[str], typer.Option(metavar="FOLDER", help="The folder or prefix that relative paths start at.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Read an export into an index, which is made when absent. Rows of the same videos are replaced, all others stay.

    [dim]c2v index import videos.parquet --index /data/index[/]

    [dim]c2v index import s3://bucket/backup --root /mnt/videos --index /data/index[/]
    """
    with loading():
        from clip2video_plugin.index.importing import import_index

    with bar("Reading", unit="rows", quiet=as_json) as progress:
        done = import_index(source, index, root=root, progress=lambda n, *, total=None: progress(n, total=total))
    if as_json:
        terminal.document(asdict(done))
        return
    same = f", {done.same} of the videos were there already" if done.same else ""
    terminal.say(f"{_rows(done.rows)} read into {done.index}{same}")


def move(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The folder or prefix where the videos were.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The folder or prefix where they are now.")],
    index: Annotated[Optional[str], INDEX] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Change nothing; print what would.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Tell an index where its videos are now: on another disk, another machine, or in a store.

    Vectors stay. The next c2v embed of the new place skips each video with the same content.

    [dim]c2v index move /media/disk /mnt/films[/]

    [dim]c2v index move /data/videos s3://bucket/videos --dry-run[/]
    """
    with loading():
        from clip2video_plugin.moving import move_videos

    with bar("Moving", quiet=as_json) as progress:
        done = move_videos(old, new, index, dry_run=dry_run, progress=lambda n, *, total=None: progress(n, total=total))
    if as_json:
        terminal.document(asdict(done))
        return
    verb = "to move" if dry_run else "moved"
    terminal.say(
        f"{counted(done.videos, 'video')} and {counted(done.failures, 'failure')} {verb} from {done.old} to {done.new}"
    )
    if done.absent:
        terminal.warn(f"{done.absent} of them are not there (yet), the first {done.first_absent}")
    if done.changed:
        terminal.warn(
            f"{done.changed} of them have another content there and are embedded again by c2v embed {done.new}"
        )


def _rows(rows: dict[str, int]) -> str:
    return ", ".join(counted(count, name.removesuffix("s")) for name, count in rows.items())
