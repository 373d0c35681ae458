"""Peak memory of ``embed`` to its very end, as the number of videos grows; only reading and encoding are simulated.

    nice python benchmarks/embed_memory.py                         # 10,000, 100,000 and 1,000,000 videos
    nice python benchmarks/embed_memory.py --rows 10000 50000      # others
    python benchmarks/embed_memory.py --rows 100000 --trace        # what memory is at, every second

Every size is embedded by a process of its own: ``embed_items`` with its skipping, writer, folding and index building.
Its videos are names without files, their vectors random ones of 1,024 numbers. Peaks are the kernel's: VmHWM of that
process, which starts no other, and of it what is anonymous (not pages of files), sampled ten times a second.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

BATCH, DIM = 64, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=DIM, help="numbers of a vector")
    parser.add_argument("--folder", type=Path, help="where the indexes are made, for a while")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(simulate(args.one, args.rows[0], args.dim, trace=args.trace)))
        return
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("lancedb", "pyarrow")), flush=True)
    print("   videos  peak MB  anonymous  at start  embedding s  indexing s  folder MB  parts", flush=True)
    for rows in args.rows:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            command = [sys.executable, __file__, "--one", folder, "--rows", str(rows), "--dim", str(args.dim)]
            done = subprocess.run(
                command + ["--trace"] * args.trace, check=True, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            told = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{rows:9}  {told['peak']:7.0f}  {told['anonymous']:9.0f}  {told['before']:8.0f}  {told['embedding']:11.0f}"
            f"  {told['indexing']:10.0f}  {told['folder']:9.0f}  {told['parts']:5}",
            flush=True,
        )


def status(field: str) -> float:
    """Of this process, in MB."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


def simulate(folder: Path, rows: int, dim: int, *, trace: bool) -> dict[str, float]:
    import numpy as np

    from clip2video_plugin import embed, load_model
    from clip2video_plugin.encode import Embedded, Item, batched
    from clip2video_plugin.index import VideoIndex
    from clip2video_plugin.index.upkeep import folder_bytes
    from clip2video_plugin.provenance import provenance
    from clip2video_plugin.rows import video_id

    model = load_model("shapes", device="cpu")
    random = np.random.default_rng(0)
    thumbnails = np.zeros((12, 64), np.uint8)

    def items() -> Iterator[Item]:
        for number in range(rows):
            place = Path(f"/library/{number // 1000:04}/a video of that number {number:08}.mp4")
            yield Item(place, video_id(place), stamp=(1_000_000 + number, 1.7e9 + number))

    def sentences(*_: Any) -> Any:
        vectors = random.standard_normal((64, dim), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    embed.sentences = sentences  # the network's own have another length

    def simulated(todo: Any, *_: Any, **__: Any) -> Generator[list[Embedded], None, None]:
        for batch in batched(todo, BATCH):
            vectors = random.standard_normal((len(batch), dim), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            yield [
                Embedded(wish.item, wish.stamp, 12.0, vector, None, thumbnails, wish.item.id)
                for wish, vector in zip(batch, vectors, strict=True)
            ]

    index = VideoIndex.create(folder / "index", dim, provenance(model))
    before, began, phase = status("VmHWM"), time.perf_counter(), ["embedding"]
    seen, over = [0.0], threading.Event()

    def watch() -> None:
        last = 0.0
        while not over.wait(0.1):
            seen.append(status("RssAnon"))
            if trace and (now := time.perf_counter() - began) - last >= 1:
                last = now
                print(
                    f"{now:6.0f} s {phase[0]} {report[0]} anonymous {seen[-1]:.0f} peak {status('VmHWM'):.0f}",
                    file=sys.stderr,
                    flush=True,
                )

    report, indexing = [0], [0.0]

    def tell(now: embed.Report) -> None:
        report[0] = now.embedded
        if now.indexing:
            phase[0], indexing[0] = "indexing", time.perf_counter()

    threading.Thread(target=watch, daemon=True).start()
    done = embed.embed_items(items(), model, index, encode=simulated, progress=tell)
    ended = time.perf_counter()
    over.set()
    assert (done.embedded, index.count()) == (rows, rows)
    middle = indexing[0] or ended
    return {
        "before": before,
        "peak": status("VmHWM"),
        "anonymous": max(seen),
        "embedding": middle - began,
        "indexing": ended - middle,
        "folder": folder_bytes(folder) / 1024**2,
        "parts": index._table.stats()["fragment_stats"]["num_fragments"],
    }


if __name__ == "__main__":
    main()
