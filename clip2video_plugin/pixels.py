"""How pictures are made for an image tower: size, normalisation, and what is cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.errors import Clip2VideoError

# RGB, on the scale [0, 1] (OpenAI CLIP)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Resize = Literal["crop", "squash"]
"""How a picture becomes square: its middle is cut out, or all of it is squashed."""
Interpolation = Literal["bicubic", "bilinear"]
"""How a picture is resized; both are antialiased."""


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB picture to [3, size, size].

    ``crop`` takes the shorter side to ``size`` and the square in the middle; ``squash`` takes both sides to ``size``.
    Mean and deviation are on the scale [0, 1].

    Raises:
        Clip2VideoError: a value is not one of those allowed.
    """

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise Clip2VideoError(f"size is {self.size}; it must be at least 1 pixel")
        for name, kind in (("resize", Resize), ("interpolation", Interpolation)):
            check_choice(name, getattr(self, name), kind)

    @property
    def options(self) -> dict[str, Any]:
        """Those of ``read_frames`` that give its pictures."""
        return {"size": self.size, **self.unusual}

    @property
    def unusual(self) -> dict[str, Any]:
        """What of the options, beside the size, is not CLIP's."""
        usual = Preprocessing(self.size)
        named = {"resize": self.resize, "interpolation": self.interpolation}
        return {name: value for name, value in named.items() if value != getattr(usual, name)}
