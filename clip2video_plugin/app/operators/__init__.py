"""What the FiftyOne App offers: operators and the search panel. ``entry.py`` registers them."""

from __future__ import annotations

from typing import Any

from clip2video_plugin.app.operators.data import EvaluateRetrieval, ImportVideos, SampleFrames
from clip2video_plugin.app.operators.indexing import ComputeEmbeddings, DeleteIndex, IndexInfo
from clip2video_plugin.app.operators.searching import FindSimilarVideos, OpenVideoSearch, SearchVideos
from clip2video_plugin.app.panel import VideoSearchPanel

OPERATORS = (
    ImportVideos,
    ComputeEmbeddings,
    SearchVideos,
    FindSimilarVideos,
    EvaluateRetrieval,
    SampleFrames,
    DeleteIndex,
    IndexInfo,
    OpenVideoSearch,
)
PANELS = (VideoSearchPanel,)


def register(plugin: Any) -> None:
    """Registers all of them on FiftyOne's context of the plugin."""
    for one in (*OPERATORS, *PANELS):
        plugin.register(one)
