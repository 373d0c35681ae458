"""``Query`` says what is searched for; ``search`` finds the videos, and where in them."""

from clip2video_plugin.query.gallery import Gallery, Windows
from clip2video_plugin.query.query import Query
from clip2video_plugin.query.search import SearchResult, answer, load_for, search

__all__ = ["Gallery", "Query", "SearchResult", "Windows", "answer", "load_for", "search"]
