"""The recall of an index's vector indexes, measured on its own rows and on sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.connection import uri_of
from clip2video_plugin.index.contents import describe, has_vectors
from clip2video_plugin.index.recall import OTHERS, Recall
from clip2video_plugin.index.segments import NAME
from clip2video_plugin.query.asking import sentences
from clip2video_plugin.query.search import load_for


def recalls(index: str | Path | VideoIndex | None = None, *, seed: int = OTHERS) -> Iterator[Recall]:
    """Recall@10 of each table with vectors, by kind of query, against exact products with every row.

    Sentences are encoded by the model that made the table. If it is not installed, the sentences are used that were
    kept when the table's settings were chosen. If there are none, only rows serve as queries.
    """
    uri = uri_of(index)
    for info in describe(index).tables:
        if info.model is None or not has_vectors(info.name):
            continue
        table = VideoIndex.open(uri, table=info.name)
        if NAME not in info.indexes:
            yield table.recall()
            continue
        try:
            asked = sentences(table, load_for(table), seed)
        except Clip2VideoError:
            asked = None
        yield table.recall(asked, seed=seed)
