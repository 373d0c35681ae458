"""How pictures are made for an image tower: size, normalisation, and what is cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# RGB, on the scale [0, 1] (OpenAI CLIP; reference section 8.3)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Resize = Literal["crop", "squash"]
Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB picture to [3, size, size].

    ``crop`` takes the shorter side to ``size`` and the square in the middle; ``squash`` takes both sides to ``size``.
    Mean and deviation are on the scale [0, 1].
    """

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"
