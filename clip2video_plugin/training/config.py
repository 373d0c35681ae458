"""How a network is trained: every setting of a run, from a TOML file and ``--set``."""

from __future__ import annotations

import math
import os
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import TrainingError, first_line
from clip2video_plugin.paths import expanded

Optimiser = Literal["adamw", "reference"]
"""AdamW, which decays matrices only, or CLIP4Clip's optimiser."""
Negatives = Literal["other-videos", "reference"]
"""Whether another caption of the same video never counts as wrong, or does."""
TrainPrecision = Literal["auto", "float32", "bfloat16"]
"""That of the forward pass; ``auto`` is bfloat16 on GPUs that have it."""
PerEpoch = Literal["captions", "videos"]
"""What an epoch goes through once: every caption of a video, or every video with one of its captions."""
TrainSampling = Literal["uniform", "reference", "keyframes"]
"""Which frames a training takes, as the ``policy`` of ``read_frames``."""
CHOICES = {
    "optimiser": Optimiser,
    "negatives": Negatives,
    "precision": TrainPrecision,
    "per_epoch": PerEpoch,
    "sampling": TrainSampling,
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of a training run. ``[network]``, ``[train]`` and ``[val]`` are tables of the file.

    Attributes:
        model: checkpoint to start from, by name or folder; without one the network starts at random.
        network: fields of ModelConfig: all sizes for a start at random, else what to change of the
            checkpoint's. Weights that fit are taken over. Temporal parts that a CLIP lacks (``temporal``,
            ``alignment``) are made from its text tower (``with_temporal_parts``); others are drawn.
        frame_position_std: spread of freshly drawn frame positions; without words from a pretrained CLIP the
            small default teaches order only late.
        train, val: where the command line finds the videos, see ``find_captioned_videos``.
        val_share: of the training videos held out for validation when there is no validation set; at most 1,000.
        epochs, steps: length of the run; ``steps`` counts when it is not 0.
        per_epoch: a sample is every (video, caption) pair, or every video with one of its captions.
        batch_size: pairs per step over all processes; ``accumulate`` parts of it are embedded one after the
            other, each with negatives from itself alone.
        optimiser: ``adamw`` decays matrices only; ``reference`` is CLIP4Clip's
            (docs/explanation/network.md#training-recipe): no bias correction, its rule for decay, gradient norms also
            clipped per parameter.
        learning_rate: peak, of the temporal parts; CLIP's two towers and logit scale learn at
            ``clip_coefficient`` times it.
        warmup: share of the run in which the rate rises from 0; cosine after that.
        freeze_layers: -1 trains everything; 0 freezes patches, positions, tokens and the first norm (the
            reference); n the first n blocks of both towers as well.
        clip_norm: largest gradient norm. max_logit_scale: largest factor on the cosines.
        negatives: ``other-videos`` never counts another caption of the same video as wrong; ``reference`` does.
        precision: of the forward pass; ``auto`` is bfloat16 on GPUs that have it.
        recompute: keep only the inputs of each block of the image tower, and compute it again when going back.
        compile: let ``torch.compile`` have the image tower.
        ema: decay of a moving average of the weights, which is then what is validated and kept; 0 is none.
        sampling, fps, jitter: which frames (``read_frames``), and whether training varies them.
        cache: folder of sampled frames, uint8, filled as they are first read; cache_draws: samplings kept of each.
        workers: threads that read ahead.
        save_every: steps between states that ``--resume`` can go on from; always at the end of an epoch.
        patience: epochs without a better validation R@1 after which to stop; 0 never stops.
        device: "cpu", "cuda", ...; the best there is by default.
    """

    model: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    frame_position_std: float = 0.02
    train: dict[str, Any] = field(default_factory=dict)
    val: dict[str, Any] = field(default_factory=dict)
    val_share: float = 0.05
    epochs: int = 5
    steps: int = 0
    per_epoch: PerEpoch = "captions"
    batch_size: int = 128
    accumulate: int = 1
    optimiser: Optimiser = "adamw"
    learning_rate: float = 1e-4
    clip_coefficient: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.2
    warmup: float = 0.1
    freeze_layers: int = 0
    clip_norm: float = 1.0
    max_logit_scale: float = 100.0
    negatives: Negatives = "other-videos"
    precision: TrainPrecision = "auto"
    recompute: bool = False
    compile: bool = False
    ema: float = 0.0
    sampling: TrainSampling = "uniform"
    fps: float = 0.0
    jitter: bool = True
    cache: str = ""
    cache_draws: int = 1
    workers: int = 4
    seed: int = 0
    save_every: int = 500
    patience: int = 0
    device: str = ""

    def __post_init__(self) -> None:
        for name, kind in CHOICES.items():
            check_choice(name, getattr(self, name), kind, TrainingError)
        for name, low in LEAST.items():
            if not low <= getattr(self, name) < math.inf:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must lie in [0, 1)")
        if not 0 < self.learning_rate < math.inf:
            raise TrainingError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if self.batch_size % self.accumulate or self.batch_size // self.accumulate < 2:
            raise TrainingError(
                f"batch_size is {self.batch_size} and accumulate {self.accumulate}; "
                "every part needs the same number of pairs, 2 or more"
            )

    def __repr__(self) -> str:
        """The settings that are not the usual ones."""
        usual, own = TrainConfig().to_dict(), self.to_dict()
        return f"TrainConfig({', '.join(f'{name}={own[name]!r}' for name in own if own[name] != usual[name])})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


LEAST = {
    "epochs": 1, "steps": 0, "batch_size": 2, "accumulate": 1, "freeze_layers": -1, "cache_draws": 1, "workers": 1,
    "seed": 0, "save_every": 1, "patience": 0, "clip_coefficient": 0.0, "weight_decay": 0.0, "eps": 0.0, "fps": 0.0,
    "clip_norm": 0.0, "max_logit_scale": 1.0, "frame_position_std": 0.0,
}  # fmt: skip
SHARES = ("val_share", "warmup", "ema")


def recipes() -> dict[str, Path]:
    """The configurations that come with the package, by name."""
    folder = Path(str(files("clip2video_plugin.training").joinpath("recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_config(source: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Reads a TOML file, or a recipe by name, and applies ``key=value`` changes (``network.temporal=mean``).

    Raises:
        TrainingError: the file is missing or no TOML, or a key or value is not allowed.
    """
    path = recipes().get(str(source), expanded(source))
    if not os.path.isfile(path):
        raise TrainingError(f"no configuration {str(source)!r}; name a TOML file, or one of {', '.join(recipes())}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # of text, of TOML, of lists in lists
        raise TrainingError(f"{path} cannot be read: {first_line(error)}") from None
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise TrainingError(f"--set {change!r} is no key=value")
        table, _, name = key.strip().rpartition(".")
        where = values.setdefault(table, {}) if table else values
        if not isinstance(where, dict):
            raise TrainingError(f"--set {change!r}: {table} is not a table")
        where[name] = _value(text.strip())
    return config_of(values, source=str(path))


def config_of(values: dict[str, Any], source: str = "configuration") -> TrainConfig:
    """A configuration from plain values, each checked against its type."""
    kinds = {f.name: type(getattr(TrainConfig(), f.name)) for f in fields(TrainConfig)}
    checked = dict[str, Any]()
    for name, value in values.items():
        if name not in kinds:
            raise TrainingError(f"{source}: there is no setting {name!r}; there are {', '.join(kinds)}")
        kind = kinds[name]
        if kind is float and _is_whole(value):
            value = float(value)
        if kind is tuple and isinstance(value, list | tuple):
            value = tuple(float(v) if _is_whole(v) else v for v in value)
            if len(value) != 2 or not all(isinstance(v, float) and 0 <= v < 1 for v in value):
                raise TrainingError(f"{source}: {name} is {_shown(value)}; expected two numbers in [0, 1)")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TrainingError(f"{source}: {name} is {_shown(value)}; expected {KINDS[kind]}")
        checked[name] = value
    return TrainConfig(**checked)


def _is_whole(value: Any) -> bool:
    """Whether it is a whole number that a float can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _shown(value: Any) -> str:
    try:
        return repr(value)[:200]
    except (ValueError, RecursionError):  # Python writes out no number of over 4,300 digits
        return "a value too long to show"


def with_changes(config: TrainConfig, **changes: Any) -> TrainConfig:
    """The configuration with some settings replaced, checked again."""
    return config_of(config.to_dict() | changes)


KINDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    tuple: "a list",
}


def _value(text: str) -> Any:
    """A TOML value, or else the text itself, so that names need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
