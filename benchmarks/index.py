"""Adding to an index and asking it, beside FiftyOne's own backends, LanceDB without index and numpy.

    python benchmarks/index.py [--rows 100000] [--rounds 15]     # 100,000 rows: FiftyOne's LanceDB and sklearn backends
    python benchmarks/index.py --rows 1000000 --folder DIR       # LanceDB without index, and numpy; DIR keeps the table
    python benchmarks/index.py --quick                           # 20,000 rows

Clustered vectors of 1,024 numbers (benchmarks/vectors.py); k is 10. Recall is against exact products, for queries
like the rows and for queries from across the modality gap, with the global and the aligned half weighted by w.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import vectors
from numpy.typing import NDArray
from rich.console import Console
from side_by_side import show, timed

from clip2video_plugin.index import Hit, VideoIndex

K, QUERIES = 10, 100
REST = 0.2  # seconds before every query
FIFTYONE = 200_000  # rows up to which FiftyOne's backends take part
console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    rows, rounds = (20_000, 5) if args.quick else (args.rows, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        index = make(args.folder or Path(folder) / "ours", rows)
        recall(index, rows)
        view = np.sort(np.random.default_rng(3).choice(rows, rows // 10, replace=False))
        if rows <= FIFTYONE:
            beside_fiftyone(index, rows, view, rounds, Path(folder))
        else:
            beside_exact(index, rows, view, rounds)


def make(folder: Path, rows: int) -> VideoIndex:
    if folder.is_dir():
        return VideoIndex.open(folder)
    began = time.perf_counter()
    index = vectors.fill(folder, rows)
    written, before = time.perf_counter(), peak()
    index.finish()
    console.print(
        f"{rows} rows: written in {written - began:.0f} s; indexes made in {time.perf_counter() - written:.1f} s, "
        f"peak memory {before:.2f} GB before, {peak():.2f} GB after"
    )
    return index


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def at_weight(queries: NDArray[np.float32], w: float) -> NDArray[np.float32]:
    """Queries whose global half counts w, as ``TextEmbedding.at_weight`` makes them."""
    halves = np.split(queries, 2, axis=1)
    one, other = (half / np.linalg.norm(half, axis=1, keepdims=True) for half in halves)
    return np.concatenate([w * one, (1 - w) * other], axis=1).astype(np.float32) * np.float32(2**0.5)


def numbers(hits: list[Hit]) -> set[int]:
    return {int(hit.id, 16) for hit in hits}


def best(queries: NDArray[np.float32], rows: int, view: NDArray[np.int64] | None = None) -> list[set[int]]:
    scores = np.concatenate([queries @ part.T for part in vectors.parts(rows)], axis=1)
    if view is not None:
        kept = np.full(rows, -np.inf, np.float32)
        kept[view] = 0
        scores += kept
    return [set(row.tolist()) for row in np.argpartition(-scores, K, axis=1)[:, :K]]


def found(answers: list[set[int]], right: list[set[int]]) -> float:
    return sum(len(a & b) for a, b in zip(answers, right, strict=True)) / (K * len(right))


def recall(index: VideoIndex, rows: int) -> None:
    for gap in (False, True):
        drawn = vectors.queries(QUERIES, gap=gap)
        for w in (0.5, 0.0, 1.0):
            asked = at_weight(drawn, w)
            share = found([numbers(index.search(q, K)) for q in asked], best(asked, rows))
            console.print(f"recall@10, {'across the gap' if gap else 'in distribution'}, w = {w}: {share:.4f}")


def beside_exact(index: VideoIndex, rows: int, view: NDArray[np.int64], rounds: int) -> None:
    everything = vectors.everything(rows)
    table: Any = index._table
    ids = frozenset(vectors.row_id(n) for n in view.tolist())
    for gap in (False, True):
        asked = vectors.queries(QUERIES, gap=gap)
        turn = count()

        def query(asked: NDArray[np.float32] = asked, turn: Any = turn) -> NDArray[np.float32]:
            one: NDArray[np.float32] = asked[next(turn) % QUERIES]
            return one

        def brute(query: Any = query) -> None:
            table.search(query()).distance_type("dot").bypass_vector_index().select(["id", "_distance"]).limit(
                K
            ).to_list()

        spent = timed(
            {
                "LanceDB without index": brute,
                "numpy, exact": lambda query=query: np.argpartition(-(everything @ query()), K)[:K],
                "this index": lambda query=query: index.search(query(), K),
                "this index, in a view of 10 %": lambda query=query: index.search(query(), K, ids=ids),
            },
            rounds,
            rest=REST,
        )
        answers = {
            "this index": found([numbers(index.search(q, K)) for q in asked], best(asked, rows)),
            "this index, in a view of 10 %": found(
                [numbers(index.search(q, K, ids=ids)) for q in asked], best(asked, rows, view)
            ),
        }
        where = "across the modality gap" if gap else "in distribution"
        show(f"warm query, {rows} rows, {where}", spent, {name: f"{share:.4f}" for name, share in answers.items()})
    few = view[:100]
    scores = asked[:20] @ everything[few].T
    exact = [set(few[row].tolist()) for row in np.argsort(-scores, axis=1)[:, :K]]
    small = {vectors.row_id(n) for n in few.tolist()}
    console.print(f"views of 100: recall {found([numbers(index.search(q, K, ids=small)) for q in asked[:20]], exact)}")


def beside_fiftyone(index: VideoIndex, rows: int, view: NDArray[np.int64], rounds: int, folder: Path) -> None:
    from clip2video_plugin.app.demo.mongod import use_own_database

    use_own_database(folder / "db")
    import fiftyone as fo
    import fiftyone.brain as fob

    from clip2video_plugin.app.similarity import Clip2VideoSimilarityConfig

    console.print("filling FiftyOne's backends ...")
    dataset = fo.Dataset()
    ids = dataset.add_samples([fo.Sample(filepath=f"/videos/{n}.mp4") for n in range(rows + 1000)], progress=False)
    everything = vectors.everything(rows)
    peers = {}
    for backend, more in (("lancedb", {"uri": str(folder / "theirs"), "metric": "cosine"}), ("sklearn", {})):
        peers[backend] = fob.compute_similarity(dataset, backend=backend, brain_key=backend, embeddings=False, **more)
        peers[backend].add_to_index(everything, ids[:rows], reload=True)
    vectors.fill(folder / "ours", rows, ids, table="benchmark").finish()
    method = Clip2VideoSimilarityConfig(uri=str(folder / "ours"), table_name="benchmark", checkpoint="shapes").build()
    method.register_run(dataset, "ours", overwrite=False)
    ours: Any = method.initialize(dataset, "ours")
    method.save_run_results(dataset, "ours", ours)

    asked, turn = vectors.queries(QUERIES, gap=True), count()
    inside = dataset.select([ids[n] for n in view])

    def ask(samples: Any, brain_key: str) -> None:
        samples.sort_by_similarity(asked[next(turn) % QUERIES], k=K, brain_key=brain_key)

    for title, samples in ((f"{rows} samples", dataset), (f"a view of 10 % of {rows}", inside)):
        spent = timed(
            {
                "FiftyOne's LanceDB backend": lambda samples=samples: ask(samples, "lancedb"),
                "FiftyOne's default (sklearn)": lambda samples=samples: ask(samples, "sklearn"),
                "this index": lambda samples=samples: ask(samples, "ours"),
            },
            rounds,
            rest=REST,
        )
        show(f"sort_by_similarity, warm, {title}", spent)
    few = frozenset(vectors.row_id(n) for n in view.tolist())

    def bare(backend: str, samples: Any) -> None:
        peers[backend].use_view(samples)
        # as sort_by_similarity asks; without aggregation the default backend would answer from another structure
        peers[backend]._kneighbors(query=asked[next(turn) % QUERIES], k=K, aggregation="mean")

    for title, samples, only in ((f"{rows} rows", dataset, None), (f"a view of 10 % of {rows}", inside, few)):
        spent = timed(
            {
                "FiftyOne's LanceDB backend": lambda samples=samples: bare("lancedb", samples),
                "FiftyOne's default (sklearn)": lambda samples=samples: bare("sklearn", samples),
                "this index": lambda only=only: index.search(asked[next(turn) % QUERIES], K, ids=only),
            },
            rounds,
            rest=REST,
        )
        show(f"the indexes alone, warm, {title}", spent)

    extra = vectors.near(1000, 5)
    began = time.perf_counter()
    peers["lancedb"].add_to_index(extra, ids[rows:])
    theirs, times = time.perf_counter() - began, []
    blank = {"sample_id": None, "start": 0.0, "end": None, "duration": None, "captions": [], "size": 1, "mtime": 1.0}
    added = [{"id": f"new{n}", "path": f"/new/{n}", "vector": v, **blank} for n, v in enumerate(extra)]
    for _ in range(5):
        began = time.perf_counter()
        index.write(added)
        times.append(time.perf_counter() - began)
        index.delete([str(row["id"]) for row in added])
    show(f"adding 1,000 rows to {rows}", {"FiftyOne's LanceDB backend": [theirs] * 5, "this index": times})
    dataset.delete()


if __name__ == "__main__":
    main()
