"""``prepare``: from settings and videos to all that a run is made of."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.model import Clip2Video
from clip2video_plugin.paths import expanded
from clip2video_plugin.training.batches import Batch, Collate, Order, Samples, companions, load_batches
from clip2video_plugin.training.cache import FrameCache
from clip2video_plugin.training.config import TrainConfig
from clip2video_plugin.training.distributed import Place
from clip2video_plugin.training.fingerprint import fingerprint
from clip2video_plugin.training.optimiser import freeze, make_optimiser, make_schedule
from clip2video_plugin.training.start import start
from clip2video_plugin.training.state import Progress
from clip2video_plugin.training.step import Step
from clip2video_plugin.training.videos import CaptionedVideo


@dataclass
class Run:
    """A run before its first step, or wherever ``progress`` says that it stands.

    Attributes:
        place: this process among those that share the work, and its device.
        network: what is trained; ``step`` is its forward pass from a batch to the loss, over all processes.
        average: of the network's weights, moving; None without one.
        samples, held: what is trained on and validated with; ``data`` stands for both.
        per_epoch, steps: steps of an epoch, and of the whole run.
    """

    config: TrainConfig
    folder: Path
    place: Place
    network: Clip2Video
    tokenizer: Tokenizer
    samples: Samples
    held: Samples
    data: dict[str, str]
    per_epoch: int
    steps: int
    step: nn.Module
    optimiser: Optimizer
    schedule: LambdaLR
    average: AveragedModel | None
    progress: Progress = field(default_factory=Progress)

    @property
    def weights(self) -> Clip2Video:
        """What is validated and kept."""
        if self.average is None:
            return self.network
        network = self.average.module
        assert isinstance(network, Clip2Video)
        return network

    @property
    def parts(self) -> dict[str, Any]:
        """What a resumed run must have as it was."""
        parts = {"network": self.network, "optimiser": self.optimiser, "schedule": self.schedule}
        return parts if self.average is None else {**parts, "average": self.average}

    @property
    def finished(self) -> bool:
        return self.progress.step >= self.steps or self.progress.stopped_early

    def batches(self) -> Generator[Batch]:
        """This process's batches from where the run stands to its end, ``config.accumulate`` to a step."""
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
        collate = Collate(self.tokenizer, sizes.max_frames, sizes.max_words)
        pin = self.place.device.type == "cuda"
        return load_batches(self.samples, order, collate, workers=self.config.workers, pin=pin)


def prepare(
    config: TrainConfig, videos: Sequence[CaptionedVideo], held: Sequence[CaptionedVideo], folder: Path, place: Place
) -> Run:
    """Raises TrainingError when the settings do not go together, or with the videos, or the cache has no room."""
    if config.batch_size % (config.accumulate * place.world):
        raise TrainingError(
            f"batch_size is {config.batch_size}; it must be a multiple of accumulate x processes, "
            f"{config.accumulate} x {place.world}"
        )
    network, tokenizer = start(config, videos)
    sizes = network.config
    cache = None
    if config.cache:
        cache = FrameCache(expanded(config.cache), config.cache_draws, sizes.image_size)

    def sampled(these: Sequence[CaptionedVideo], *, training: bool) -> Samples:
        return Samples(
            these,
            count=sizes.max_frames,
            **sizes.preprocessing.options,
            seed=config.seed,
            jitter=training and config.jitter,
            per_caption=training and config.per_epoch == "captions",
            cache=cache,
        )

    samples, held_samples = sampled(videos, training=True), sampled(held, training=False)
    if cache:
        cache.check_room(samples.uncached() + held_samples.uncached())
    data = fingerprint(videos, held)
    per_epoch = len(samples) // config.batch_size
    if not per_epoch:
        raise TrainingError(
            f"there are {len(samples)} pairs to train on, fewer than batch_size {config.batch_size}; lower it"
        )
    steps = config.steps or config.epochs * per_epoch
    network = network.to(place.device).train()
    freeze(network, config.freeze_layers)
    network.image.transformer.recompute = config.recompute
    if config.compile:
        network.image.compile()
    optimiser = make_optimiser(network, config)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None  # type: ignore[no-untyped-call]
    return Run(
        config=config,
        folder=folder,
        place=place,
        network=network,
        tokenizer=tokenizer,
        samples=samples,
        held=held_samples,
        data=data,
        per_epoch=per_epoch,
        steps=steps,
        step=_forward(network, config, place),
        optimiser=optimiser,
        schedule=make_schedule(optimiser, config, steps),
        average=average,
    )


def _forward(network: Clip2Video, config: TrainConfig, place: Place) -> nn.Module:
    step = Step(network, mask_same_video=config.negatives == "other-videos", autocast=_autocast(config, place.device))
    if place.world == 1:
        return step
    return DistributedDataParallel(step, device_ids=[place.device.index] if place.device.type == "cuda" else None)


def _autocast(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    if config.precision == "bfloat16":
        return torch.bfloat16
    # On CPUs autocast was measured slower, even where they have instructions for bfloat16.
    on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if config.precision == "auto" and on_gpu else None
