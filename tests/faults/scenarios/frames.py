"""The table of frames, which moments are found by: frames of a few videos, one after another."""

from __future__ import annotations

from pathlib import Path

from tests.faults.harness import Scenario, as_c2v
from tests.faults.scenarios.building import DIM, vectors
from tests.faults.scenarios.tables import strays, tables_of

VIDEOS, STAMP = ("a", "b", "c", "d", "e"), (1000, 1.7e9)


def write(folder: Path) -> None:
    """Frames of the videos that have none of this file yet, as the operator writes them."""
    from clip2video_plugin.index.frames import FrameIndex
    from clip2video_plugin.index.schema import Provenance

    made = Provenance("shapes", "0" * 64, "uniform", 12, "1")
    index = FrameIndex.create(str(folder / "index"), DIM, made, "frames_x")
    for number, video in enumerate(VIDEOS):
        if not len(index.read(video, STAMP)[0]):
            index.write(video, [0.0, 0.5, 1.0], vectors(number, 3), STAMP)


def older(folder: Path) -> None:
    """Frames of one of the videos as its file was before, more of them than it has now."""
    from clip2video_plugin.index.frames import FrameIndex
    from clip2video_plugin.index.schema import Provenance

    (folder / "index").mkdir()  # of the videos' table, which is there before
    made = Provenance("shapes", "0" * 64, "uniform", 12, "1")
    index = FrameIndex.create(str(folder / "index"), DIM, made, "frames_x")
    index.write("b", [0.0, 0.5, 1.0, 1.5], vectors(9, 4), (900, 1.6e9))


def often() -> None:
    from clip2video_plugin.index import upkeep

    upkeep.COMMITS = 3


SCENARIOS = (
    Scenario(
        name="frames",
        prepare=older,
        run=lambda folder: as_c2v(lambda: write(folder)),
        state=lambda folder: tables_of(folder / "index"),
        leftovers=lambda folder: list(strays(folder / "index")),
        foreign=("foreign.txt", "index/notes.txt"),
        imports=("clip2video_plugin.index.frames", "lance"),
        warm=often,
    ),
)
