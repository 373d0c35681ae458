"""The LanceDB tables: schema, writes, vector index, query to hits. Knows no decoding, network or FiftyOne."""

from clip2video_plugin.index.connection import default_uri, uri_of
from clip2video_plugin.index.contents import Entry
from clip2video_plugin.index.nearest import Hit, Keep, Span, existing, gone
from clip2video_plugin.index.schema import Provenance
from clip2video_plugin.index.store import VideoIndex, open_index

__all__ = [
    "Entry",
    "Hit",
    "Keep",
    "Provenance",
    "Span",
    "VideoIndex",
    "default_uri",
    "existing",
    "gone",
    "open_index",
    "uri_of",
]
