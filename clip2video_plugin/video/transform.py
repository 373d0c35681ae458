"""Decoded pictures, upright, to the square the network sees (reference section 8.3)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin.pixels import CLIP_MEAN, CLIP_STD

STRIP = 64  # times as long as wide: of such a picture only the middle is enlarged, or it would take a lot of memory


def turned(pixels: NDArray[np.uint8], matrix: NDArray[np.int32]) -> tuple[NDArray[np.uint8], bool]:
    """A picture [height, width, 3] as its display matrix [3, 3] shows it, and whether width and height changed places.

    As ffmpeg does it: quarter turns and mirrors exactly; by another angle within the picture's own frame.
    """
    (a, b), (c, d) = matrix[:2, :2].tolist()  # where the picture's x axis goes, and its y axis
    if not math.hypot(a, c) or not math.hypot(b, d):
        return pixels, False  # it would show a line
    angle = math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))  # clockwise
    if abs(angle - 90 * round(angle / 90)) > 1:
        rotated = Image.fromarray(pixels).rotate(-angle, Image.Resampling.BILINEAR)
        return np.asarray(rotated), False
    sideways = abs(b) > abs(a)
    if sideways:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]), sideways


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
    if max(wide, high) > STRIP * size and min(width, height) < size:
        columns = left * width / wide, 0, (left + size) * width / wide, height
        rows = 0, top * height / high, size, (top + size) * height / high
        image = image.resize((size, height), Image.Resampling.BICUBIC, columns)
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, rows))
    if height > width:  # Pillow chooses whether columns or rows come first
        image = image.resize((wide, high), Image.Resampling.BICUBIC)
        return np.asarray(image.crop((left, top, left + size, top + size)))
    # As one resize would: columns first; those outside the square need no second pass.
    if wide != width:
        image = image.resize((wide, height), Image.Resampling.BICUBIC)
    image = image.crop((left, 0, left + size, height))
    if high != height:
        image = image.resize((size, high), Image.Resampling.BICUBIC)
    return np.asarray(image)


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
