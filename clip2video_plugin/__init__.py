"""Text-to-video search with CLIP2Video: in the FiftyOne App, on the command line and from Python.

The names below load what they need on first use; importing the package loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Clip2VideoError": "errors",
    "VideoReadError": "errors",
    "CheckpointError": "errors",
    "VideoIndexError": "errors",
    "QueryError": "errors",
    "Frames": "video",
    "read_frames": "video",
    "load_model": "model.checkpoint",
    "fetch_model": "model.fetch",
    "calibrate": "query.calibrate",
    "embed_videos": "embed",
    "open_index": "index",
    "search": "query",
    "duplicates": "query.curate",
    "audit": "query.audit",
    "nearest_captions": "query.audit",
    "Query": "query",
    "evaluate": "app.evaluate",
    "NotComparableError": "errors",
    "compute_clip2video": "app",
    "TrainingError": "errors",
    "train": "training",
    "finetune": "app.train",
}
__all__ = [
    "CheckpointError",
    "Clip2VideoError",
    "Frames",
    "NotComparableError",
    "Query",
    "QueryError",
    "TrainingError",
    "VideoIndexError",
    "VideoReadError",
    "audit",
    "calibrate",
    "compute_clip2video",
    "duplicates",
    "embed_videos",
    "evaluate",
    "fetch_model",
    "finetune",
    "load_model",
    "nearest_captions",
    "open_index",
    "read_frames",
    "search",
    "train",
]

if TYPE_CHECKING:
    from clip2video_plugin.app import compute_clip2video
    from clip2video_plugin.app.evaluate import evaluate
    from clip2video_plugin.app.train import finetune
    from clip2video_plugin.embed import embed_videos
    from clip2video_plugin.errors import (
        CheckpointError,
        Clip2VideoError,
        NotComparableError,
        QueryError,
        TrainingError,
        VideoIndexError,
        VideoReadError,
    )
    from clip2video_plugin.index import open_index
    from clip2video_plugin.model.checkpoint import load_model
    from clip2video_plugin.model.fetch import fetch_model
    from clip2video_plugin.query.audit import audit, nearest_captions
    from clip2video_plugin.query.calibrate import calibrate
    from clip2video_plugin.query.curate import duplicates
    from clip2video_plugin.query.query import Query
    from clip2video_plugin.query.search import search
    from clip2video_plugin.training import train
    from clip2video_plugin.video import Frames, read_frames


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
