"""The LanceDB tables: schema, writes, vector index, query to hits. Knows no decoding, network or FiftyOne."""

from clip2video_plugin.index.schema import Provenance
from clip2video_plugin.index.store import Hit, VideoIndex, default_uri, open_index

__all__ = ["Hit", "Provenance", "VideoIndex", "default_uri", "open_index"]
