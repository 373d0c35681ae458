"""Foreign weights to checkpoint folders: read, recognised, converted and written, a tensor at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.config import Activation, ModelConfig
from clip2video_plugin.model.formats import recognise
from clip2video_plugin.model.formats.form import Given
from clip2video_plugin.model.formats.openai import openai_part
from clip2video_plugin.model.installed import CONFIG, EMBEDDED, models_folder
from clip2video_plugin.model.network import Clip2Video
from clip2video_plugin.model.parts import fitted, tower_sizes
from clip2video_plugin.model.reference import code_heads, in_memory
from clip2video_plugin.model.saving import write_checkpoint
from clip2video_plugin.model.start import Readers, with_temporal_parts
from clip2video_plugin.model.weights import CLIP_EXTRAS, Weights, read_weights
from clip2video_plugin.paths import expanded

__all__ = ["import_checkpoint", "initialise_from_clip", "read_weights"]  # the last lives next door now
PAPER_WORDS = 32  # max_words of the paper
MOST_HELD = 64 << 20  # bytes of a mapped file that stay in memory after they were written


def import_checkpoint(
    path: str | Path,
    *,
    name: str | None = None,
    init_from_clip: bool = False,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    heads: int | tuple[int, ...] | None = None,
    activation: Activation | None = None,
    card: Card | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Converts weights to a checkpoint folder below the models folder, and returns that. Replaces one of that name.

    A plain CLIP becomes mean pooling over frames, which works at once.

    Args:
        path: a file or a folder of one of ``formats.FORMATS``.
        name: of the checkpoint; the file's or folder's name, simplified, by default.
        init_from_clip: makes of a plain CLIP a start for training instead: temporal parts from its text tower
            (docs/explanation/network.md#start-from-a-clip), untrained.
        options: ``max_frames``, ``max_words``; of a CLIP2Video also the others of ``from_reference``. What is not
            given is read from the keys, and else the paper's; a plain CLIP takes as many words as CLIP does.
        seed: of the alignment centres, which are random when initialised from CLIP.
        heads: of the image tower, or of image and text tower, where the file does not say.
        activation: of the towers, where the file does not say: ``quick_gelu``, ``gelu`` or ``gelu_tanh``.
        card: what is known of the weights beside the file.
        tell: called with a line that says what was left out, and one that says what was replaced.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or of another architecture, or does not say what is
            needed.
    """
    file = expanded(path)
    name = name or default_name(file)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name == EMBEDDED:
        raise CheckpointError(f"name is {name!r}; give one of letters, digits, dots and dashes, not {EMBEDDED!r}")
    if activation is not None:
        check_choice("activation", activation, Activation, CheckpointError)
    given = Given(heads=_heads(heads), activation=activation, options=dict(options or {}))
    weights = read_weights(file)
    made = recognise(weights).convert(weights, given)
    config, tensors = made.config, made.tensors
    known = {key: value for key, value in asdict(card or Card()).items() if value is not None}
    about = replace(made.card, **known)
    if init_from_clip:
        if config.temporal != "mean" or config.alignment != "none" or config.towers != "clip":
            raise CheckpointError(f"{file} is no OpenAI CLIP or other plain CLIP; --init-from-clip does not apply")
        words = given.options.get("max_words", min(PAPER_WORDS, config.context_length))
        config, tensors = with_temporal_parts(replace(config, max_words=words), tensors, seed=seed)
        about = replace(about, training="untrained", trained_on=None)
    folder = models_folder() / name
    there = (folder / CONFIG).is_file()
    write_checkpoint(folder, config, _sparing(weights, tensors), made.tokenizer, card=about)
    if tell and (dropped := (*weights.dropped, *made.dropped)):
        tell(f"left out, having no place here: {', '.join(dropped)}")
    if tell and there:
        tell(f"replaced the checkpoint {name!r} that was there")
    return folder


def _sparing(weights: Weights, tensors: Mapping[str, Callable[[], Tensor]]) -> Readers:
    """Frees the memory of what was read of the file whenever more than MOST_HELD bytes were read since."""
    held = 0

    def sparing(read: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def next_one() -> Tensor:
            nonlocal held
            if held > MOST_HELD:
                weights.give_back()
                held = 0
            tensor = read()
            held += tensor.nbytes
            return tensor

        return next_one

    return {key: sparing(read) for key, read in tensors.items()}


def default_name(path: Path) -> str:
    """A checkpoint's name, made from the name of its file or folder, or of the model in a Hugging Face cache."""
    path = path.absolute()
    cached = path.parent.name == "snapshots"  # models--OWNER--MODEL/snapshots/REVISION
    name = (path.parents[1].name.rpartition("--")[2] if cached else path.name).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", name.removesuffix(".pt").removesuffix(".pth").removesuffix(".safetensors"))


def _heads(heads: int | tuple[int, ...] | None) -> tuple[int, ...] | None:
    numbers = (heads,) if isinstance(heads, int) else heads
    if numbers is not None and not (1 <= len(numbers) <= 2 and all(type(n) is int and n > 0 for n in numbers)):
        raise CheckpointError(f"heads is {heads!r}; give those of the image tower, 16, or of image and text, 16,20")
    return numbers


def initialise_from_clip(state: Mapping[str, Tensor], *, seed: int = 0, centers: int = 5) -> Clip2Video:
    """A network of the paper's form whose temporal parts come from an OpenAI CLIP (``with_temporal_parts``).

    Frame positions and types from the text positions, temporal blocks from the text blocks; the
    alignment centres are drawn, N(0, 1/64).

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen, or the widths of CLIP's text
            tower and embedding differ, so that its blocks do not fit.
    """
    sizes = tower_sizes(state, openai_part)
    sizes |= {"vision_heads": code_heads(sizes["vision_width"]), "text_heads": code_heads(sizes["text_width"])}
    plain = ModelConfig(**sizes, temporal="mean", alignment="none", temporal_heads=1)
    tensors = fitted(state, openai_part, plain, unused=CLIP_EXTRAS)
    config, made = with_temporal_parts(plain, tensors, seed=seed, centers=centers)
    return in_memory(config, {key: read() for key, read in made.items()})
