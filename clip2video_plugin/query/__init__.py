"""A sentence to the videos it describes."""

from clip2video_plugin.query.search import SearchResult, load_for, search

__all__ = ["SearchResult", "load_for", "search"]
