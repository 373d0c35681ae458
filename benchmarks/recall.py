"""Recall@10 of the vector index before and after its settings are chosen, and what choosing and a query take.

    nice python benchmarks/recall.py [--folder DIR] [--rows 100000] [KIND ...]     # DIR keeps the videos' vectors
    python benchmarks/recall.py --quick

Kinds: ``clusters`` (benchmarks/vectors.py), ``tight`` (40 clusters whose rows differ by a tenth or by a half of their
length), ``videos`` (the embedded model's vectors of 20,000 generated videos, asked by rows and by captions of other
videos), ``near`` (twenty copies of each row, which differ in the third decimal). Before are the settings of earlier
versions: 175 lists, 30 whole vectors. The truth is numpy's; what asks was used for no choice. Each query is asked with
w = 0, .5 and 1, and the least of these is shown. Times are of the processor, all threads together.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import vectors as clusters
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from clip2video_plugin.index import Hit, Provenance, VideoIndex, choosing, tuning, upkeep
from clip2video_plugin.index.recall import WEIGHTS, weighted

Floats = NDArray[np.float32]
K, ASKED, TIMED = 10, 100, 30
VIDEOS = 20_000
console = Console(width=160)


@dataclass(frozen=True)
class Kind:
    """Vectors [n, D] of a table, and what asks, by name; ``sentences`` are given to the choice."""

    name: str
    rows: Floats
    asks: dict[str, Floats]
    sentences: Floats | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", default=[])
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--dim", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    wanted = args.kinds or ["clusters", "tight", "near", "videos"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        makers: dict[str, Callable[[], Iterator[Kind]]] = {
            "clusters": lambda: clustered(args.rows),
            "tight": lambda: tight(args.rows, args.dim[:1] if args.quick else args.dim),
            "near": lambda: near(args.rows, args.dim[:1] if args.quick else args.dim),
            "videos": lambda: videos(folder, 2_000 if args.quick else VIDEOS),
        }
        table = Table("kind", "rows", "recall before", "after", "settings", "made", "chosen", "query before", "after")
        for name in wanted:
            for kind in makers[name]():
                table.add_row(*measured(kind, Path(scratch) / "index"))
                console.print(table)


def unit(x: NDArray[np.floating]) -> Floats:
    out: Floats = (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)
    return out


def clustered(rows: int) -> Iterator[Kind]:
    table = np.concatenate(list(clusters.parts(rows)))
    asks = {"others": clusters.queries(ASKED, gap=False, seed=77), "across the gap": clusters.queries(ASKED, gap=True)}
    yield Kind(f"clusters, {table.shape[1]} numbers", table, {"rows": drawn(table), **asks})


def tight(rows: int, dims: list[int]) -> Iterator[Kind]:
    for dim in dims:
        for spread in (0.5, 0.1):
            random = np.random.default_rng(dim)
            centres = unit(random.standard_normal((40, dim)))

            def made(count: int, spread: float = spread, centres: Floats = centres, random: object = random) -> Floats:
                assert isinstance(random, np.random.Generator)
                noise = unit(random.standard_normal((count, centres.shape[1]), np.float32))
                return unit(centres[random.integers(0, 40, count)] + np.float32(spread) * noise)

            table = made(rows)
            yield Kind(
                f"40 tight clusters, {dim} numbers, {spread} apart",
                table,
                {"rows": drawn(table), "others": made(ASKED)},
            )


def near(rows: int, dims: list[int]) -> Iterator[Kind]:
    for dim in dims:
        random = np.random.default_rng(dim + 1)
        base = unit(random.standard_normal((rows // 20, dim)))

        def made(count: int, base: Floats = base, random: np.random.Generator = random) -> Floats:
            third = random.uniform(-0.002, 0.002, (count, base.shape[1])).round(3)
            return unit(base[random.integers(0, len(base), count)] + third)

        table = made(rows)
        yield Kind(f"near-duplicates, {dim} numbers", table, {"rows": drawn(table), "others": made(ASKED)})


def videos(folder: Path, count: int) -> Iterator[Kind]:
    """Of generated scenes, as they are embedded but for the file; the sentences of 1,000 others ask."""
    from clip2video_plugin import load_model
    from clip2video_plugin.query.asking import encoded
    from clip2video_plugin.shapes import captions, scenes
    from clip2video_plugin.training.world import SceneVideo

    model = load_model("shapes", device="cpu")
    some = list(itertools.islice(scenes(7), count + 1_000))
    file = folder / f"videos-{count}.npy"
    if not file.is_file():
        began, parts = time.process_time(), list[Floats]()
        for start in range(0, count, 64):
            frames = [
                SceneVideo(one).frames(model.config.max_frames, model.config.image_size, None)
                for one in some[start : min(start + 64, count)]
            ]
            parts.append(model.encode_frames(frames).vector.numpy())
        np.save(file, np.concatenate(parts))
        console.print(f"{count} videos drawn and encoded in {time.process_time() - began:.0f} s")
    table = np.load(file)
    said = encoded([captions(one, 1, 3)[0] for one in some[count:]], model, 0.5)
    asks = {"rows": drawn(table), "captions": said[: len(said) // 2][:ASKED]}
    yield Kind(f"the embedded model's videos, {table.shape[1]} numbers", table, asks, said[len(said) // 2 :])


def drawn(table: Floats) -> Floats:
    return table[np.random.default_rng(4242).choice(len(table), ASKED, replace=False)]


def fill(folder: Path, rows: Floats) -> VideoIndex:
    shutil.rmtree(folder, ignore_errors=True)
    index = VideoIndex.create(folder, rows.shape[1], Provenance("benchmark", "0" * 64, "uniform", 12, "0"))
    for start in range(0, len(rows), 20_000):
        part = rows[start : start + 20_000]
        columns = {
            "id": pa.array([f"{start + n:08x}" for n in range(len(part))]),
            "path": pa.array([f"/{start + n}.mp4" for n in range(len(part))]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), part.shape[1]),
        }
        schema = index._table.schema
        filled = {f.name: columns.get(f.name, pa.nulls(len(part), f.type)) for f in schema}
        index._table.add(pa.table(filled, schema=schema))
    return index


def share(rows: Floats, asked: Floats, answers: list[list[Hit]]) -> float:
    scores = asked @ rows.T
    last = np.partition(scores, -K, axis=1)[:, -K]
    right = sum(scores[n, int(hit.id, 16)] >= last[n] - 1e-6 for n, hits in enumerate(answers) for hit in hits)
    return float(right) / (K * len(asked))


def least(kind: Kind, index: VideoIndex) -> dict[str, float]:
    """Of what asks, the recall at the weight where it is least."""
    out = dict[str, float]()
    for name, some in kind.asks.items():
        asked = [weighted(some, w) for w in WEIGHTS]
        out[name] = min(share(kind.rows, one, index.search_all(one, K)) for one in asked)
    return out


def measured(kind: Kind, folder: Path) -> list[str]:
    index = fill(folder, kind.rows)
    began = time.process_time()
    upkeep.build(index.uri, index._table)
    made = time.process_time() - began
    before = folder.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(folder, before)
    old = VideoIndex.open(before)
    began = time.process_time()
    sentences = kind.sentences
    chosen = choosing.choose(index.uri, index._table, None if sentences is None else lambda: sentences)
    spent = time.process_time() - began
    index = VideoIndex.open(folder)
    assert tuning.read_tuning(index.uri, index._table) == chosen
    first, last = least(kind, old), least(kind, index)
    asked = next(iter(kind.asks.values()))
    times: tuple[list[float], list[float]] = [], []
    for query in asked[:TIMED]:
        for one, spans in ((old, times[0]), (index, times[1])):
            began = time.process_time()
            one.search(query, K)
            spans.append(1000 * (time.process_time() - began))

    def shown(shares: dict[str, float]) -> str:
        return ", ".join(f"{name} {one:.3f}" for name, one in shares.items())

    def milliseconds(spans: list[float]) -> str:
        return f"{statistics.median(spans):.1f} ms"

    cells = [kind.name, str(len(kind.rows)), shown(first), shown(last), chosen.words, f"{made:.1f} s"]
    return [*cells, f"{spent:.1f} s", *map(milliseconds, times)]


if __name__ == "__main__":
    main()
