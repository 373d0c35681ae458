"""What the engine costs on one machine: the same videos by a plain run and by actors of a Ray cluster.

    python benchmarks/cluster.py [--videos 300] [--actors 2]

Generated clips of 24 frames, the embedded model, a cluster of this run alone. Seconds until an actor is ready and until
the first videos are done, videos a second from then on, seconds of CPU time (of Ray's processes too), memory of an
actor, and the least cosine of the rows of the two runs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import lancedb
import numpy as np
import psutil
from rich.console import Console

from clip2video_plugin import embed_videos, load_model
from clip2video_plugin.report import Report
from clip2video_plugin.shapes import scenes, write_videos


def vectors(uri: Path) -> np.ndarray:
    rows = lancedb.connect(uri).open_table("videos").to_arrow().sort_by("path")
    out = np.stack(rows["vector"].to_numpy(zero_copy_only=False)).astype(np.float64)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--actors", type=int, default=2)
    args = parser.parse_args()
    os.environ["RAY_ADDRESS"] = "local"
    model, say = load_model("shapes", device="cpu"), Console().print
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder / "videos", list(islice(scenes(5), args.videos)), paraphrases=1)
        for engine in (None, "ray"):
            ready, first, memory, began, mine = 0.0, 0.0, 0, time.monotonic(), time.process_time()
            others = dict[int, float]()  # CPU seconds by process

            def tell(report: Report, began: float = began, others: dict[int, float] = others) -> None:
                nonlocal ready, first, memory
                now = time.monotonic() - began
                ready, first = ready or now * bool(report.actors), first or now * bool(report.embedded)
                for process in psutil.Process().children(recursive=True) if report.actors else ():
                    with suppress(psutil.Error):
                        others[process.pid] = sum(process.cpu_times()[:2])
                        if "ray::Encoder" in " ".join(process.cmdline()):
                            memory = max(memory, process.memory_info().rss)

            report = embed_videos(
                [folder / "videos"],
                index=folder / str(engine),
                model=model,
                engine=engine,
                actors=args.actors if engine else None,
                progress=tell,
            )
            seconds, cpu = time.monotonic() - began, time.process_time() - mine
            line = (
                f"{engine or 'plain'}: {report.embedded} of {args.videos} in {seconds:.1f} s, first after {first:.1f}"
            )
            rate = f"then {report.embedded / max(seconds - first, 0.001):.1f} videos/s"
            line = f"{line}, {rate}; {cpu:.0f} s of a core"
            if engine:
                line += f" and {sum(others.values()):.0f} s in {len(others)} processes"
                line += f"; an actor after {ready:.1f} s, {memory / 1e6:.0f} MB"
            say(line)
        cosines = np.einsum("nd,nd->n", vectors(folder / "None"), vectors(folder / "ray"))
        say(f"cosine {cosines.min():.9f} or more; load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
