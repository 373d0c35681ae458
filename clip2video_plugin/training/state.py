"""The state that a stopped run goes on from, and the log beside it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from clip2video_plugin.errors import TrainingError, first_line
from clip2video_plugin.training.fingerprint import changed

STATE, LOG, BEST, LAST, REPORT = "state.pt", "log.jsonl", "best", "last", "report.html"


@dataclass
class Progress:
    """Where a run stands: steps done, the best validation so far, and whether it ended before its last step."""

    step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stopped_early: bool = False


def save_state(
    folder: Path, progress: Progress, config: dict[str, Any], data: dict[str, str], parts: dict[str, Any]
) -> None:
    """Writes the state as a whole or not at all.

    Args:
        data: of ``fingerprint``.
        parts: anything with a ``state_dict``.
    """
    state = {
        "progress": vars(progress),
        "config": config,
        "data": data,
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    partial = folder / f".{STATE}"
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / STATE)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"{folder / STATE} cannot be written: {first_line(error)}; the last state is kept"
        ) from None


def load_state(folder: Path, config: dict[str, Any], data: dict[str, str], parts: dict[str, Any]) -> Progress:
    """Restores ``parts``; raises TrainingError when the run had other settings or other data."""
    try:
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"{folder} has no {STATE} to resume from") from None
    except Exception as error:  # torch.load raises many kinds
        raise TrainingError(f"{folder / STATE} is damaged: {first_line(error)}") from None
    other = [k for k in config if not _same(k, state["config"].get(k), config[k])]
    if other:
        was = ", ".join(f"{k}={state['config'].get(k)!r}" for k in other)
        raise TrainingError(f"{folder} was trained with {was}; resume with the same settings, or train elsewhere")
    # States written before there were fingerprints have none.
    if what := changed(state.get("data", data), data):
        raise TrainingError(
            f"{folder} was trained on other data: the {what} changed; go on with the same, or train elsewhere"
        )
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return Progress(**state["progress"])


MAY_CHANGE = frozenset(["workers", "save_every", "patience", "device"])


def _same(setting: str, was: Any, now: Any) -> bool:
    if setting == "cache":  # may move; with one, jitter comes in ``cache_draws``
        return bool(was) == bool(now)
    return setting in MAY_CHANGE or json.dumps(was, sort_keys=True) == json.dumps(now, sort_keys=True)


class Log:
    """A line of JSON per step and per epoch; on resuming, what came after the state is cut off. TensorBoard beside it.

    Every line has ``step``, the number of steps done when it was written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / LOG
        kept = [row for row in read_log(folder) if row["step"] <= step] if step else []
        partial = path.with_name(f".{LOG}")
        partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        partial.replace(path)
        self._file: IO[str] = path.open("a", encoding="utf-8")
        self._board = _tensorboard(folder, step)

    def write(self, **row: Any) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in row.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log; a last line that was cut off is left out."""
    rows = []
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
    except (ImportError, UnicodeEncodeError):  # not installed, or the folder has a name that it cannot write
        return None
