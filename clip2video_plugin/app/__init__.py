"""FiftyOne: the brain method, its similarity backend, the model for FiftyOne's own calls, metadata, the demo.

Importing this package does not import fiftyone yet, so that the demo can point it to a database of its own first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {"Clip2VideoModel": "model", "compute_clip2video": "brain", "compute_video_metadata": "metadata"}
__all__ = ["Clip2VideoModel", "compute_clip2video", "compute_video_metadata"]

if TYPE_CHECKING:
    from clip2video_plugin.app.brain import compute_clip2video
    from clip2video_plugin.app.metadata import compute_video_metadata
    from clip2video_plugin.app.model import Clip2VideoModel


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
