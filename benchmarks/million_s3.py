"""Queries of a million rows in an object store, beside the same on disk: times, requests and bytes.

    python benchmarks/million_s3.py --folder DIR                # makes the index in DIR, 4.7 GB, or uses that there
    python benchmarks/million_s3.py --quick                     # 50,000 rows
    python benchmarks/million_s3.py --folder DIR --latency 30   # each request takes 30 ms longer

Clustered vectors of 1,024 numbers (benchmarks/vectors.py), k is 10. The store is benchmarks/readonly_s3.py on this
machine, which counts; each place is asked by a process of its own that has nothing in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import vectors
from readonly_s3 import TOLD, serving
from rich.console import Console
from rich.table import Table

from clip2video_plugin.index import VideoIndex, segments, upkeep

K, WARM, FEW = 10, 40, 5
console = Console(width=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--part-rows", type=int, default=250_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask:
        print(json.dumps(ask(args.ask)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary, "index")
        make(folder, 50_000 if args.quick else args.rows, args.part_rows)
        with serving(folder.absolute(), args.latency / 1000) as address:
            keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "us-east-1"}
            where = {"AWS_ENDPOINT": address, "AWS_ALLOW_HTTP": "true", **keys}
            for name, uri, more in (("disk", str(folder), {}), ("store", "s3://bucket", where)):
                command = [sys.executable, __file__, "--ask", uri]
                done = subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                show(name, json.loads(done.stdout.splitlines()[-1]))


def make(folder: Path, rows: int, part_rows: int) -> None:
    index = VideoIndex.open(folder) if folder.is_dir() else vectors.fill(folder, rows)
    table: Any = index._table
    if upkeep.has_index(table, "vector"):
        return
    before, began, used = peak(), time.perf_counter(), time.process_time()
    segments.build(index.uri, table, bits=upkeep.BITS, part_rows=part_rows)
    console.print(
        f"{table.count_rows()} rows in parts of {part_rows}: {time.perf_counter() - began:.0f} s, "
        f"{time.process_time() - used:.0f} s of CPU; peak memory {before:.2f} GB before, {peak():.2f} after"
    )
    upkeep.index_column(table, "id")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def ask(uri: str) -> list[dict[str, Any]]:
    """What each kind of question took, from the first that this process asks."""
    drawn = iter(vectors.queries(1000, gap=True))
    out = list[dict[str, Any]]()

    def told() -> dict[str, Any]:
        if "://" not in uri:
            return {"requests": {}, "bytes": {}}
        with urllib.request.urlopen(os.environ["AWS_ENDPOINT"] + TOLD) as answer:
            read: dict[str, Any] = json.load(answer)
            return read

    def timed(name: str, question: Any, rounds: int) -> Any:
        told()
        times, answer = [], None
        for _ in range(rounds):
            time.sleep(0.05)
            began = time.perf_counter()
            answer = question()
            times.append(1000 * (time.perf_counter() - began))
        out.append({"name": name, "ms": times, "rounds": rounds, **told()})
        return answer

    index = timed("open", lambda: VideoIndex.open(uri), 1)
    some = frozenset(vectors.row_id(n) for n in range(0, 1_000_000, 1_000))
    for name, how in (
        ("query", {}),
        ("a filter that keeps 10 %", {"where": "path LIKE '%7.mp4'"}),
        ("a filter that keeps 0.1 %", {"where": "path LIKE '%777.mp4'"}),
        ("a view of 1,000", {"ids": some}),
    ):
        timed(f"{name}, first", lambda how=how: index.search(next(drawn), K, **how), 1)
        rounds = FEW if "where" in how else WARM
        timed(f"{name}, warm", lambda how=how: index.search(next(drawn), K, **how), rounds)
    timed("c2v search asks again: open and query", lambda: VideoIndex.open(uri).search(next(drawn), K), 5)
    index = VideoIndex.open(uri)
    timed("LanceDB's prewarm_index", lambda: index._table.prewarm_index(segments.NAME), 1)
    timed("query, the whole index in memory", lambda: index.search(next(drawn), K), WARM)
    out.append({"name": "peak memory", "mb": 1024 * peak()})
    return out


def show(name: str, told: list[dict[str, Any]]) -> None:
    table = Table("", "ms, p50", "p95", "requests each", "KB each", "which", title=name)
    for one in told:
        if "mb" in one:
            console.print(f"peak memory of the process that asks ({name}): {one['mb']:.0f} MB")
            continue
        each = one["rounds"]
        which = ", ".join(f"{count / each:.3g} {what}" for what, count in sorted(one["requests"].items()))
        table.add_row(
            one["name"],
            f"{np.percentile(one['ms'], 50):.1f}",
            f"{np.percentile(one['ms'], 95):.1f}" if each > 1 else "",
            f"{sum(one['requests'].values()) / each:.3g}",
            f"{sum(one['bytes'].values()) / each / 1000:.4g}",
            which,
        )
    console.print(table)


if __name__ == "__main__":
    main()
