"""Decoded pictures, upright, to the square the network sees (docs/explanation/network.md#preprocessing)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin.pixels import CLIP_MEAN, CLIP_STD, Interpolation, Preprocessing

STRIP = 64  # times as long as wide: such a picture is not enlarged as a whole, or it would take a lot of memory
FILTERS: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


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


def resize_and_crop(image: Image.Image | NDArray[np.uint8], size: int | Preprocessing) -> NDArray[np.uint8]:
    """RGB picture -> uint8 [size, size, 3], as a ``Preprocessing`` says; a number stands for CLIP's of that size.

    By Pillow, antialiased. The square is cut where torchvision's CenterCrop cuts it, as OpenAI's CLIP has it (half a
    pixel goes to the even side; transformers leaves it on the right and below).
    """
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    how = size if isinstance(size, Preprocessing) else Preprocessing(size)
    side, by = how.size, FILTERS[how.interpolation]
    width, height = image.size
    strip = max(width, height) > STRIP * min(width, height) and min(width, height) < side
    if how.resize == "squash":
        if strip and height > width:  # rows first, or the picture in between would be as long as the strip
            image = image.resize((width, side), by)
        return np.asarray(image.resize((side, side), by))
    if width <= height:
        wide, high = side, max(int(side * height / width), side)
    else:
        wide, high = max(int(side * width / height), side), side
    left, top = round((wide - side) / 2), round((high - side) / 2)
    if strip:  # both sides are enlarged; the filters reach two pixels far
        upper, lower = top * height / high, (top + side) * height / high
        first, last = max(math.floor(upper) - 3, 0), min(math.ceil(lower) + 3, height)
        columns = left * width / wide, first, (left + side) * width / wide, last
        image = image.resize((side, last - first), by, columns)
        return np.asarray(image.resize((side, side), by, (0, upper - first, side, lower - first)))
    if height > width:  # Pillow chooses whether columns or rows come first
        image = image.resize((wide, high), by)
        return np.asarray(image.crop((left, top, left + side, top + side)))
    # As one resize would: columns first; those outside the square need no second pass.
    if wide != width:
        image = image.resize((wide, height), by)
    image = image.crop((left, 0, left + side, height))
    if high != height:
        image = image.resize((side, high), by)
    return np.asarray(image)


def normalise(
    pixels: NDArray[np.uint8],
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
) -> NDArray[np.float32]:
    """uint8 [..., size, size, 3] -> float32 [..., 3, size, size], mean and deviation (of [0, 1]) taken out."""
    scaled = pixels.astype(np.float32) / np.float32(255)
    middle, spread = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    normal: NDArray[np.float32] = (scaled - middle) / spread
    return np.moveaxis(normal, -1, -3)


def preprocess(image: Image.Image | NDArray[np.uint8], size: int | Preprocessing) -> NDArray[np.float32]:
    """RGB picture [height, width, 3] -> float32 [3, size, size] as an image tower expects it.

    ``size`` is the model's ``config.preprocessing``; a number stands for CLIP's of that size.
    """
    if isinstance(image, Image.Image):
        image = image.convert("RGB")
    how = size if isinstance(size, Preprocessing) else Preprocessing(size)
    return normalise(resize_and_crop(image, how), how.mean, how.std)
