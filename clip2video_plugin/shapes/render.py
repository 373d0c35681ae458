"""Scenes to pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clip2video_plugin.shapes.scene import COLOURS, Scene, State

DRAWN = 192  # pixels a side before the antialiasing reduction


def render(scene: Scene, times: Sequence[float], size: int) -> NDArray[np.uint8]:
    """Frames [n, size, size, 3] at ``times`` in [0, 1]; ``size`` divides 192."""
    if DRAWN % size:
        raise ValueError(f"size is {size}; it must divide {DRAWN}")
    ground = background(scene.background)
    out = np.empty((len(times), size, size, 3), np.uint8)
    for row, time in enumerate(times):
        image = ground.copy()
        draw = ImageDraw.Draw(image)
        for who, (colour, shape) in enumerate(scene.things):
            state = scene.state(who, time)
            if state.visible:
                draw.polygon(outline(shape, state), fill=COLOURS[colour], outline=(20, 20, 20))
        out[row] = np.asarray(image.reduce(DRAWN // size))
    return out


def outline(shape: str, state: State) -> list[tuple[float, float]]:
    """Corners in drawn pixels; y points down, so a growing angle turns clockwise."""
    turn = math.radians(state.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    r = state.radius * DRAWN
    return [
        (state.x * DRAWN + r * (x * cos - y * sin), state.y * DRAWN + r * (x * sin + y * cos))
        for x, y in OUTLINES[shape]
    ]


def _round(count: int, radii: Sequence[float], start: float = -90.0) -> list[tuple[float, float]]:
    angles = [math.radians(start + 360 * i / count) for i in range(count)]
    return [(radii[i % len(radii)] * math.cos(a), radii[i % len(radii)] * math.sin(a)) for i, a in enumerate(angles)]


_T = 0.33
OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "circle": _round(40, [0.9]),
    "triangle": [(0, -1), (0.85, 0.75), (-0.85, 0.75)],
    "star": _round(10, [1.0, 0.42]),
    "cross": [
        *[(-_T, -1), (_T, -1), (_T, -_T), (1, -_T), (1, _T), (_T, _T)],
        *[(_T, 1), (-_T, 1), (-_T, _T), (-1, _T), (-1, -_T), (-_T, -_T)],
    ],
    "bar": [(-0.4, -1), (0.4, -1), (0.4, 1), (-0.4, 1)],
}


def background(seed: int) -> Image.Image:
    """A plain, shaded, striped, chequered or cloudy ground in muted colours."""
    rng = np.random.default_rng(seed)
    base, other = rng.uniform(40, 150, (2, 1)) + rng.uniform(-22, 22, (2, 3))
    kind = int(rng.integers(5))
    y, x = np.mgrid[0:DRAWN, 0:DRAWN] / DRAWN
    if kind == 0:
        blend = np.zeros((DRAWN, DRAWN))
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        blend = 0.5 + 0.5 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    elif kind == 2:
        angle = rng.uniform(0, np.pi)
        blend = 0.25 + 0.25 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(12, 40))
    elif kind == 3:
        cells = int(rng.integers(3, 8))
        blend = 0.4 * ((np.floor(x * cells) + np.floor(y * cells)) % 2)
    else:
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
        blend = np.asarray(coarse.resize((DRAWN, DRAWN), Image.Resampling.BICUBIC)) / 400
    pixels = base + (other - base) * blend[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
