"""A folder of frame images as a video: files in name order, at the rate that ``c2v frames`` noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video.pyav_reader import Decoded, Picker, Presentation
from clip2video_plugin.video.sampling import EXTRACTION_RATE

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
NOTE = "frames.json"  # written by extract_frames beside the images


def images_in(folder: Path) -> list[Path]:
    """Its image files by name."""
    try:
        return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES and p.is_file())
    except OSError as error:
        raise VideoReadError(folder, error.strerror or str(error)) from None


def decode(folder: Path, pick: Picker, convert: Callable[[Image.Image], Any]) -> Decoded:
    """As the PyAV reader's ``decode``. Images that cannot be opened are left out, with a note.

    Raises:
        VideoReadError: there is no readable image.
    """
    images = images_in(folder)
    if not images:
        raise VideoReadError(folder, f"the folder holds no frame images ({' '.join(IMAGES)})")
    times = _times(folder, images)
    problems = list[str]()
    while images:
        step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1 / EXTRACTION_RATE
        plan = Presentation(list(range(len(images))), times, times[-1] + step, problems=problems)
        out = Decoded({}, plan, 0, 0)
        broken = set[int]()
        for i in pick(times, plan.duration):
            try:
                with Image.open(images[i]) as image:
                    picture = ImageOps.exif_transpose(image).convert("RGB")
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
                problems.append(f"{images[i].name} is no readable image")
                broken.add(i)
                continue
            out.width, out.height = picture.size
            out.pictures[i] = convert(picture)
        if not broken:
            return out
        keep = [i for i in range(len(images)) if i not in broken]
        images, times = [images[i] for i in keep], [times[i] for i in keep]
    raise VideoReadError(folder, "none of its images can be read")


def frame_rate(folder: Path) -> tuple[float, int]:
    """Images a second, on average, and how many there are."""
    images = images_in(folder)
    times = _times(folder, images)
    spread = times[-1] - times[0] if times else 0.0
    return (len(times) - 1) / spread if spread > 0 else float(EXTRACTION_RATE), len(images)


def _times(folder: Path, images: list[Path]) -> list[float]:
    """Seconds of each image: as noted at extraction, else at the paper's 5 per second."""
    try:
        noted = json.loads((folder / NOTE).read_text(encoding="utf-8"))["timestamps"]
        if len(noted) == len(images) and noted == sorted(noted):
            return [float(t) for t in noted]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return [i / EXTRACTION_RATE for i in range(len(images))]
