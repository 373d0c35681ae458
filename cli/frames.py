"""``c2v frames``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, cast

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.loading import local
from clip2video_plugin.counted import counted

if TYPE_CHECKING:
    from clip2video_plugin.video.extract import Extracted


def frames(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A video, or a folder of videos.", parser=local)],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Folder that gets one folder of JPEGs per video.", parser=local)
    ],
    fps: Annotated[
        Optional[float], typer.Option(min=0.001, max=1000, help="Frames per second.", show_default="5; reference: 2.5")
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="extract: what ffmpeg -r FPS writes, as the paper's sample_frame.py; fps: the frame on show at every "
            "1/FPS seconds; uniform: COUNT frames over the clip; keyframes: key frames near those; reference: the "
            "frames the paper's model sees."
        ),
    ] = "extract",
    count: Annotated[int, typer.Option(min=1, help="Frames per video, for uniform, keyframes and reference.")] = 12,
    workers: Annotated[Optional[int], typer.Option(min=1, help="Videos at once.", show_default="one per core")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 when a video cannot be read.")] = False,
) -> None:
    """Write frames of videos as JPEG files, a folder per video.

    Videos that are done are skipped. The folders can be given wherever videos can.

    [dim]c2v frames MSRVTT/videos MSRVTT/frames[/]

    [dim]c2v frames clip.mp4 out --policy uniform --count 8[/]
    """
    from clip2video_plugin.progress import bar
    from clip2video_plugin.video.extract import extract_frames
    from clip2video_plugin.video.files import find_videos, passed_over_line

    passed_over = Counter[str]()
    videos = [place for place in find_videos([source], passed_over) if isinstance(place, Path)]
    with bar("Extracting", len(videos)) as progress:
        report = extract_frames(
            videos,
            output,
            root=source,
            fps=fps,
            policy=cast("Extracted", policy),
            count=count,
            workers=workers,
            progress=progress.failing,
        )
    terminal.say(
        f"{counted(report.written, 'video')} written, {report.skipped} done before, {len(report.failed)} failed"
    )
    for path, reason in report.failed:
        terminal.say(f"  failed: {path}: {reason}")
    if line := passed_over_line(passed_over):
        terminal.warn(line)
    if strict and report.failed:
        raise typer.Exit(3)
