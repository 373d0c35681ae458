"""Videos and copies of them, as files."""

from random import Random

import numpy as np
from PIL import Image

from clip2video_plugin.shapes import held_out_scenes, render, write_video

RATE = 8


def write(path, frames, crf=20):
    """Frames [n, height, width, 3] as H.264."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, RATE, crf=crf)
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
