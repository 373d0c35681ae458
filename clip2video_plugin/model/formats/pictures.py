"""How pictures are made for an image tower, from the configurations of others to fields of ModelConfig."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.formats.said import side

WHERE = "preprocessor_config.json"
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # numbers of Pillow's
# transformers' CLIPImageProcessor, where a key is missing; its mean and deviation are ModelConfig's own
CLIP_PICTURES = {"resample": 3, "size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": 224}


def huggingface_pictures(
    path: Path, preprocessor: Mapping[str, Any], size: int, usual: Mapping[str, Any] = CLIP_PICTURES
) -> dict[str, Any]:
    """Of a preprocessor_config.json for an image tower of ``size`` pixels a side; empty where there is none.

    Args:
        usual: what the processor's class takes for a key that is missing.

    Raises:
        CheckpointError: it makes pictures in a way that ours are not made.
    """
    if not preprocessor:
        return {}
    values = {**usual, **preprocessor}
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if not values.get(step, True):
            raise CheckpointError(f"{path}: {WHERE} says {step} is {values[step]!r}; pictures are always made so here")
    factor = values.get("rescale_factor", 1 / 255)
    if not isinstance(factor, int | float) or not abs(factor * 255 - 1) < 1e-6:
        raise CheckpointError(f"{path}: {WHERE} says rescale_factor is {factor!r}; allowed is 1/255")
    if values["resample"] not in tuple(RESAMPLE):
        raise CheckpointError(f"{path}: {WHERE} says resample is {values['resample']!r}; allowed are 2 and 3")
    edge, crop = values["size"], side(values["crop_size"]) if values.get("do_center_crop") else None
    if isinstance(edge, Mapping) and set(edge) == {"shortest_edge"}:
        edge, resize = edge["shortest_edge"], "crop"
    elif isinstance(edge, int):
        resize = "crop" if crop is not None else "squash"
    else:
        edge, resize = side(edge), "squash"
    if edge != size or crop not in (None, size) or (resize == "crop" and crop is None):
        raise CheckpointError(
            f"{path}: {WHERE} makes pictures of size {values['size']!r}, cut to {crop!r}; the image tower takes "
            f"{size} x {size}, from the shorter side and cut, or from both sides"
        )
    found = {"resize": resize, "interpolation": RESAMPLE[values["resample"]]}
    return found | {key: values[key] for key in ("image_mean", "image_std") if values.get(key) is not None}


def open_clip_pictures(path: Path, where: str, values: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Of the preprocess_cfg of an open_clip_config.json."""
    if "size" in values and side(values["size"]) != size:
        raise CheckpointError(
            f"{path}: {where} says pictures have size {values['size']!r}; the image tower takes {size}"
        )
    resize, interpolation = values.get("resize_mode") or "shortest", values.get("interpolation") or "bicubic"
    known = {"shortest": "crop", "squash": "squash"}
    if resize not in tuple(known):
        raise CheckpointError(f"{path}: {where} says resize_mode is {resize!r}; allowed are {', '.join(known)}")
    # "random" is for training; open_clip runs such a model with bicubic.
    found = {"resize": known[resize], "interpolation": "bicubic" if interpolation == "random" else interpolation}
    names = {"image_mean": values.get("mean"), "image_std": values.get("std")}
    return found | {key: value for key, value in names.items() if value is not None}
