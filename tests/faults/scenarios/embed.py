"""``c2v embed``: of new videos, with windows, and again after files were changed, moved and replaced; ``prune``.

In several commits each, one video broken, one with subtitles beside it, which make an index of words.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.faults.harness import Scenario, c2v
from tests.faults.scenarios.tables import strays, tables_of

OPTIONS = ("--index", "index", "--model", "shapes", "--batch-size", "2", "--workers", "1")
IMPORTS = (
    *("clip2video_plugin.embed", "clip2video_plugin.progress", "rich.console", "rich.progress", "lance", "av"),
    *("clip2video_plugin.cli.index", "clip2video_plugin.index.optimizing", "clip2video_plugin.shapes"),
)
FOREIGN = ("videos", "foreign.txt", "index/notes.txt", "index/movies/0.mp4")


def clips(folder: Path, count: int, *, length: int = 8, seed: int = 5) -> None:
    """So many videos of 64 x 64 pixels, ``length`` frames at 8 a second."""
    import numpy as np

    from clip2video_plugin.shapes import held_out_scenes
    from clip2video_plugin.shapes.render import render
    from clip2video_plugin.shapes.videos import write_video

    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(held_out_scenes(count, seed=seed)):
        write_video(folder / f"{number}.mp4", render(scene, np.linspace(0, 1, length).tolist(), 64))


def library(folder: Path) -> None:
    clips(folder / "videos", 5)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video" * 100)
    (folder / "videos" / "0.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\na red square\n")


def films(folder: Path) -> None:
    clips(folder / "videos", 3, length=40)


def embedded(folder: Path, *options: str) -> None:
    """Does it now, in this process."""
    try:
        c2v("embed", "videos", *OPTIONS, *options)
    except SystemExit as end:
        if end.code:
            raise


def changed(folder: Path) -> None:
    """A library that is embedded with windows; then one video is another, two are moved, one is new, one whole."""
    library(folder)
    embedded(folder, "--windows", "0.5/0.25")
    videos = folder / "videos"
    clips(folder / "more", 3, seed=6)
    shutil.copyfile(folder / "more" / "0.mp4", videos / "1.mp4")
    (videos / "elsewhere").mkdir()
    for number in (2, 3):
        (videos / f"{number}.mp4").rename(videos / "elsewhere" / f"{number}.mp4")
    (folder / "more" / "1.mp4").rename(videos / "new.mp4")
    (folder / "more" / "2.mp4").rename(videos / "broken.mp4")
    os.utime(videos / "broken.mp4", (1.7e9, 1.7e9))
    shutil.rmtree(folder / "more")


def emptied(folder: Path) -> None:
    """A library that is embedded with windows; two of its videos are gone."""
    library(folder)
    embedded(folder, "--windows", "0.5/0.25")
    for name in ("0.mp4", "3.mp4", "broken.mp4"):
        (folder / "videos" / name).unlink()


def often() -> None:
    """Commits and folds after a few videos."""
    from clip2video_plugin.index import upkeep, writer

    writer.FLUSH_ROWS = 2
    upkeep.COMMITS = 4


def of_index(name: str, prepare: object, *command: str) -> Scenario:
    return Scenario(
        name=name,
        prepare=prepare,  # type: ignore[arg-type]
        run=lambda folder: c2v(*command),
        state=lambda folder: tables_of(folder / "index"),
        leftovers=lambda folder: list(strays(folder / "index")),
        foreign=FOREIGN,
        imports=IMPORTS,
        warm=often,
    )


SCENARIOS = (
    of_index("embed", library, "embed", "videos", *OPTIONS),
    of_index("windows", films, "embed", "videos", *OPTIONS, "--windows", "1/0.5"),
    of_index("again", changed, "embed", "videos", *OPTIONS),
    of_index("prune", emptied, "index", "prune", "--index", "index"),
)
