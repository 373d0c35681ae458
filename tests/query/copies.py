"""Videos and copies of them, as files."""

from fractions import Fraction
from random import Random

import av
import numpy as np
from PIL import Image

from clip2video_plugin.shapes import held_out_scenes, render

RATE = 8


def write(path, frames, crf=20):
    """Frames [n, height, width, 3] as H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "veryfast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


def films(count, seed, seconds=3, size=96):
    """Frames of ``count`` different videos."""
    times = np.linspace(0, 1, seconds * RATE).tolist()
    return [render(scene, times, size) for scene in held_out_scenes(count, seed)]


def redrawn(count, seed, seconds=3, size=96):
    """Frames of other videos that the captions of ``films`` describe as well."""
    times, random = np.linspace(0, 1, seconds * RATE).tolist(), Random(seed)
    return [render(scene.redrawn(random), times, size) for scene in held_out_scenes(count, seed)]


def scaled(frames, side):
    return np.stack([np.asarray(Image.fromarray(frame).resize((side, side), Image.BICUBIC)) for frame in frames])


def blank(seconds, size=96, grey=0):
    return np.full((round(seconds * RATE), size, size, 3), grey, np.uint8)
