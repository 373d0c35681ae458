"""A run of a few steps that keeps its state twice and its frames in a cache, and goes on."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.harness import Scenario, as_c2v
from tests.faults.scenarios.models import one_thread

STEPS = 4


def train_some(folder: Path) -> None:
    """As ``c2v train --resume`` does it."""
    from clip2video_plugin.training import train
    from clip2video_plugin.training.world import scene_videos
    from tests.training.tiny import config

    settings = config(steps=STEPS, save_every=2, cache=str(folder / "cache"))
    as_c2v(lambda: train(settings, scene_videos(24, seed=1), out=folder / "run", resume=True, progress=False))


def report() -> None:
    """Plotly loads its parts as they are first asked for, which takes half a second."""
    from clip2video_plugin.training.report import write_report

    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder))


def nothing(folder: Path) -> None:
    """What others keep beside it is made by the harness."""


def of_run(folder: Path) -> dict[str, Any]:
    """Weights and log of a run, but for how fast it was."""
    from safetensors.torch import load_file

    from clip2video_plugin.training.state import read_log

    places = {name: folder / "run" / name / "model.safetensors" for name in ("best", "last")}
    weights = {
        name: {key: hashlib.sha256(value.numpy().tobytes()).hexdigest() for key, value in load_file(path).items()}
        for name, path in places.items()
    }
    log = [{key: value for key, value in row.items() if key != "videos/s"} for row in read_log(folder / "run")]
    files = sorted(path.name for path in (folder / "run").iterdir() if path.name != "tensorboard")
    return {"weights": weights, "log": log, "files": files}


def begun(folder: Path) -> list[str]:
    """What was not brought to an end, of the run and of its cache."""
    return [
        str(path.relative_to(folder))
        for place in ("run", "cache")
        for path in sorted((folder / place).rglob("*"))
        if path.name[0] == "." and path.name != ".hidden"
    ]


TRAIN = Scenario(
    name="train",
    prepare=nothing,
    run=train_some,
    state=of_run,
    leftovers=begun,
    foreign=("foreign.txt", "cache/mine.npy", "run/notes.txt", "run/.hidden"),
    imports=(
        *("clip2video_plugin.training", "clip2video_plugin.training.world", "tests.training.tiny"),
        *(
            "torch._dynamo",
            "tensorboard.summary.writer.record_writer",
            "tensorboard.compat.proto.event_pb2",
            "plotly.graph_objects",
            "safetensors.torch",
            "rich.progress",
        ),
    ),
    once=report,
    warm=one_thread,
)

SCENARIOS = (TRAIN,)
