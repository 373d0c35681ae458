"""``c2v embed``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Optional, cast

import typer

from clip2video_plugin.cli import terminal
from clip2video_plugin.cli.loading import loading
from clip2video_plugin.counted import counted

if TYPE_CHECKING:
    from clip2video_plugin.model.checkpoint import Precision
    from clip2video_plugin.video.sampling import Sampling

INDEX = typer.Option(
    "--index", "-i", help="Index folder or LanceDB URI.", envvar="C2V_INDEX", show_default="./c2v-index"
)
MODEL = typer.Option(
    "--model",
    "-m",
    help="Name or folder of a checkpoint (see: c2v models list).",
    show_default="$C2V_MODEL, else as c2v models use set it",
)
DEVICE = typer.Option("--device", help="cpu, cuda, cuda:1, mps.", show_default="the best there is")


def embed(
    paths: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="PATH...",
            help="Videos, folders of videos, folders of frames; their URIs (s3, gs, az, http); - for a list on "
            "standard input.",
            show_default=False,
        ),
    ] = None,
    listed: Annotated[
        Optional[str],
        typer.Option(
            "--list",
            metavar="FILE",
            help="A list of videos: a text file with a path or URI a line, or Parquet with a column path, uri or "
            "filepath; - for standard input.",
        ),
    ] = None,
    index: Annotated[Optional[str], INDEX] = None,
    model: Annotated[
        Optional[str],
        typer.Option("--model", "-m", help=MODEL.help, show_default="the index's own, for a new one the default"),
    ] = None,
    sampling: Annotated[
        str,
        typer.Option(
            help="Which frames: uniform; keyframes (near those, faster for long videos); those of the paper, reference "
            "(MSR-VTT) or reference-5fps (MSVD, VATEX)."
        ),
    ] = "uniform",
    device: Annotated[Optional[str], DEVICE] = None,
    precision: Annotated[
        str, typer.Option(help="auto, float32, bfloat16, int8. c2v bench prints how fast and how exact each is.")
    ] = "auto",
    batch_size: Annotated[Optional[int], typer.Option(min=1, help="Videos encoded at once.")] = None,
    workers: Annotated[
        Optional[int], typer.Option(min=1, help="Decoding threads.", show_default="one per core")
    ] = None,
    shard: Annotated[
        Optional[str],
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N parts. Start a process for each part, say one per GPU; all fill one index.",
        ),
    ] = None,
    captions: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE",
            help="Captions to search as well: CSV, TSV or JSON, with a file name and a caption in each record.",
        ),
    ] = None,
    windows: Annotated[
        Optional[str],
        typer.Option(
            metavar="SIZES",
            help="Also embed windows of long videos, seconds/stride: 5/2.5,10/5,15/5; auto by length; none.",
            show_default="those that the index has",
        ),
    ] = None,
    tag: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME", help="Give the videos this tag, unchanged ones too. May be repeated."),
    ] = None,
    engine: Annotated[
        Optional[str],
        typer.Option(
            metavar="ray[://HOST:PORT]",
            help="Decode and encode on a Ray cluster: the one of $RAY_ADDRESS, one on this machine, or this one.",
        ),
    ] = None,
    actors: Annotated[
        Optional[int], typer.Option(min=1, help="Most processes of the engine.", show_default="as many as fit")
    ] = None,
    gpus_per_actor: Annotated[
        Optional[float], typer.Option(min=0, help="GPUs of each process; 0.5 for two on one GPU.", show_default="none")
    ] = None,
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate",
            help="Decode in separate processes. A file that crashes its decoder or never ends is then one failure.",
        ),
    ] = False,
    video_seconds: Annotated[
        Optional[float],
        typer.Option(
            help="With --isolate: seconds that a video may take, and as many more for each 100 MB.", show_default="300"
        ),
    ] = None,
    video_memory: Annotated[
        Optional[float],
        typer.Option(help="With --isolate: gigabytes that decoding a video may take.", show_default="2"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 when a video cannot be read.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Embed videos and write them to an index, made when absent.

    Videos that have not changed are skipped, so an interrupted run goes on where it stopped, with --windows in the
    middle of a video.
    Text files beside a video (clip.srt, clip.vtt, clip.txt, clip.en.srt) are its captions, and are searched as well.

    [dim]c2v embed holiday/ clips/beach.mp4[/]

    [dim]c2v embed holiday/ --tag beach --tag 2026  # c2v search "a dog" --where tag:beach[/]

    [dim]c2v embed holiday/ --precision int8[/]

    [dim]c2v embed archive/ --captions titles.csv[/]

    [dim]c2v embed films/ --windows 5/2.5,10/5,15/5  # hits say from when to when[/]

    [dim]c2v embed /data/videos --shard 1/2 --device cuda:0  # beside it, 2/2 on cuda:1[/]

    [dim]c2v embed /data/videos --engine ray --gpus-per-actor 1  # an actor for each GPU of a Ray cluster[/]

    [dim]c2v embed s3://bucket/videos https://host/clip.mp4  # docs/places.md[/]

    [dim]c2v embed uploads/ --isolate --video-seconds 60  # files of strangers[/]

    [dim]c2v embed --list videos.parquet; find /data -name "*.mp4" -size +1M | c2v embed -[/]

    [dim]c2v embed /data/videos --index s3://bucket/index --strict --json[/]
    """
    if not paths and listed is None:
        raise typer.BadParameter("name files, folders or URIs, or a list of them (--list)", param_hint="PATH...")
    with loading():
        from clip2video_plugin.embed import embed_videos
        from clip2video_plugin.progress import bar
        from clip2video_plugin.report import Report
        from clip2video_plugin.video.files import passed_over_line

    with bar("Embedding") as progress:

        def tell(so_far: Report) -> None:
            for line in filter(None, (so_far.note, so_far.warning)):
                terminal.warn_once(line)
            progress.report(so_far)

        report = embed_videos(
            paths or (),
            listed=listed,
            index=index,
            model=model,
            sampling=cast("Sampling", sampling),
            device=device,
            precision=cast("Precision", precision),
            batch_size=batch_size,
            workers=workers,
            shard=shard,
            captions=captions,
            windows=windows,
            tags=tag or (),
            engine=engine,
            actors=actors,
            gpus_per_actor=gpus_per_actor,
            isolate=isolate,
            video_seconds=video_seconds,
            video_memory=video_memory,
            progress=tell,
        )
    for damaged in report.damaged:
        terminal.warn(f"{damaged.path} is damaged: {damaged.reason}")
    if as_json:
        fields = ("embedded", "skipped", "moved", "failed", "captioned", "windows", "windowed", "seconds", "warning")
        terminal.document({name: asdict(report)[name] for name in fields})
    else:
        captioned = f" ({report.captioned} with other captions)" if report.captioned else ""
        moved = f"{report.moved} moved, " if report.moved else ""
        terminal.say(
            f"{report.embedded} embedded, {report.skipped} unchanged{captioned}, {len(report.failed)} failed, {moved}"
            f"{report.seconds:.1f} s"
        )
        if report.windowed:
            others = f", {report.others} of them instead of others" if report.others else ""
            terminal.say(f"windows {report.windows} of {counted(report.windowed, 'video')}{others}")
        if report.about and not report.warning:
            terminal.say(f"model {report.model}, {report.about}")
        for failure in report.failed:
            terminal.say(f"  failed: {failure.path}: {failure.reason}")
    for note in report.caption_notes:
        terminal.warn(note)
    if line := passed_over_line(report.passed_over):
        terminal.warn(line)
    if not report.total:
        terminal.warn("no videos found there; name files, or folders that hold some")
    if strict and report.failed:
        raise typer.Exit(3)
