"""The sizes and the variant of a CLIP2Video network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from clip2video_plugin.errors import CheckpointError

Temporal = Literal["mean", "transformer", "difference"]
Difference = Literal["subtract", "mlp", "attention"]
Alignment = Literal["none", "frames", "clips", "difference"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of a CLIP2Video network; paper sections in brackets.

    Attributes:
        image_size, patch_size: pixels; ``image_size`` is a multiple of ``patch_size``.
        embed_dim: D, the width shared by both towers' outputs and by the temporal modules.
        temporal: how frames become the global vector: ``mean`` pooling, a temporal
            ``transformer``, or the transformer over frames and their ``difference`` tokens
            (temporal difference block, TDB, section 3.2).
        difference: how a TDB difference token is made from two neighbouring frames.
        alignment: tokens of the temporal alignment block (TAB, section 3.3): ``none`` (no
            block), the ``frames`` alone, frames and ``clips`` (every other frame through one
            transformer block), or clips with ``difference`` tokens among them.
        centers: K, the number of shared centres of the alignment block.
        center_weight: w in [0, 1], weight of the global part in the score.
        max_frames, max_words: F and L, the padded lengths the model was made for. A video's
            vector depends on F (padding is visible to the last difference token).
    """

    image_size: int
    patch_size: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vocab_size: int
    context_length: int
    text_width: int
    text_layers: int
    text_heads: int
    embed_dim: int
    temporal: Temporal = "difference"
    difference: Difference = "attention"
    temporal_layers: int = 4
    temporal_heads: int = 8
    alignment: Alignment = "difference"
    centers: int = 5
    center_weight: float = 0.5
    max_frames: int = 12
    max_words: int = 32

    def __post_init__(self) -> None:
        for name, kind in (("temporal", Temporal), ("difference", Difference), ("alignment", Alignment)):
            value = getattr(self, name)
            if value not in get_args(kind):
                raise CheckpointError(f"config: {name} is {value!r}; allowed are {', '.join(get_args(kind))}")
        sizes = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "int"}
        for name, value in sizes.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckpointError(f"config: {name} is {value!r}; it must be a positive whole number")
        if self.image_size % self.patch_size:
            raise CheckpointError(
                f"config: image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        for width, heads in (
            ("vision_width", "vision_heads"),
            ("text_width", "text_heads"),
            ("embed_dim", "temporal_heads"),
        ):
            if sizes[width] % sizes[heads]:
                raise CheckpointError(f"config: {width} {sizes[width]} is not a multiple of {heads} {sizes[heads]}")
        if not 0.0 <= self.center_weight <= 1.0:
            raise CheckpointError(f"config: center_weight is {self.center_weight}; it must lie in [0, 1]")
        if self.max_words < 2 or self.max_words > self.context_length:
            raise CheckpointError(f"config: max_words is {self.max_words}; allowed are 2 to {self.context_length}")
        if self.temporal != "mean" and self.max_frames > self.context_length:
            raise CheckpointError(
                f"config: max_frames {self.max_frames} exceeds the {self.context_length} frame positions"
            )
        if self.alignment == "clips" and self.temporal == "mean":
            raise CheckpointError("config: alignment 'clips' needs frame positions; temporal 'mean' has none")
        if self.alignment == "difference" and self.temporal != "difference":
            raise CheckpointError("config: alignment 'difference' needs temporal 'difference', whose block it shares")
        if self.temporal == "difference" and self.max_frames < (3 if self.alignment == "difference" else 2):
            raise CheckpointError(f"config: max_frames {self.max_frames} is too few to take differences of frames")

    @property
    def vector_dim(self) -> int:
        """Length of the one vector that stands for a video: 2D with alignment block, else D."""
        return self.embed_dim * (1 if self.alignment == "none" else 2)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Raises CheckpointError when a field is missing or unknown."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise CheckpointError(f"config: unknown fields {', '.join(unknown)}; made by a newer version?")
        try:
            return cls(**values)
        except TypeError as error:
            raise CheckpointError(f"config: {error}") from None
