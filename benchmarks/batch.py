"""How much faster 100 queries are together than one by one, and that the answers are the same.

    python benchmarks/batch.py [--rows 50000] [--rounds 5] [--quick]    # --quick: 9,000 rows, scanned without an index

Clustered vectors of 1,024 numbers (benchmarks/vectors.py), queries from across the modality gap; k is 10. Once by
exact scan, and above 10,000 rows once more through the vector index.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import vectors
from side_by_side import show, speedup, timed

from clip2video_plugin.index import VideoIndex

QUERIES, K = 100, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    rows, rounds = (9_000, 2) if args.quick else (args.rows, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        index = vectors.fill(Path(folder) / "index", rows)
        compare(index, f"{rows} rows, exact scan", rounds)
        if index.needs_indexing():
            index.finish()
            compare(index, f"{rows} rows, vector index", rounds)


def compare(index: VideoIndex, title: str, rounds: int) -> None:
    asked = vectors.queries(QUERIES, gap=True)
    spent = timed(
        {
            "one by one": lambda: [index.search(query, K) for query in asked],
            "together": lambda: index.search_all(asked, K),
        },
        rounds,
    )
    alone = [[hit.id for hit in index.search(query, K)] for query in asked]
    together = [[hit.id for hit in hits] for hits in index.search_all(asked, K)]
    same = sum(one == other for one, other in zip(alone, together, strict=True))
    show(f"{QUERIES} queries, {title}", spent)
    middle, least, most = speedup(spent["one by one"], spent["together"])
    print(f"together {middle:.1f} times as fast ({least:.1f} to {most:.1f}); {same} of {QUERIES} answers are the same")


if __name__ == "__main__":
    main()
