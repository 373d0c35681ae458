"""What a search is to be like: a video, a part of one, a folder of frames, or one image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.pixels import Preprocessing
from clip2video_plugin.places import Place, Uri
from clip2video_plugin.video.frames import read_quietly
from clip2video_plugin.video.image_folder import IMAGES, read_image
from clip2video_plugin.video.transform import resize_and_crop


def read_example(
    path: str | Place, how: Preprocessing, *, start: float | None = None, end: float | None = None, **policy: Any
) -> NDArray[np.uint8]:
    """Frames [n, size, size, 3] as ``read_frames`` picks them by ``policy``; of an image file that image.

    Raises:
        VideoReadError: there is no such file, or it cannot be read.
    """
    if isinstance(path, Uri) or Path(path).suffix.lower() not in IMAGES or os.path.isdir(path):
        return read_quietly(path, start=start, end=end, **policy, **how.options).pixels
    if start is not None:
        raise VideoReadError(path, "an image has no times; name it without @")
    try:
        return resize_and_crop(read_image(Path(path)), how)[None]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VideoReadError(path, getattr(error, "strerror", None) or "it is no readable image") from None
