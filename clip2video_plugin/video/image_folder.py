"""A folder of frame images as a video: files in the order of their numbers, at the rate that ``c2v frames`` noted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from clip2video_plugin.errors import VideoReadError, first_line
from clip2video_plugin.video.presentation import Decoded, Picker, Presentation
from clip2video_plugin.video.sampling import EXTRACTION_RATE

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm")
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what a damaged one raises
NOTE = "frames.json"  # written by extract_frames beside the images


def images_in(folder: Path) -> list[Path]:
    """Its image files, in the order of the numbers in their names."""
    try:
        return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGES and p.is_file()), key=_number_order)
    except OSError as error:
        raise VideoReadError(folder, error.strerror or str(error)) from None


def _number_order(path: Path) -> tuple[list[str | int], str]:
    """frame_2 before frame_10, and among names of equal numbers the order of letters."""
    parts = re.split(r"([0-9]+)", path.stem)  # text and numbers in turn
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def decode(
    folder: Path, pick: Picker, convert: Callable[[Image.Image], Any], kept: list[Path] | None = None
) -> Decoded:
    """As the PyAV reader's ``decode``. Images that cannot be opened are left out, with a note.

    ``kept`` receives the image of each frame.

    Raises:
        VideoReadError: there is no readable image.
    """
    images, plan = presented(folder)
    while images:
        out = Decoded({}, pick(plan), plan)
        broken = set[int]()
        for i in dict.fromkeys(out.picks):
            try:
                picture = read_image(images[i])
            except BROKEN:
                plan.problems.append(f"{images[i].name} is no readable image")
                broken.add(i)
                continue
            out.width, out.height = picture.size
            out.pictures[i] = convert(picture)
        if not broken:
            if kept is not None:
                kept[:] = images
            return out
        keep = [i for i in range(len(images)) if i not in broken]
        images, plan.times, plan.pts = [images[i] for i in keep], [plan.times[i] for i in keep], list(range(len(keep)))
    raise VideoReadError(folder, "none of its images can be read")


def presented(folder: Path) -> tuple[list[Path], Presentation]:
    """Its images and when each is shown, read or not.

    Raises:
        VideoReadError: there is none.
    """
    images = images_in(folder)
    if not images:
        raise VideoReadError(folder, f"the folder holds no frame images ({' '.join(IMAGES)})")
    return images, _presentation(folder, len(images))


def frame_rate(folder: Path) -> tuple[float, int]:
    """Images a second, on average, and how many there are."""
    count = len(images_in(folder))
    times = _presentation(folder, count).times
    spread = times[-1] - times[0] if times else 0.0
    return (count - 1) / spread if spread > 0 else EXTRACTION_RATE, count


def read_image(path: Path) -> Image.Image:
    """An image file of any depth, upright, as 8-bit RGB.

    Raises:
        OSError: it cannot be read, or is none.
    """
    try:
        return _read_image(path)
    except OSError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged one leads to
        raise OSError(f"{type(error).__name__}: {first_line(error)}") from error


def _read_image(path: Path) -> Image.Image:
    # Not by name: Pillow would map the file, and then leaves grey TIFFs lying on their side.
    with path.open("rb") as file, Image.open(file) as image:
        picture = ImageOps.exif_transpose(image)
    if picture.mode.startswith("I"):  # 16 bits of grey, in one of several orders of bytes
        picture = Image.fromarray(((np.asarray(picture, np.int64).clip(0, 65535) + 128) // 257).astype(np.uint8))
    elif picture.mode == "F":  # white is 1, or where anything is brighter 255
        grey = np.nan_to_num(np.asarray(picture))
        picture = Image.fromarray((grey * (1 if grey.max() > 1 else 255)).clip(0, 255).round().astype(np.uint8))
    return picture.convert("RGB")


def _presentation(folder: Path, count: int) -> Presentation:
    """When each image is shown: as noted at extraction, or where no right note is, at the paper's 5 a second."""
    shown = Presentation(
        list(range(count)), [i / EXTRACTION_RATE for i in range(count)], count / EXTRACTION_RATE, rate=EXTRACTION_RATE
    )
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        times = [float(time) for time in note["timestamps"]]
        rate = float(note["fps"]) if note["policy"] == "extract" else None
        step = (times[-1] - times[0]) / (count - 1) if count > 1 else 1 / EXTRACTION_RATE
        duration = float(note.get("duration", times[-1] + step))
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return shown
    right = (
        len(times) == count
        and times == sorted(times)
        and times[0] >= 0
        and all(map(isfinite, [*times, times[-1] + step]))
    )
    if right and (rate is None or 0 < rate < inf):
        shown.times, shown.rate = times, rate
        shown.duration = duration if times[-1] <= duration < inf else times[-1] + step
    return shown
