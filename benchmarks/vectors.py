"""Vectors like those of a library: clustered, with queries of the same kind and from across the modality gap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clip2video_plugin.index import Provenance, VideoIndex

DIM, CLUSTERS, SPREAD, GAP = 1024, 2000, 1.0, 0.6
PART = 20_000


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    out: NDArray[np.float32] = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return out


def centres() -> NDArray[np.float32]:
    return unit(np.random.default_rng(0).standard_normal((CLUSTERS, DIM), np.float32))


def near(count: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors [count, DIM] around the centres, of which a few are crowded and most are not."""
    random, middle = np.random.default_rng(seed), centres()
    popularity = 1 / np.arange(1, CLUSTERS + 1) ** 0.5
    chosen = random.choice(CLUSTERS, count, p=popularity / popularity.sum())
    noise = random.standard_normal((count, DIM), np.float32) * np.float32(SPREAD / DIM**0.5)
    return unit(middle[chosen] + noise)


def queries(count: int, *, gap: bool, seed: int = 7) -> NDArray[np.float32]:
    """Held-out vectors; across the gap they are all moved the same way, as captions are."""
    drawn = near(count, seed)
    offset = unit(np.random.default_rng(1).standard_normal(DIM).astype(np.float32)) * np.float32(GAP)
    return unit(drawn + offset) if gap else drawn


def parts(rows: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, rows, PART):
        yield near(min(PART, rows - start), seed=1000 + start)


def everything(rows: int) -> NDArray[np.float32]:
    """All ``parts`` [rows, DIM], in no more memory than they take."""
    out, done = np.empty((rows, DIM), np.float32), 0
    for part in parts(rows):
        out[done : done + len(part)] = part
        done += len(part)
    return out


def row_id(number: int) -> str:
    return f"{number:032x}"


def fill(folder: Path, rows: int, ids: list[str] | None = None, **table: str) -> VideoIndex:
    """An index of that many rows, written as fast as LanceDB takes them; not yet indexed."""
    index = VideoIndex.create(folder, DIM, Provenance("benchmark", "0" * 64, "uniform", 12, "0"), **table)
    done = 0
    for vectors in parts(rows):
        count = len(vectors)
        numbers = range(done, done + count)
        columns = {
            "id": pa.array([ids[n] if ids else row_id(n) for n in numbers]),
            "path": pa.array([f"/videos/{n}.mp4" for n in numbers]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
            "size": pa.array([1] * count, pa.int64()),
            "mtime": pa.array([0.0] * count),
        }
        schema = index._table.schema
        arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
        index._table.add(pa.Table.from_arrays(arrays, schema=schema))
        done += count
    return index
