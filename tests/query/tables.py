"""Indexes of vectors that a test chooses."""

import numpy as np

from clip2video_plugin.index import Provenance, VideoIndex

DIM = 8


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def some_units(random, count):
    return unit(random.standard_normal((count, DIM)))


def make_table(folder, videos, windows=None):
    """A table of ``videos`` (id -> vector) with ``windows`` beside it (id -> spans [n, 2], vectors [n, D])."""
    dim = len(next(iter(videos.values()))) if videos else DIM
    table = VideoIndex.create(folder, dim, Provenance("test", "0" * 64, "uniform", 12, "0"))
    table.write([_row(i, vector, 0.0, None) for i, vector in videos.items()])
    if windows is not None:
        rows = [
            _row(f"{i}/{start:.3f}-{end:.3f}", vector, float(start), float(end)) | {"video": i, "path": f"/{i}.mp4"}
            for i, (spans, vectors) in windows.items()
            for (start, end), vector in zip(spans, vectors, strict=True)
        ]
        table.create_windows().write(rows)
    return table


def _row(i, vector, start, end):
    return {"id": i, "path": f"/{i}.mp4", "start": start, "end": end, "vector": vector, "size": 1, "mtime": 0.0}
