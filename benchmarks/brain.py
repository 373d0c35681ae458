"""Similarity search beside the LanceDB backend of FiftyOne Brain 0.27, each time with the recall@10 of its answers.

    python benchmarks/brain.py [--rows 100000] [--rounds 30] [--writers 2 4] [--exact-rows 1000000]
    python benchmarks/brain.py --quick                       # 10,000 rows, 8 rounds, no million

Needs an environment of its own, as FiftyOne 1.22 asks for an older Brain: this package installed as always, and then
``pip install --no-deps 'fiftyone-brain==0.27.*'``. One dataset in a real mongod, the same vectors of 1,024 numbers
(benchmarks/vectors.py) in both backends with their defaults. Each round asks both in turn for the 10 best of the same
query, through ``sort_by_similarity``, after a rest of 0.2 s. The answers of the timed calls are held against exact
products; beside stands the time of the processors for a call, of this process and of MongoDB, which a busy machine
changes less. With --exact-rows this index alone stands beside LanceDB without index and numpy (a million rows take 5 GB
of disk and 7 of memory). Ctrl-C ends it; the tables that were done are printed by then.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import index as alone
import lancedb
import numpy as np
import psutil
import vectors
from numpy.typing import NDArray
from rich.console import Console
from side_by_side import show

K, REST, ADDED, ADDS = 10, 0.2, 1_000, 7
THEIRS, OURS = "FiftyOne Brain's LanceDB backend", "this package"
KEYS = {THEIRS: "theirs", OURS: "ours"}
console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--writers", type=int, nargs="*", default=[2, 4], help="processes that add at once")
    parser.add_argument("--exact-rows", type=int, default=0, help="rows of the index alone beside exact scans")
    parser.add_argument("--folder", type=Path, help="keeps the dataset and the tables here, for another run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)  # what a writer of --writers is started with
    args = parser.parse_args()
    if args.write:
        write(Path(args.folder), *args.write)
        return
    if args.quick:
        args.rows, args.rounds = min(args.rows, 10_000), min(args.rounds, 8)
    told()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        bench = Bench.of(folder, args.rows)
        bench.queries(args.rounds)
        bench.adds()
        for count in args.writers:
            bench.adds_at_once(count, folder)
        if args.exact_rows:
            index = alone.make(folder / f"alone{args.exact_rows}", args.exact_rows)
            view = np.sort(np.random.default_rng(3).choice(args.exact_rows, args.exact_rows // 10, replace=False))
            alone.beside_exact(index, args.exact_rows, view, args.rounds)


def told() -> None:
    """What is compared, and on what; refuses another Brain than 0.27."""
    versions = {name: importlib.metadata.version(name) for name in ("fiftyone-brain", "fiftyone", "lancedb", "numpy")}
    if not versions["fiftyone-brain"].startswith("0.27."):
        sys.exit(f"fiftyone-brain is {versions['fiftyone-brain']}; this needs 0.27 (see the top of {__file__})")
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    console.print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Python {platform.python_version()}, {names}")


def connect(folder: Path) -> Any:
    """FiftyOne on the benchmark's own database."""
    from clip2video_plugin.app.demo.mongod import use_own_database

    use_own_database(folder / "db")
    import fiftyone as fo

    return fo


@dataclass
class Calls:
    """Calls of one backend: seconds of each, seconds until its samples' ids were read, and which samples these are."""

    seconds: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    found: list[set[int]] = field(default_factory=list)
    processor: float = 0.0  # seconds of processors, MongoDB's with them, of all calls


