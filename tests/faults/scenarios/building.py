"""``c2v index optimize``: folding, the vector index and how it is asked, the index of words, at lowered thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.faults.harness import Scenario, c2v
from tests.faults.scenarios.embed import IMPORTS
from tests.faults.scenarios.tables import strays, tables_of

ROWS, DIM, WORDS = 300, 32, ("a red square", "a blue circle turns", "the green star grows")


def vectors(seed: int, count: int) -> Any:
    import numpy as np

    drawn = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def rows_of_many(folder: Path) -> None:
    """An index of many rows in several parts, without indexes."""
    from clip2video_plugin.index import VideoIndex, upkeep
    from clip2video_plugin.index.schema import Provenance

    upkeep.COMMITS = upkeep.EXACT_ROWS = 1_000_000  # nothing is folded or indexed yet
    index = VideoIndex.create(folder / "index", DIM, Provenance("shapes", "0" * 64, "uniform", 12, "1"))
    drawn = vectors(1, ROWS)
    for start in range(0, ROWS, 100):
        index.write([row(number, drawn[number]) for number in range(start, start + 100)])


def row(number: int, vector: Any) -> dict[str, Any]:
    named = {"id": f"v{number:04}", "path": f"/videos/{number:04}.mp4", "vector": vector, "sample_id": None}
    times = {"start": 0.0, "end": 10.0, "duration": 10.0, "size": 1000 + number, "mtime": 1.7e9 + number}
    return {**named, **times, "captions": [WORDS[number % 3]] if number < 60 else None}


def found(folder: Path) -> dict[str, Any]:
    """The tables but for how long choosing took, and what the indexes find."""
    from clip2video_plugin.index import open_index

    tables, index = tables_of(folder / "index"), open_index(folder / "index")
    for one in tables.get("tuning", {}).get("rows", ()):
        one["choice"] = one["identity"] = bool(one["choice"])
    nearest = [{hit.id for hit in index.search(vector, 10)} for vector in vectors(2, 8)]
    best = [{f"v{n:04}" for n in (vectors(1, ROWS) @ vector).argsort()[-10:]} for vector in vectors(2, 8)]
    return {
        "tables": tables,
        "found": [len(one & other) >= 7 for one, other in zip(nearest, best, strict=True)],  # lists are drawn
        "words": [sorted(hit.id for hit in index.text.search(words, 100)) for words in WORDS],
    }


def lowered() -> None:
    from clip2video_plugin.index import upkeep

    upkeep.EXACT_ROWS, upkeep.UNINDEXED_ROWS, upkeep.UNINDEXED_TEXTS = 100, 50, 20


SCENARIOS = (
    Scenario(
        name="building",
        prepare=rows_of_many,
        run=lambda folder: c2v("index", "optimize", "--index", "index"),
        state=found,
        leftovers=lambda folder: list(strays(folder / "index")),
        foreign=("foreign.txt", "index/notes.txt"),
        imports=IMPORTS,
        warm=lowered,
    ),
)
