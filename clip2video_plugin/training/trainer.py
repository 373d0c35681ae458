"""``train``: the loop."""

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
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.model import Clip2Video
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.checkpoint import best_device
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.paths import expanded, printable
from clip2video_plugin.progress import bar
from clip2video_plugin.training.batches import Batch, Collate, Order, Samples, companions, load_batches
from clip2video_plugin.training.cache import FrameCache
from clip2video_plugin.training.config import TrainConfig, load_config
from clip2video_plugin.training.distributed import Place, processes
from clip2video_plugin.training.fingerprint import fingerprint
from clip2video_plugin.training.optimiser import freeze, make_optimiser, make_schedule
from clip2video_plugin.training.report import write_report
from clip2video_plugin.training.start import card_of, start
from clip2video_plugin.training.state import BEST, LAST, STATE, Log, Progress, load_state, save_state
from clip2video_plugin.training.step import Step
from clip2video_plugin.training.validate import validate
from clip2video_plugin.training.videos import CaptionedVideo, name_of, split


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
    progress: bool = True,
) -> TrainResult:
    """Trains a network on videos with captions and keeps the best epoch's weights as a checkpoint.

    Several processes started by torchrun share the work. A killed run goes on from its last state, to the weights
    it would have had (bit by bit on a CPU).

    Args:
        config: settings, or the name of a recipe or TOML file with them.
        train_view: a FiftyOne dataset or view with captions, or a sequence of ``CaptionedVideo``.
        val_view: the same, for choosing the best epoch; without it ``config.val_share`` of the training videos.
        out: folder of the run.
        trained_on: the videos in words, which the checkpoint says of itself; by default the dataset's name.
        resume: go on with the run in ``out``, if there is one; of one that is finished, its result.

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
        words = trained_on or name_of(train_view) or f"{len(videos)} videos"
        return _Run(config, videos, held, folder, place, progress, card_of(config, words)).go(resume)


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        videos: Sequence[CaptionedVideo],
        held: Sequence[CaptionedVideo],
        folder: Path,
        place: Place,
        show: bool,
        card: Card,
    ) -> None:
        self.config, self.folder, self.place = config, folder, place
        self.show, self.card = show and place.first, card
        if config.batch_size % (config.accumulate * place.world):
            raise TrainingError(
                f"batch_size is {config.batch_size}; it must be a multiple of accumulate x processes, "
                f"{config.accumulate} x {place.world}"
            )
        network, self.tokenizer = start(config, videos)
        sizes = network.config
        cache = None
        if config.cache:
            cache = FrameCache(expanded(config.cache), config.cache_draws, sizes.image_size)

        def samples(these: Sequence[CaptionedVideo], *, training: bool) -> Samples:
            return Samples(
                these,
                count=sizes.max_frames,
                **sizes.preprocessing.options,
                seed=config.seed,
                jitter=training and config.jitter,
                per_caption=training and config.per_epoch == "captions",
                cache=cache,
            )

        self.samples, self.held = samples(videos, training=True), samples(held, training=False)
        if cache:
            cache.check_room(self.samples.uncached() + self.held.uncached())
        self.data = fingerprint(videos, held)
        self.per_epoch = len(self.samples) // config.batch_size
        if not self.per_epoch:
            raise TrainingError(
                f"there are {len(self.samples)} pairs to train on, fewer than batch_size {config.batch_size}; lower it"
            )
        self.steps = config.steps or config.epochs * self.per_epoch
        self.network = network.to(place.device).train()
        freeze(network, config.freeze_layers)
        network.image.transformer.recompute = config.recompute
        if config.compile:
            network.image.compile()
        step = Step(
            network, mask_same_video=config.negatives == "other-videos", autocast=_autocast(config, place.device)
        )
        self.optimiser = make_optimiser(network, config)
        self.schedule = make_schedule(self.optimiser, config, self.steps)
        self.average = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None  # type: ignore[no-untyped-call]
        )
        self.step: nn.Module = step
        if place.world > 1:
            ids = [place.device.index] if place.device.type == "cuda" else None
            self.step = DistributedDataParallel(step, device_ids=ids)
        self.parts = {"network": network, "optimiser": self.optimiser, "schedule": self.schedule}
        if self.average is not None:
            self.parts["average"] = self.average
        self.progress = Progress()

    @property
    def weights(self) -> Clip2Video:
        """What is validated and kept."""
        if self.average is None:
            return self.network
        network = self.average.module
        assert isinstance(network, Clip2Video)
        return network

    def go(self, resume: bool) -> TrainResult:
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume and (self.folder / STATE).exists():
            self.progress = load_state(self.folder, self.config.to_dict(), self.data, self.parts)
            if self.finished:
                return self._already_finished()
        log = Log(self.folder, self.progress.step) if self.place.first else None
        order = Order(
            len(self.samples),
            companions(self.samples),
            step_size=self.config.batch_size,
            parts=self.config.accumulate,
            start=self.progress.step,
            stop=self.steps,
            seed=self.config.seed,
            rank=self.place.rank,
            world=self.place.world,
        )
        sizes = self.network.config
        batches = load_batches(
            self.samples,
            order,
            Collate(self.tokenizer, sizes.max_frames, sizes.max_words),
            workers=self.config.workers,
            pin=self.place.device.type == "cuda",
        )
        try:
            with _interrupt() as interrupt, bar("Training", self.steps, unit="steps", quiet=not self.show) as shown:
                while not self.finished:
                    row = self._step(batches)
                    ended = self.progress.step % self.per_epoch == 0 or self.progress.step == self.steps
                    if log:
                        log.write(**row)
                    shown(self.progress.step, f"loss {row['loss']:.3f}, rate {row['lr']:.1e}, {row['videos/s']:.0f}/s")
                    if ended:
                        self.progress.stopped_early = self._end_of_epoch(log)
                    if ended or interrupt.is_set() or self.progress.step % self.config.save_every == 0:
                        self._save()
                    if interrupt.is_set():
                        raise KeyboardInterrupt
        finally:
            batches.close()
            if log:
                log.close()
        return self._result()

    @property
    def finished(self) -> bool:
        return self.progress.step >= self.steps or self.progress.stopped_early

    def _result(self) -> TrainResult:
        done = self.progress
        return TrainResult(self.folder, done.step, done.best, done.best_epoch, done.stopped_early, dict(done.failed))

    def _already_finished(self) -> TrainResult:
        if self.place.first:
            how = "stopped early" if self.progress.stopped_early else "done"
            where = printable(self.folder)
            print(f"c2v: the run in {where} is finished ({how} after {self.progress.step} steps)", file=sys.stderr)
            if not (self.folder / LAST).exists():
                save_checkpoint(self.folder / LAST, self.weights, self.tokenizer, card=self.card)
        return self._result()

    def _step(self, source: Iterator[Batch]) -> dict[str, Any]:
        """One step of the optimiser; returns its line of the log."""
        began = time.perf_counter()
        parts = self.config.accumulate
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        videos = 0
        for part in range(parts):
            batch = next(source)
            self._report_failures(batch.failures)
            # Gradients of all processes are averaged once a step.
            last = part == parts - 1 or self.place.world == 1
            with nullcontext() if last else self.step.no_sync():  # type: ignore[operator]
                loss, hits = self.step(batch)
                values = {"loss": loss.loss.item(), "global_loss": loss.global_loss.item(), "batch R@1": hits.item()}
                if loss.aligned_loss is not None:
                    values["aligned_loss"] = loss.aligned_loss.item()
                if not math.isfinite(values["loss"]):
                    raise TrainingError(self._not_finite("loss", values["loss"], batch))
                (loss.loss / parts).backward()
            sums = {name: sums.get(name, 0.0) + value / parts for name, value in values.items()}
            videos += len(batch.names) * self.place.world
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(trained, self.config.clip_norm or math.inf).item()
        if not math.isfinite(norm):
            raise TrainingError(self._not_finite("gradient norm", norm, batch))
        rate = self.schedule.get_last_lr()
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            self.network.logit_scale.clamp_(max=math.log(self.config.max_logit_scale))
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.progress.step += 1
        return {
            "step": self.progress.step,
            **{name: round(value, 6) for name, value in sums.items()},
            "lr": max(float(r) for r in rate),
            "gradient": round(norm, 6),
            "logit_scale": round(self.network.logit_scale.exp().item(), 4),
            "videos/s": round(videos / (time.perf_counter() - began), 2),
        }

    def _not_finite(self, what: str, value: float, batch: Batch) -> str:
        names = ", ".join(batch.names[:4]) + (", ..." if len(batch.names) > 4 else "")
        return (
            f"step {self.progress.step + 1}: the {what} is {value} on the batch {names}; "
            f"lower learning_rate, or look at these videos. The last state is kept in {self.folder}"
        )

    def _report_failures(self, failures: Sequence[tuple[str, str]]) -> None:
        for name, reason in failures:
            if name not in self.progress.failed:
                self.progress.failed[name] = reason
                print(printable(f"c2v: {name} is left out: {reason}"), file=sys.stderr)

    def _end_of_epoch(self, log: Log | None) -> bool:
        """Validates, keeps the best weights, and says whether to stop."""
        epoch = math.ceil(self.progress.step / self.per_epoch)
        patience, stop = self.config.patience, False
        if self.place.first:
            found = validate(self.weights, self.tokenizer, self.held, self.place.device)
            self._report_failures(found.failures)
            if not found.metrics:
                raise TrainingError("none of the validation videos can be read")
            if found.metrics["R@1"] > self.progress.best.get("R@1", -1.0):
                self.progress.best, self.progress.best_epoch = found.metrics, epoch
                save_checkpoint(self.folder / BEST, self.weights, self.tokenizer, card=self.card)
            assert log is not None
            log.write(step=self.progress.step, epoch=epoch, validation=found.metrics, hardest=found.hardest)
            write_report(self.folder)
            stop = bool(patience) and epoch - self.progress.best_epoch >= patience
        if self.place.world > 1:
            told = torch.tensor(stop, device=self.place.device)
            dist.broadcast(told, 0)
            stop = bool(told)
        return stop

    def _save(self) -> None:
        if self.place.first:
            if self.finished:
                save_checkpoint(self.folder / LAST, self.weights, self.tokenizer, card=self.card)
            save_state(self.folder, self.progress, self.config.to_dict(), self.data, self.parts)


def _autocast(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    if config.precision == "bfloat16":
        return torch.bfloat16
    # On CPUs autocast was measured slower, even where they have instructions for bfloat16.
    on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if config.precision == "auto" and on_gpu else None


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