@dataclass
class Bench:
    """A dataset with a run of each backend; ``ids`` of its samples, in the order of ``everything`` [rows, D]."""

    dataset: Any
    ids: list[str]
    everything: NDArray[np.float32]
    inside: NDArray[np.int64]  # rows of the view of 10 % that a field says
    server: psutil.Process  # MongoDB's

    @classmethod
    def of(cls, folder: Path, rows: int) -> Bench:
        """Makes both, or takes what an earlier run with the same folder made."""
        fo = connect(folder)
        import fiftyone.brain as fob

        from clip2video_plugin.app.similarity import Clip2VideoSimilarityConfig

        name, inside = f"rows{rows}", np.sort(np.random.default_rng(3).choice(rows, rows // 10, replace=False))
        server = psutil.Process(int((folder / "db" / "database" / "mongod.lock").read_text()))
        everything = vectors.everything(rows)
        if fo.dataset_exists(name):
            dataset = fo.load_dataset(name)
            return cls(dataset, dataset[:rows].values("id"), everything, inside, server)
        chosen, began = set(inside.tolist()), time.perf_counter()
        dataset = fo.Dataset(name)
        samples = (
            fo.Sample(filepath=f"/videos/{n}.mp4", split="val" if n in chosen else "train")
            for n in range(rows + ADDED * (ADDS + 1))
        )
        ids = dataset.add_samples(samples, progress=False)
        console.print(f"{len(ids)} samples in {seconds_since(began)}")
        began = time.perf_counter()
        peer = fob.compute_similarity(
            dataset, backend="lancedb", brain_key=KEYS[THEIRS], embeddings=False, uri=str(folder / name / "theirs")
        )
        peer.add_to_index(everything, ids[:rows])
        console.print(f"{THEIRS}: {rows} rows written and indexed in {seconds_since(began)}")
        began = time.perf_counter()
        place = folder / name / "ours"
        vectors.fill(place, rows, ids, table="benchmark").finish()
        method = Clip2VideoSimilarityConfig(uri=str(place), table_name="benchmark", checkpoint="shapes").build()
        method.register_run(dataset, KEYS[OURS], overwrite=False)
        method.save_run_results(dataset, KEYS[OURS], method.initialize(dataset, KEYS[OURS]))
        console.print(f"{OURS}: {rows} rows written and indexed in {seconds_since(began)}")
        dataset.persistent = True
        return cls(dataset, ids[:rows], everything, inside, server)

    def queries(self, rounds: int) -> None:
        """In the whole dataset, and in views of 10 % of it of three kinds."""
        from fiftyone import ViewField

        rows = len(self.ids)
        tenth, middle = rows // 10, rows // 2
        part = np.arange(middle, middle + tenth)
        views: dict[str, tuple[Any, NDArray[np.int64]]] = {
            f"{rows} samples": (self.dataset, np.arange(rows)),
            "a view of 10 % by a field (match)": (self.dataset.match(ViewField("split") == "val"), self.inside),
            "a view of 10 % by place (a slice)": (self.dataset[middle : middle + tenth], part),
            "a view of 10 % by ids (select)": (self.dataset.select([self.ids[n] for n in self.inside]), self.inside),
        }
        for gap in (False, True):
            asked = vectors.queries(rounds + 1, gap=gap)
            for name, (samples, inside) in views.items():
                calls = self.ask(samples, asked)
                truth = [
                    set(inside[np.argpartition(-row, K)[:K]].tolist()) for row in asked @ self.everything[inside].T
                ]
                where = "queries from across the modality gap" if gap else "queries like the rows"
                report(f"sort_by_similarity, {name}, {where}", calls, truth[1:])

    def ask(self, samples: Any, asked: NDArray[np.float32]) -> dict[str, Calls]:
        """Both backends in turn, query by query; the first query warms up."""
        calls, number = {name: Calls() for name in KEYS}, {i: n for n, i in enumerate(self.ids)}
        for turn, query in enumerate(asked):
            for name, key in KEYS.items():
                time.sleep(REST)
                used, began = self.processor(), time.perf_counter()
                view = samples.sort_by_similarity(query, k=K, brain_key=key)
                called, used = time.perf_counter(), self.processor() - used
                found = view.values("id")
                read = time.perf_counter()
                if turn:
                    calls[name].seconds.append(called - began)
                    calls[name].read.append(read - began)
                    calls[name].processor += used
                    calls[name].found.append({number[i] for i in found})
        return calls

    def processor(self) -> float:
        """Seconds that this process and MongoDB computed so far."""
        theirs = self.server.cpu_times()
        return time.process_time() + theirs.user + theirs.system

    def adds(self) -> None:
        """Adding rows of samples that have none, 1,000 at a time."""
        spent: dict[str, list[float]] = {name: [] for name in KEYS}
        runs = {name: self.dataset.load_brain_results(key) for name, key in KEYS.items()}
        more = self.dataset.skip(len(self.ids)).values("id")
        for turn in range(ADDS):
            ids, fresh = more[turn * ADDED : (turn + 1) * ADDED], vectors.near(ADDED, 50 + turn)
            for name, run in runs.items():
                time.sleep(REST)
                began = time.perf_counter()
                run.add_to_index(fresh, ids)
                if turn:
                    spent[name].append(time.perf_counter() - began)
        show(f"add_to_index, {ADDED} rows to {len(self.ids)}", spent)
        for run in runs.values():
            run.remove_from_index(more[: ADDED * ADDS])

    def adds_at_once(self, count: int, folder: Path) -> None:
        """The same new rows added by several processes at the same moment: how many ids are in the table twice?"""
        more = self.dataset.skip(len(self.ids)).values("id")[-ADDED:]
        for name, key in KEYS.items():
            run = self.dataset.load_brain_results(key)
            command = [sys.executable, __file__, "--folder", str(folder), "--write", self.dataset.name, key]
            began = time.perf_counter()
            writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
            for writer in writers:
                assert writer.stdout is not None
                writer.stdout.readline()  # it has connected
            for writer in writers:
                assert writer.stdin is not None
                writer.stdin.close()  # all go now
            failed = sum(writer.wait() != 0 for writer in writers)
            config = run.config
            table = lancedb.connect(config.uri).open_table(config.table_name)
            stored = Counter(table.search().select(["id"]).limit(None).to_arrow()["id"].to_pylist())
            doubled, missing = sum(stored[i] > 1 for i in more), sum(stored[i] == 0 for i in more)
            console.print(
                f"{count} processes add the same {ADDED} rows at once, {name}: {doubled} ids are there more than once, "
                f"{missing} are missing, {failed} processes failed ({seconds_since(began)} with their start)"
            )
            run.remove_from_index(more)


def write(folder: Path, dataset: str, key: str) -> None:
    """What a process of ``adds_at_once`` does."""
    fo = connect(folder)
    samples = fo.load_dataset(dataset)
    run = samples.load_brain_results(key)
    ids, fresh = samples.limit(int(1e9)).values("id")[-ADDED:], vectors.near(ADDED, 99)
    print("ready", flush=True)
    sys.stdin.read()
    run.add_to_index(fresh, ids)


def report(title: str, calls: dict[str, Calls], truth: list[set[int]]) -> None:
    recall = {
        name: f"{sum(len(a & b) for a, b in zip(one.found, truth, strict=True)) / (K * len(truth)):.3f}, "
        f"{1000 * one.processor / len(truth):.0f} ms"
        for name, one in calls.items()
    }
    more = "recall@10, processor"
    show(title, {name: one.seconds for name, one in calls.items()}, recall, more=more)
    show(f"{title}, and the ids read", {name: one.read for name, one in calls.items()}, recall, more=more)


def seconds_since(began: float) -> str:
    return f"{time.perf_counter() - began:.0f} s"


if __name__ == "__main__":
    main()
