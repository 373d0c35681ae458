"""``c2v index duplicates``, ``audit`` and ``captions``: copies of videos, wrong captions, captions that fit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.embed import INDEX, MODEL
from clip2video_plugin.cli.loading import loading, local
from clip2video_plugin.cli.upkeep import JSON
from clip2video_plugin.counted import counted

if TYPE_CHECKING:
    from clip2video_plugin.query.curate import Duplicates, Group

OWN_MODEL = typer.Option("--model", "-m", help=MODEL.help, show_default="the index's own")


def duplicates(
    index: Annotated[Optional[str], INDEX] = None,
    by: Annotated[
        Optional[str],
        typer.Option(metavar="folder|tags", help="What the splits are: finds copies that two share."),
    ] = None,
    splits: Annotated[
        Optional[list[str]],
        typer.Option(metavar="GLOB", help="Or: a pattern that the paths of one split match; give one for each split."),
    ] = None,
    least: Annotated[
        Optional[float], typer.Option(help="Cosine from which two videos are copies.", show_default="0.75")
    ] = None,
    read: Annotated[
        bool,
        typer.Option("--read", help="First decode the videos that an earlier version indexed; takes a while."),
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Find copies of videos: encoded anew, scaled, trimmed, mirrored, parts of longer ones.

    With --by or --splits, copies that two splits share are marked. Compares thumbnails of frames that c2v embed kept,
    so no video is read. Nothing is removed.

    [dim]c2v index duplicates[/]

    [dim]c2v index duplicates --splits 'train/*' --splits 'test/*'[/]

    [dim]c2v index duplicates --by tags --json[/]
    """
    with loading():
        from clip2video_plugin.progress import bar
        from clip2video_plugin.query.curate import duplicates as find
        from clip2video_plugin.query.tracks import SAME

    if by and splits:
        raise typer.BadParameter("--by and --splits both say what splits are; give one of them")
    if read:
        from clip2video_plugin.backfill import add_thumbnails

        with bar("Reading") as progress:
            failed = add_thumbnails(index, progress=lambda done, *, total=None: progress(done, total=total))
        for failure in failed:
            terminal.warn(f"{failure.path}: {failure.reason}")
    with bar("Comparing", unit="pairs") as progress:
        found = find(
            index,
            by=by or splits or None,
            least=SAME if least is None else least,
            progress=lambda done, total: progress(done, total=total),
        )
    if as_json:
        terminal.document(found.to_dict())
    else:
        for number, group in enumerate(found.groups, start=1):
            _print_group(number, group)
        _print_summary(found, bool(by or splits))
    if found.without:
        terminal.warn(
            f"{found.without} videos were not compared, as they have no thumbnails: an earlier version indexed them, "
            "or their rows were copied from elsewhere; --read decodes them"
        )


def audit(
    index: Annotated[Optional[str], INDEX] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Captions to show.")] = 20,
    model: Annotated[Optional[str], OWN_MODEL] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Find captions that may be wrong: those whose own video ranks lowest among all videos.

    [dim]c2v index audit[/]

    [dim]c2v index audit -k 100 --json[/]
    """
    with loading():
        from clip2video_plugin.progress import bar
        from clip2video_plugin.query.audit import audit as find

    with bar("Ranking", unit="captions") as progress:
        found = find(index, k=k, model=model, progress=lambda done, *, total=None: progress(done, total=total))
    if as_json:
        terminal.document(found.to_dict())
        return
    for suspect in found.suspects:
        terminal.show(terminal.plain(suspect.caption, "bold"), soft_wrap=True)
        terminal.say(f"    rank {suspect.rank:g} ({suspect.score:.3f})  {suspect.path}")
        terminal.say(f"    first       ({suspect.rival_score:.3f})  {suspect.rival}")
    terminal.say(
        f"of {counted(found.captions, 'caption')} {found.first} find their own video first, among {found.videos}"
    )


def captions(
    video: Annotated[str, typer.Argument(metavar="PATH", help="A video of the index, or the id of its row.")],
    index: Annotated[Optional[str], INDEX] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Captions to show.")] = 10,
    among: Annotated[
        Optional[Path],
        typer.Option(
            "--captions",
            metavar="FILE",
            help="A text file with one caption on each line, instead of the captions in the index.",
            parser=local,
        ),
    ] = None,
    model: Annotated[Optional[str], OWN_MODEL] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show the captions that fit a video best; its own are marked.

    [dim]c2v index captions holiday/beach.mp4[/]

    [dim]c2v index captions holiday/beach.mp4 --captions labels.txt -k 3 --json[/]
    """
    with loading():
        from clip2video_plugin.progress import bar
        from clip2video_plugin.query.audit import nearest_captions

    with bar("Encoding", unit="captions") as progress:
        found = nearest_captions(
            index,
            video,
            k,
            captions=among,
            model=model,
            progress=lambda done, *, total=None: progress(done, total=total),
        )
    if as_json:
        terminal.document([asdict(fit) for fit in found])
        return
    for fit in found:
        terminal.say(f"{fit.score:>7.3f}  {fit.caption}{'  (its own)' if fit.own else ''}")


def _print_group(number: int, group: Group) -> None:
    leaky = {place for pair in group.leaks for place in (pair.first, pair.second)}
    terminal.show(terminal.plain(f"group {number}", "bold"))
    for place, video in enumerate(group.videos):
        line = terminal.plain(f"{video.duration:>8.1f} s  {video.path}")
        if (pair := group.pair_of.get(place)) is not None:
            line.append(f"  {pair}" if pair.second == place else f"  holds a {pair}", "cyan")
            if other := pair.first + pair.second - place:
                line.append(f" with {Path(group.videos[other].path).name}", "cyan")
            line.append(f"  {pair.cosine:.3f}", "dim")
        if video.splits:
            line.append(f"  {', '.join(video.splits)}", "red" if place in leaky else "dim")
        terminal.show(line, soft_wrap=True)


def _print_summary(found: Duplicates, split: bool) -> None:
    copies = sum(len(group.videos) for group in found.groups)
    terminal.say(f"{counted(len(found.groups), 'group')} of {counted(copies, 'video')}, among {found.searched}")
    if split:
        terminal.say(f"{found.leaks} pairs lie in two splits")
    if found.blank:
        terminal.say(f"left out, as too little is seen in it: {counted(found.blank, 'video')}")
