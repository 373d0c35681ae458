"""The sizes and the variant of a network, and how its pictures are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.pixels import CLIP_MEAN, CLIP_STD, Interpolation, Preprocessing, Resize

Towers = Literal["clip", "siglip"]
Activation = Literal["quick_gelu", "gelu", "gelu_tanh"]
"""That of every MLP: z sigmoid(1.702 z), GELU, or its tanh form."""
Temporal = Literal["mean", "transformer", "difference"]
Difference = Literal["subtract", "mlp", "attention"]
Alignment = Literal["none", "frames", "clips", "difference"]

# Far above those of any model, and so low that the names and shapes of all parameters are there at once.
MOST_LAYERS, MOST_SIDE, MOST = 500, 1 << 14, 1 << 20


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of a CLIP2Video network (docs/explanation/network.md#variants).

    Attributes:
        image_size, patch_size: pixels; ``image_size`` is a multiple of ``patch_size``, or SigLIP leaves out the rest.
        embed_dim: D, the width shared by both towers' outputs and by the temporal modules.
        temporal: how frames become the global vector: ``mean`` pooling, a temporal
            ``transformer``, or the transformer over frames and their ``difference`` tokens
            (temporal difference block, TDB; section 3.2 of the paper).
        difference: how a TDB difference token is made from two neighbouring frames.
        alignment: tokens of the temporal alignment block (TAB; section 3.3 of the paper): ``none`` (no
            block), the ``frames`` alone, frames and ``clips`` (every other frame through one
            transformer block), or clips with ``difference`` tokens among them.
        centers: K, the number of shared centres of the alignment block.
        center_weight: w in [0, 1], weight of the global part in the score.
        max_frames, max_words: F and L, the padded lengths the model was made for. A video's
            vector depends on F (padding is visible to the last difference token).
        towers: ``clip`` (class token, sentence at the end token) or ``siglip`` (attention pooling,
            sentence at the last position, a bias beside the scale).
        activation: of every MLP: z sigmoid(1.702 z), GELU, or its tanh form.
        norm_eps: of the towers' layer norms; the temporal blocks' is 1e-12.
        vision_mlp_width, text_mlp_width: 4 times the tower's width where None.
        image_mean, image_std: RGB, on the scale [0, 1].
        resize: shorter side to ``image_size`` and centre ``crop``, or ``squash`` both sides to it.
        interpolation: of the resize, antialiased.
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
    towers: Towers = "clip"
    activation: Activation = "quick_gelu"
    norm_eps: float = 1e-5
    vision_mlp_width: int | None = None
    text_mlp_width: int | None = None
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        for name in ("image_mean", "image_std"):
            object.__setattr__(self, name, _rgb(name, getattr(self, name)))  # a list in JSON
        for name, kind in CHOICES.items():
            check_choice(f"config: {name}", getattr(self, name), kind, CheckpointError)
        sizes = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "int"}
        given = {name: getattr(self, name) for name in ("vision_mlp_width", "text_mlp_width")}
        sizes |= {name: value for name, value in given.items() if value is not None}
        for name, value in sizes.items():
            most = MOST_LAYERS if name.endswith("_layers") else MOST_SIDE if name == "image_size" else MOST
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise CheckpointError(
                    f"config: {name} is {value!r}; it must be a positive whole number, of at most {most}"
                )
        if self.image_size % self.patch_size and (self.towers == "clip" or self.image_size < self.patch_size):
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
        if not isinstance(self.norm_eps, float) or not 0.0 < self.norm_eps < 1.0:
            raise CheckpointError(f"config: norm_eps is {self.norm_eps!r}; it must lie between 0 and 1")
        if not 0.0 <= self.center_weight <= 1.0:
            raise CheckpointError(f"config: center_weight is {self.center_weight}; it must lie in [0, 1]")
        if self.max_words < 2 or self.max_words > self.context_length:
            raise CheckpointError(f"config: max_words is {self.max_words}; allowed are 2 to {self.context_length}")
        if self.towers == "siglip" and self.max_words != self.context_length:
            raise CheckpointError(
                f"config: max_words is {self.max_words}; SigLIP reads a sentence at the last of its "
                f"{self.context_length} positions, and takes no other"
            )
        if self.towers == "siglip" and self.embed_dim != self.vision_width:
            raise CheckpointError(
                f"config: embed_dim is {self.embed_dim}; SigLIP's is its vision_width, {self.vision_width}"
            )
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

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes what the image tower sees."""
        return Preprocessing(self.image_size, self.image_mean, self.image_std, self.resize, self.interpolation)

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


CHOICES = {
    "temporal": Temporal,
    "difference": Difference,
    "alignment": Alignment,
    "towers": Towers,
    "activation": Activation,
    "resize": Resize,
    "interpolation": Interpolation,
}
# Fields that came later: at their default they are no part of what an older index knows of its network.
ADDED = (
    *("towers", "activation", "norm_eps", "vision_mlp_width", "text_mlp_width"),
    *("image_mean", "image_std", "resize", "interpolation"),
)


def _rgb(name: str, value: Any) -> tuple[float, ...]:
    numbers = tuple(value) if isinstance(value, tuple | list) else ()
    fits = len(numbers) == 3 and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if not fits or not all(-10 < n < 10 for n in numbers) or (name == "image_std" and min(numbers) <= 0):
        raise CheckpointError(f"config: {name} is {value!r}; it must be three numbers, on the scale [0, 1]")
    return tuple(float(n) for n in numbers)
