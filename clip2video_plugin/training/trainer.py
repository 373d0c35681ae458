"""``train``: the loop over steps, and what one step does."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from clip2video_plugin.counted import counted
from clip2video_plugin.errors import TrainingError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.checkpoint import best_device
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.paths import expanded, printable
from clip2video_plugin.progress import Tell, bar
from clip2video_plugin.training.batches import Batch
from clip2video_plugin.training.config import TrainConfig, load_config
from clip2video_plugin.training.distributed import processes
from clip2video_plugin.training.prepare import Run, prepare
from clip2video_plugin.training.report import write_report
from clip2video_plugin.training.start import card_of
from clip2video_plugin.training.state import BEST, LAST, STATE, Log, load_state, save_state, writing
from clip2video_plugin.training.validate import validate
from clip2video_plugin.training.videos import name_of, split


@dataclass(frozen=True)
class TrainResult:
    """What a run left in its folder (``best/``, ``last/``, ``log.jsonl``, ``report.html``, ``state.pt``), and its end.

    ``best`` holds the text-to-video metrics of the best epoch on the validation videos, ``best_epoch`` its number from
    1; ``failed`` maps videos that could not be read to the reason.
    """

    folder: Path
    steps: int
    best: dict[str, float]
    best_epoch: int
    stopped_early: bool
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        return self.folder / BEST


def train(
    config: TrainConfig | str | Path,
    train_view: Any,
    val_view: Any = None,
    *,
    out: str | Path = "runs/train",
    captions_field: str = "captions",
    trained_on: str | None = None,
    resume: bool = False,
    progress: bool | Tell = True,
) -> TrainResult:
    """Trains a network on videos with captions and keeps the best epoch's weights as a checkpoint.

    Several processes started by torchrun share the work. A killed run goes on from its last state, to the weights
    it would have had (bit by bit on a CPU).

    Args:
        config: settings, or the name of a recipe or TOML file with them.
        train_view: a FiftyOne dataset or view with captions, or a sequence of ``CaptionedVideo``.
        val_view: the same, for choosing the best epoch; without it ``config.val_share`` of the training videos.
        out: folder of the run.
        captions_field: of the views, a string or a list of strings per sample.
        trained_on: the videos in words, which the checkpoint says of itself; by default the dataset's name.
        resume: go on with the run in ``out``, if there is one; of one that is finished, its result.
        progress: whether to show a progress bar; or a function that is called after every step with the number of steps
            done and ``total=``. What it raises stops the run once its state is saved.

    Raises:
        TrainingError: the settings or the data cannot be used, the views share a file, ``out`` holds a run, the run
            in it had other settings or data, or the loss is not finite.
    """
    config = config if isinstance(config, TrainConfig) else load_config(config)
    folder = expanded(out)
    with processes(config.device or str(best_device())) as place:
        if (folder / STATE).exists() and not resume:
            raise TrainingError(f"{folder} holds a run already; resume it (--resume), or choose another folder")
        videos, held = split(config, train_view, val_view, captions_field)
        card = card_of(config, trained_on or name_of(train_view) or counted(len(videos), "video"))
        run = prepare(config, videos, held, folder, place)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if resume and (folder / STATE).exists():
            run.progress = load_state(folder, config.to_dict(), run.data, run.parts)
        if run.finished:
            _say_finished(run, card)
        else:
            _loop(run, card, progress)
        done = run.progress
        return TrainResult(folder, done.step, done.best, done.best_epoch, done.stopped_early, dict(done.failed))


def _loop(run: Run, card: Card, progress: bool | Tell) -> None:
    """Steps until the run is finished or stopped; after each epoch a validation."""
    done, first = run.progress, run.place.first
    quiet, tell = not (first and progress is True), progress if first and callable(progress) else None
    log = Log(run.folder, done.step) if first else None
    batches = run.batches()
    try:
        with _interrupt() as interrupt, bar("Training", run.steps, unit="steps", quiet=quiet) as shown:
            while not run.finished:
                row = _step(run, batches)
                if log:
                    log.write(**row)
                shown(done.step, f"loss {row['loss']:.3f}, rate {row['lr']:.1e}, {row['videos/s']:.0f}/s")
                ended = done.step % run.per_epoch == 0 or done.step == run.steps
                if ended:
                    done.stopped_early = _end_of_epoch(run, card, log)
                stop = KeyboardInterrupt() if interrupt.is_set() else _raised(tell, done.step, run.steps)
                if ended or stop or done.step % run.config.save_every == 0:
                    _save(run, card)
                if stop:
                    raise stop
    finally:
        batches.close()
        if log:
            log.close()
        run.samples.close()


def _raised(tell: Tell | None, step: int, steps: int) -> Exception | None:
    """Tells how far the run is; returns what that raised, as the state is to be saved first."""
    try:
        if tell:
            tell(step, total=steps)
    except Exception as error:
        return error
    return None


def _step(run: Run, batches: Iterator[Batch]) -> dict[str, Any]:
    """One step of the optimiser; returns its line of the log."""
    began = time.perf_counter()
    run.optimiser.zero_grad(set_to_none=True)
    means, names = _gradients(run, batches)
    trained = [p for group in run.optimiser.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(trained, run.config.clip_norm or math.inf).item()
    _check_finite(run, "gradient norm", norm, names)
    rate = run.schedule.get_last_lr()
    run.optimiser.step()
    run.schedule.step()
    with torch.no_grad():
        run.network.logit_scale.clamp_(max=math.log(run.config.max_logit_scale))
    if run.average is not None:
        run.average.update_parameters(run.network)
    run.progress.step += 1
    return {
        "step": run.progress.step,
        **{name: round(value, 6) for name, value in means.items()},
        "lr": max(float(r) for r in rate),
        "gradient": round(norm, 6),
        "logit_scale": round(run.network.logit_scale.exp().item(), 4),
        "videos/s": round(len(names) * run.place.world / (time.perf_counter() - began), 2),
    }


def _gradients(run: Run, batches: Iterator[Batch]) -> tuple[dict[str, float], list[str]]:
    """Adds up the gradients of the parts of a step; returns the means of what is logged, and the videos' names."""
    parts = run.config.accumulate
    means: dict[str, float] = {}
    names: list[str] = []
    for part in range(parts):
        batch = next(batches)
        names += batch.names
        _report_failures(run, batch.failures)
        # Gradients of all processes are averaged once a step.
        last = part == parts - 1 or run.place.world == 1
        with nullcontext() if last else run.step.no_sync():  # type: ignore[operator]
            loss, hits = run.step(batch)
            values = {"loss": loss.loss.item(), "global_loss": loss.global_loss.item(), "batch R@1": hits.item()}
            if loss.aligned_loss is not None:
                values["aligned_loss"] = loss.aligned_loss.item()
            _check_finite(run, "loss", values["loss"], batch.names)
            (loss.loss / parts).backward()
        means = {name: means.get(name, 0.0) + value / parts for name, value in values.items()}
    return means, names


