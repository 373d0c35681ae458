"""The state that a stopped run goes on from, and the log beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from clip2video_plugin.errors import TrainingError, first_line
from clip2video_plugin.model.containers import checked_zip
from clip2video_plugin.training.board import Board
from clip2video_plugin.training.fingerprint import changed

STATE, LOG, BOARD, BEST, LAST, REPORT = "state.pt", "log.jsonl", "tensorboard", "best", "last", "report.html"


@dataclass
class Progress:
    """Where a run stands: steps done, the best validation so far, and whether it ended before its last step."""

    step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stopped_early: bool = False


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """An OSError while writing becomes a TrainingError."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{place} cannot be written: {first_line(error)}; the last state is kept, resume from it (--resume)"
        ) from None


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
    """Restores ``parts``.

    Raises:
        TrainingError: the run had other settings or other data, or the state is damaged; ``parts`` may then be, too.
    """
    try:
        checked_zip(folder / STATE)
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"{folder} has no {STATE} to resume from") from None
    except Exception as error:  # torch.load raises many kinds
        raise TrainingError(f"{folder / STATE} is damaged: {first_line(error)}") from None
    try:
        return _restored(folder, state, config, data, parts)
    except TrainingError:
        raise
    except Exception as error:  # what no run wrote can be wrong in any way
        raise TrainingError(f"{folder / STATE} is damaged: {first_line(error)}") from None


def _restored(
    folder: Path, state: dict[str, Any], config: dict[str, Any], data: dict[str, str], parts: dict[str, Any]
) -> Progress:
    progress = Progress(**state["progress"])
    for name, usual in vars(Progress()).items():
        if type(value := getattr(progress, name)) is not type(usual):
            raise TypeError(f"{name} is {value!r:.80}")
    if progress.step < 0:
        raise ValueError(f"step is {progress.step}")
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
    return progress


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
        path = self._path = folder / LOG
        kept = [row for row in read_log(folder) if row["step"] <= step] if step else []
        partial = path.with_name(f".{LOG}")
        with writing(path):
            partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            partial.replace(path)
            self._file: IO[str] = path.open("a", encoding="utf-8")
        self._board: Board | None = None
        with writing(folder / BOARD), suppress(ImportError):
            self._board = Board(folder / BOARD, step)

    def write(self, **row: Any) -> None:
        with writing(self._path):
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._board is not None:
            numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k != "step"}
            with writing(self._path.with_name(BOARD)):
                self._board.write(row["step"], numbers)

    def close(self) -> None:
        with writing(self._path):
            try:
                self._file.close()
            finally:
                if self._board is not None:
                    self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log up to the first that is none, as the last is where it was cut off."""
    rows = []
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _is_row(row):
            break
        rows.append(row)
    return rows


def _is_row(row: Any) -> bool:
    """Whether it is what the trainer writes of a step, or of an epoch."""
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return False
    if "validation" not in row:
        return True
    metrics, hardest = row["validation"], row.get("hardest")
    return (
        type(row.get("epoch")) is int
        and isinstance(metrics, dict)
        and all(isinstance(metrics.get(name), int | float) for name in ("R@1", "R@5", "R@10", "MdR", "MnR"))
        and isinstance(hardest, list)
        and all(isinstance(query, dict) and isinstance(query.get("rank"), int | float) for query in hardest)
        and all(isinstance(query.get(name), str) for query in hardest for name in ("caption", "video", "rival"))
    )
