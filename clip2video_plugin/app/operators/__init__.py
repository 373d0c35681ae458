"""The operators of the plugin. ``entry.py`` registers them."""

from __future__ import annotations

from clip2video_plugin.app.operators.curating import AuditCaptions, FindDuplicates, NearestCaptions
from clip2video_plugin.app.operators.data import EvaluateRetrieval, ImportVideos, SampleFrames
from clip2video_plugin.app.operators.indexing import ComputeEmbeddings, DeleteIndex, IndexInfo
from clip2video_plugin.app.operators.marking import MarkMoments
from clip2video_plugin.app.operators.searching import FindSimilarVideos, OpenVideoSearch, SearchVideos

OPERATORS = (
    ImportVideos,
    ComputeEmbeddings,
    SearchVideos,
    FindSimilarVideos,
    MarkMoments,
    FindDuplicates,
    AuditCaptions,
    NearestCaptions,
    EvaluateRetrieval,
    SampleFrames,
    DeleteIndex,
    IndexInfo,
    OpenVideoSearch,
)
