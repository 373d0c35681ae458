"""Thumbnails of frames, by which copies of a video are known: 8x8 pixels of grey."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 8
NUMBERS = SIDE * SIDE


def thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB frames [n, height, width, 3] -> the mean grey of 8x8 parts of each, uint8 [n, 64], row by row.

    About .05 ms a frame of 224 pixels a side.
    """
    out = np.empty((len(pixels), NUMBERS), np.uint8)
    for row, frame in enumerate(pixels):
        grey = Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        out[row] = np.asarray(grey).reshape(-1)
    return out
