"""Arrays of numbers from .npy and .npz files, as data: pickles are refused, as reading one can run code."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import Clip2VideoError, first_line
from clip2video_plugin.paths import expanded

PICKLES = (".pkl", ".pickle", ".p")


def read_array(path: str | Path) -> NDArray[Any]:
    """The array of a .npy file, which stays on disk until it is looked at, or the only one of a .npz file.

    Raises:
        Clip2VideoError: the file is missing, damaged, a pickle, or holds no array of numbers, or several.
    """
    arrays = _read(expanded(path))
    if len(arrays) != 1:
        raise Clip2VideoError(f"{path} holds {', '.join(arrays) or 'no arrays'}; expected one array")
    return _numbers(path, *arrays.values())


def read_scores(path: str | Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The matrix of a file, and the ``caption_video`` that stands beside it in a .npz file, if there.

    A single array is the matrix, whatever its name; of several it is the one called ``scores``.

    Raises:
        Clip2VideoError: as ``read_array``.
    """
    arrays = _read(expanded(path))
    if len(arrays) == 1:
        return _numbers(path, *arrays.values()), None
    if "scores" not in arrays:
        raise Clip2VideoError(f"{path} holds {', '.join(arrays) or 'no arrays'}; the matrix must be called scores")
    beside = arrays.get("caption_video")
    return _numbers(path, arrays["scores"]), None if beside is None else _numbers(path, beside)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name."""
    if not path.is_file():
        raise Clip2VideoError(f"{path} is {'no file' if path.exists() else 'not there'}; expected a .npy or .npz file")
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise Clip2VideoError(f"{path} cannot be read: {error.strerror}") from None
    if start[:1] == b"\x80" or path.suffix.lower() in PICKLES:
        raise Clip2VideoError(f"{path} is a pickle{_refused(path)}")
    if not start.startswith((b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")):
        raise Clip2VideoError(f"{path} is no .npy or .npz file; save the array with numpy.save")
    try:
        with np.errstate(all="ignore"):  # sizes that no file has
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {path.stem: found}
        with found:
            return {name: array for name in found.files if isinstance(array := found[name], np.ndarray)}
    except Exception as error:  # a file that numpy did not write can fail in any way
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise Clip2VideoError(f"{path} holds Python objects, a pickle{_refused(path)}") from None
        raise Clip2VideoError(f"{path} is damaged: {first_line(error)}") from None


def _refused(path: Path) -> str:
    convert = f"python -m clip2video_plugin.evaluation.unpickle {shlex.quote(str(path))} OUT.npy"
    return f", and reading one can run code; convert it without running any: {convert}"


def _numbers(path: str | Path, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "fiu":
        raise Clip2VideoError(f"{path} holds {array.dtype} of shape {array.shape}; expected real numbers")
    return array
