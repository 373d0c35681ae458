"""The vector index made at once, in parts, and in parts by Ray tasks: seconds, memory and recall.

    python benchmarks/segments.py                                       # 100,000 rows of 256 numbers
    python benchmarks/segments.py --rows 100000 --dim 1024 --part-rows 25000

Each way is a process of its own, on a copy of one table of clustered vectors (benchmarks/vectors.py). Memory is what
the process had at most beyond what it had before; of tasks that of the largest. Recall@10 is against exact products,
across the modality gap. Then the table grows by 8 times 1 %, each folded in by LanceDB, and a query is timed before and
after the segments that came of it are put together.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import vectors
from rich.console import Console
from rich.table import Table

from clip2video_plugin.index import VideoIndex, segments, upkeep

K, QUERIES, BITS = 10, 100, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--part-rows", type=int, default=25_000)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    vectors.DIM = args.dim
    if args.way:
        print(json.dumps(WAYS[args.way](VideoIndex.open(args.folder), args)))
        return
    shown = Table("", "s", "s of CPU", "MB more, at most", "MB of the largest task", "recall@10")
    with tempfile.TemporaryDirectory() as folder:
        vectors.fill(Path(folder, "filled"), args.rows)
        for name in WAYS:
            copy = Path(folder, "copy")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(Path(folder, "filled"), copy)
            command = [sys.executable, __file__, "--way", name, "--folder", str(copy)]
            command += ["--rows", str(args.rows), "--dim", str(args.dim), "--part-rows", str(args.part_rows)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            shown.add_row(name, *json.loads(done.stdout.splitlines()[-1]))
        Console().print(shown)
        growing(VideoIndex.open(copy), args.rows)


def built(index: VideoIndex, args: argparse.Namespace, how: Any, tasks: list[float]) -> list[str]:
    before, began, used = start(), time.perf_counter(), time.process_time()
    how(index, args)
    spent, cpu, more = time.perf_counter() - began, time.process_time() - used, memory("VmHWM") - before
    largest = f"{max(tasks):.0f}" if tasks else ""
    return [f"{spent:.1f}", f"{cpu:.1f}", f"{more:.0f}", largest, f"{recall(index, args.rows):.4f}"]


def at_once(index: VideoIndex, args: argparse.Namespace) -> list[str]:
    return built(index, args, lambda index, _: upkeep.index_vectors(index._table, BITS), [])


def in_parts(index: VideoIndex, args: argparse.Namespace) -> list[str]:
    def build(index: VideoIndex, args: argparse.Namespace) -> None:
        segments.build(index.uri, index._table, bits=BITS, part_rows=args.part_rows)

    return built(index, args, build, [])


def by_tasks(index: VideoIndex, args: argparse.Namespace) -> list[str]:
    from clip2video_plugin.cluster import connected
    from clip2video_plugin.tasks import run_on

    tasks = list[float]()

    def each(make: Any, parts: Any) -> Iterable[Any]:
        made = run_on(None)(partial(watched, make), parts)
        tasks.extend(more for more, _ in made)
        return [part for _, part in made]

    def build(index: VideoIndex, args: argparse.Namespace) -> None:
        segments.build(index.uri, index._table, bits=BITS, part_rows=args.part_rows, each=each)

    with connected(None):
        return built(index, args, build, tasks)


def watched(make: Any, part: Any) -> tuple[float, Any]:
    before = start()
    made = make(part)
    return memory("VmHWM") - before, made


WAYS = {"at once, by LanceDB": at_once, "in parts": in_parts, "in parts, by Ray tasks": by_tasks}


def memory(what: str) -> float:
    """MB of this process: "VmRSS" now, "VmHWM" at most since ``start``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def start() -> float:
    """MB now; the most is counted from here on, without what this process was forked from."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def recall(index: VideoIndex, rows: int) -> float:
    asked = vectors.queries(QUERIES, gap=True)
    scores = np.concatenate([asked @ part.T for part in vectors.parts(rows)], axis=1)
    right = [set(row.tolist()) for row in np.argpartition(-scores, K, axis=1)[:, :K]]
    found = [{int(hit.id, 16) for hit in index.search(query, K)} for query in asked]
    return sum(len(a & b) for a, b in zip(found, right, strict=True)) / (K * QUERIES)


def growing(index: VideoIndex, rows: int) -> None:
    blank = {"sample_id": None, "start": 0.0, "end": None, "duration": None, "captions": [], "size": 1, "mtime": 1.0}
    for turn in range(8):
        more = vectors.near(rows // 100, 9000 + turn)
        index.write([{"id": f"{turn}-{n}", "path": f"/{turn}/{n}", "vector": v, **blank} for n, v in enumerate(more)])
        index._table.optimize()
    timed("after 8 foldings", index)
    began = time.perf_counter()
    segments.fold(index._table)
    print(f"put together in {time.perf_counter() - began:.2f} s")
    timed("then", index)


def timed(name: str, index: VideoIndex) -> None:
    times = list[float]()
    for query in vectors.queries(QUERIES, gap=True):
        time.sleep(0.02)
        began = time.perf_counter()
        index.search(query, K)
        times.append(1000 * (time.perf_counter() - began))
    count = index._table.index_stats(segments.NAME).num_indices
    middle, most = np.percentile(times, [50, 95])
    print(f"{name}: {count} segments, a query takes {middle:.1f} ms (p95 {most:.1f})")


if __name__ == "__main__":
    main()
