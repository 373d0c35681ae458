"""What a training run leaves for the next one: its state, and its log."""

import json
from collections.abc import Iterator
from pathlib import Path

from ..target import Files, Room, Target, Wrong

CONFIG = {"steps": 10, "learning_rate": 0.1, "network": {"embed_dim": 4}, "cache": ""}
DATA = {"training videos": "ab", "validation videos": "cd", "order of the training videos": "ef"}


def _parts():
    import torch

    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))
    return {"network": network, "optimiser": optimiser, "schedule": schedule}


def make_states(place: Path) -> Iterator[tuple[str, Files]]:
    from clip2video_plugin.training.state import Progress, save_state

    for name, progress in {
        "begun": Progress(3),
        "later": Progress(9, {"R@1": 12.5, "MdR": 3.0}, 2, {"/a.mp4": "cannot read"}, True),
    }.items():
        (place / name).mkdir()
        save_state(place / name, progress, CONFIG, DATA, _parts())
        yield name, {"state.pt": (place / name / "state.pt").read_bytes()}


def read_state(files: Files, room: Room) -> None:
    from clip2video_plugin.training.state import load_state

    progress = load_state(room.put(files), CONFIG, DATA, _parts())
    right = type(progress.step) is int and progress.step >= 0 and type(progress.best_epoch) is int
    right &= isinstance(progress.best, dict) and all(isinstance(value, float) for value in progress.best.values())
    right &= isinstance(progress.failed, dict) and type(progress.stopped_early) is bool
    if not right:
        raise Wrong(f"progress that is none: {progress!r:.300}")


def make_logs(place: Path) -> Iterator[tuple[str, Files]]:
    metrics = {"R@1": 10.0, "R@5": 20.0, "R@10": 30.0, "MdR": 8.0, "MnR": 9.5}
    hardest = [{"rank": 9, "caption": "a <b> dog", "video": "/a.mp4", "rival": "/b.mp4"}]
    rows = [
        {"step": 1, "loss": 2.5, "lr": 0.1, "videos/s": 3.0},
        {"step": 2, "loss": 2.0, "aligned_loss": 1.0, "global_loss": 1.0, "lr": 0.1, "videos/s": 3.0},
        {"step": 2, "epoch": 1, "validation": metrics, "hardest": hardest},
    ]
    yield "log", {"log.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}


def read_log(files: Files, room: Room) -> None:
    from clip2video_plugin.training import state
    from clip2video_plugin.training.report import write_report

    place = room.put(files)
    log = state.Log(place, 1)
    log.write(step=2, loss=1.0)
    log.close()
    if not all(row["step"] <= 2 for row in state.read_log(place)):
        raise Wrong("rows after the state are kept")
    write_report(place)


TARGETS = (
    Target("state", "states of training", make_states, read_state, 10),
    Target("log", "logs of training", make_logs, read_log, 1, (b'"step"', b'"loss"', b'"validation"')),
)
