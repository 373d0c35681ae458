"""The LanceDB tables: schema, writes, vector index, queries to hits. Knows no decoding, network or FiftyOne."""

from clip2video_plugin.index.postponed import postpone

# LanceDB imports the models of its REST client, whose __init__ would import the client, a quarter of a cold search.
postpone("lance_namespace_urllib3_client")

from clip2video_plugin.index.connection import default_uri, uri_of  # noqa: E402
from clip2video_plugin.index.contents import Entry  # noqa: E402
from clip2video_plugin.index.hits import Hit, Keep, Span, existing, gone  # noqa: E402
from clip2video_plugin.index.schema import Provenance  # noqa: E402
from clip2video_plugin.index.store import VideoIndex, open_index  # noqa: E402

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
