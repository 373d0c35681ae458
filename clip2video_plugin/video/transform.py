"""Pictures to the square the network sees (reference section 8.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin.pixels import CLIP_MEAN, CLIP_STD


def resize_and_crop(image: Image.Image | NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """RGB picture -> uint8 [size, size, 3]: shorter side to ``size`` (bicubic, antialiased), centre crop."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    width, height = image.size
    if width <= height:
        wide, high = size, max(int(size * height / width), size)
    else:
        wide, high = max(int(size * width / height), size), size
    left, top = round((wide - size) / 2), round((high - size) / 2)
    # As one resize would: columns first; those outside the square need no second pass.
    if wide != width:
        image = image.resize((wide, height), Image.Resampling.BICUBIC)
    image = image.crop((left, 0, left + size, height))
    if high != height:
        image = image.resize((size, high), Image.Resampling.BICUBIC)
    return np.asarray(image.crop((0, top, size, top + size)))


def normalise(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [..., size, size, 3] -> float32 [..., 3, size, size], CLIP's mean and deviation taken out."""
    scaled = pixels.astype(np.float32) / np.float32(255)
    mean, std = np.asarray(CLIP_MEAN, np.float32), np.asarray(CLIP_STD, np.float32)
    normal: NDArray[np.float32] = (scaled - mean) / std
    return np.moveaxis(normal, -1, -3)


def preprocess(image: Image.Image | NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """RGB picture [height, width, 3] -> float32 [3, size, size] as CLIP's image tower expects it."""
    if isinstance(image, Image.Image):
        image = image.convert("RGB")
    return normalise(resize_and_crop(image, size))
