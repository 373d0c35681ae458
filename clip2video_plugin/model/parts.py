"""Where the parameters of our network lie in a foreign file: names and shapes are checked before a number is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import ModelConfig, Towers
from clip2video_plugin.model.network import skeleton

NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
MOST_LISTED = 8  # of the keys that do not fit


@dataclass(frozen=True)
class Part:
    """One of our parameters in a file: ``names``, joined along the first axis, and whether it lies ``transposed``."""

    names: tuple[str, ...]
    transposed: bool = False

    def each(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of every one of ``names``, where ours has ``shape``."""
        shape = shape[::-1] if self.transposed else shape
        return (shape[0] // len(self.names), *shape[1:]) if shape else shape

    def whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Ours, where every one of ``names`` has ``shape``."""
        shape = (shape[0] * len(self.names), *shape[1:]) if shape else shape
        return shape[::-1] if self.transposed else shape


Layout = Callable[[str], Part]  # from the name of one of our parameters


def tower_sizes(tensors: Mapping[str, Tensor], layout: Layout, towers: Towers = "clip") -> dict[str, Any]:
    """What the tensors of a CLIP or SigLIP say, as fields of ModelConfig: all but heads and activation.

    Raises:
        CheckpointError: a tensor that sizes are read from is missing, or of another form.
    """

    def shape(key: str, ndim: int) -> tuple[int, ...]:
        part = layout(key)
        name = part.names[0]
        if name not in tensors:
            raise CheckpointError(f"missing {name}, from which sizes are read; is the file whole?")
        if tensors[name].ndim != ndim:
            raise CheckpointError(f"misshapen {name}: {list(tensors[name].shape)}, expected {ndim} dimensions")
        return part.whole(tuple(tensors[name].shape))

    def count(tower: str) -> int:
        """Of blocks, whether or not the first ones are there."""
        start = layout(f"{tower}.transformer.resblocks.0.ln_1.weight").names[0].split(".0.")[0] + "."
        return len({name.removeprefix(start).split(".")[0] for name in tensors if name.startswith(start)})

    def mlp(tower: str, width: int) -> int | None:
        hidden = shape(f"{tower}.transformer.resblocks.0.mlp.c_fc.weight", 2)[0]
        return None if hidden == 4 * width else hidden

    width, _, height, patch = shape("image.conv1.weight", 4)
    positions, clip = shape("image.positional_embedding", 2)[0], towers == "clip"
    grid = round((positions - clip) ** 0.5)
    if grid**2 != positions - clip or height != patch:
        raise CheckpointError(
            f"{positions} positions and patches of {height} x {patch}: only square images "
            f"{'with one class token ' if clip else ''}are read"
        )
    vocab_size, text_width = shape("text.token_embedding.weight", 2)
    return {
        "image_size": patch * grid,
        "patch_size": patch,
        "vision_width": width,
        "vision_layers": count("image"),
        "vision_mlp_width": mlp("image", width),
        "vocab_size": vocab_size,
        "context_length": shape("text.positional_embedding", 2)[0],
        "text_width": text_width,
        "text_layers": count("text"),
        "text_mlp_width": mlp("text", text_width),
        "embed_dim": shape("text.text_projection", 2)[1] if clip else shape("text.head.weight", 2)[0],
    }


def fitted(
    tensors: Mapping[str, Tensor],
    layout: Layout,
    config: ModelConfig,
    *,
    unused: Mapping[str, tuple[int, ...]] | Collection[str] = (),
    most: int | None = MOST_LISTED,
) -> dict[str, Callable[[], Tensor]]:
    """A function for every parameter of the network of ``config`` that reads it from ``tensors``.

    Args:
        unused: names that may be there beside those of ``layout``; with their shapes, where those are known.
        most: keys that an error lists.

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen, or hold what are no floating numbers.
    """
    shapes = {key: tuple(value.shape) for key, value in skeleton(config).state_dict().items()}
    parts = {key: layout(key) for key in shapes}
    expected = {name: part.each(shapes[key]) for key, part in parts.items() for name in part.names}
    for name in (name for name, shape in expected.items() if shape == () and name in tensors):
        if tensors[name].numel() == 1:
            expected[name] = tuple(tensors[name].shape)  # some writers store a scalar as a vector of one
    for name in expected:
        if name in tensors and tensors[name].dtype not in NUMBERS:
            raise CheckpointError(
                f"{name} holds {tensors[name].dtype}; weights are floating numbers of 16 bits or more. "
                "Of a quantised model, take the original"
            )
    known = (
        dict(unused) if isinstance(unused, Mapping) else {n: tuple(tensors[n].shape) for n in unused if n in tensors}
    )
    check_keys(tensors, expected | known, most=most)

    def reading(part: Part, shape: tuple[int, ...]) -> Callable[[], Tensor]:
        def read() -> Tensor:
            found = [tensors[name] for name in part.names]
            whole = found[0] if len(found) == 1 else torch.cat(found)
            return (whole.t() if part.transposed else whole).detach().reshape(shape)

        return read

    return {key: reading(parts[key], shapes[key]) for key in shapes}


class Shaped(Protocol):
    """A tensor, or what is known of one in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_keys(
    state: Mapping[str, Shaped], expected: Mapping[str, tuple[int, ...]], *, most: int | None = None
) -> None:
    """Raises CheckpointError that lists the missing, unexpected and misshapen keys: all, or the first ``most``."""
    problems = [f"missing {key} {list(shape)}" for key, shape in expected.items() if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in expected]
    problems += [
        f"misshapen {key}: {list(state[key].shape)}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    if problems:
        more = f"; and {len(problems) - most} more" if most and len(problems) > most else ""
        raise CheckpointError(f"{len(problems)} keys do not fit the network: " + "; ".join(problems[:most]) + more)