def _check_finite(run: Run, what: str, value: float, names: Sequence[str]) -> None:
    if not math.isfinite(value):
        some = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise TrainingError(
            f"step {run.progress.step + 1}: the {what} is {value} on the batch {some}; "
            f"lower learning_rate, or look at these videos. The last state is kept in {run.folder}"
        )


def _report_failures(run: Run, failures: Sequence[tuple[str, str]]) -> None:
    for name, reason in failures:
        if name not in run.progress.failed:
            run.progress.failed[name] = reason
            print(printable(f"c2v: {name} is left out: {reason}"), file=sys.stderr)


def _end_of_epoch(run: Run, card: Card, log: Log | None) -> bool:
    """Validates, keeps the best weights, and says whether to stop."""
    done, patience, stop = run.progress, run.config.patience, False
    epoch = math.ceil(done.step / run.per_epoch)
    if run.place.first:
        found = validate(run.weights, run.tokenizer, run.held, run.place.device)
        _report_failures(run, found.failures)
        if not found.metrics:
            raise TrainingError("none of the validation videos can be read")
        if found.metrics["R@1"] > done.best.get("R@1", -1.0):
            done.best, done.best_epoch = found.metrics, epoch
            save_checkpoint(run.folder / BEST, run.weights, run.tokenizer, card=card)
        assert log is not None
        log.write(step=done.step, epoch=epoch, validation=found.metrics, hardest=found.hardest)
        with writing(run.folder):
            write_report(run.folder)
        stop = bool(patience) and epoch - done.best_epoch >= patience
    if run.place.world > 1:
        told = torch.tensor(stop, device=run.place.device)
        dist.broadcast(told, 0)
        stop = bool(told)
    return stop


def _save(run: Run, card: Card) -> None:
    if run.place.first:
        if run.finished:
            save_checkpoint(run.folder / LAST, run.weights, run.tokenizer, card=card)
        save_state(run.folder, run.progress, run.config.to_dict(), run.data, run.parts)


def _say_finished(run: Run, card: Card) -> None:
    """For a run that ended before: writes the weights that are missing because the process was killed."""
    if run.place.first:
        how = "stopped early" if run.progress.stopped_early else "done"
        where = printable(run.folder)
        print(
            f"c2v: the run in {where} is finished ({how} after {counted(run.progress.step, 'step')})", file=sys.stderr
        )
        if not (run.folder / LAST).exists():
            save_checkpoint(run.folder / LAST, run.weights, run.tokenizer, card=card)


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that the step is finished and the state written; a second one stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def answer(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, answer)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
