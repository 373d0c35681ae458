"""Writers of one index at once, some of them killed: how many rows are doubled, how many lost, how long they wait.

    python benchmarks/writers.py                    # 2, 5 and 16 writers on a folder, file:// and a local S3
    python benchmarks/writers.py --kills 50         # one of three writers killed (-9) 50 times, at random moments
    python benchmarks/writers.py --embed 4          # rounds of real "c2v embed" of overlapping folders, one killed
    python benchmarks/writers.py --lease            # requests and seconds of taking and giving back a lease
    python benchmarks/writers.py --memory 1000000   # of writing 1,000 new rows of 1,024 numbers to so many

Writers go through ``VideoIndex.create`` and ``Writer``, as embedding does, and write the same new ids in orders of
their own, so that all meet all. What is there afterwards is read by plain LanceDB: every id that a writer wrote, and
that it reported as written, must be there exactly once. ``--places`` chooses among folder, file and s3; the S3 is
moto's, in a process of its own (``tests/objectstore.py``), and needs ``pip install "moto[server]"``.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import lancedb
import numpy as np

ROOT = Path(__file__).parent.parent
DIM = 64
WRITE = f"""
import random, sys, time
import numpy as np
from clip2video_plugin.index import Provenance, VideoIndex, lease, writer
uri, (number, count, step), seconds = sys.argv[1], map(int, sys.argv[2:5]), float(sys.argv[5])
lease.SECONDS, writer.FLUSH_ROWS = seconds, step
order = list(range(count))
random.Random(number).shuffle(order)
index = VideoIndex.create(uri, {DIM}, Provenance("shapes", "0" * 64, "uniform", 12, "1"))
kept, vector = writer.Writer(index, lambda waiting: None), np.full({DIM}, 1 / {DIM} ** 0.5, np.float32)
print("ready", flush=True)
sys.stdin.readline()
longest = 0.0
for at in range(0, count, step):
    for i in order[at : at + step]:
        row = {{"id": f"v{{i}}", "path": f"/v{{i}}", "size": number, "mtime": 0.0, "vector": vector, "captions": None}}
        kept.add(row)
    began = time.monotonic()
    kept.finish()
    longest = max(longest, time.monotonic() - began)
    print("written", *order[at : at + step], flush=True)
print("longest", longest, flush=True)
"""


def start(uri: str, number: int, rows: int, step: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, uri, *map(str, (number, rows, step, seconds))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def ids_at(uri: str) -> Counter[str]:
    from clip2video_plugin.index.connection import local_folder

    table = lancedb.connect(local_folder(uri) or uri).open_table("videos")
    return Counter(table.search().select(["id"]).limit(None).to_arrow()["id"].to_pylist())


def outcome(ids: Counter[str], wanted: set[str]) -> str:
    doubled, lost = sum(ids.values()) - len(ids), len(wanted - ids.keys())
    return f"{len(ids)} rows, {doubled} doubled, {lost} lost"


def last_line(error: str, code: int) -> list[str]:
    return [(error.strip().splitlines() or [f"exit {code}"])[-1]] if code else []


def written(out: str) -> set[str]:
    return {f"v{i}" for line in out.splitlines() if line.startswith("written") for i in line.split()[1:]}


def crowd(uri: str, writers: int, rows: int, step: int) -> str:
    """All at once, of the same rows, and the index is made by them too."""
    began = time.monotonic()
    processes = [start(uri, n, rows, step, 30.0) for n in range(writers)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    ready = time.monotonic()
    for process in processes:
        go(process)
    said = [process.communicate(timeout=1800) for process in processes]
    failed = [
        error.strip().splitlines()[-1]
        for process, (_, error) in zip(processes, said, strict=True)
        if process.returncode
    ]
    longest = max((float(found) for out, _ in said for found in re.findall(r"longest ([\d.]+)", out)), default=0.0)
    ids = ids_at(uri)
    text = outcome(ids, {f"v{i}" for i in range(rows)})
    return (
        f"{writers:2} writers of the same {rows} rows: {text}, {len(failed)} failed, longest wait {longest:.1f} s, "
        f"{time.monotonic() - ready:.0f} s (made in {ready - began:.0f} s)"
        + "".join(f"\n    {line}" for line in failed)
    )


def kills(uri: str, times: int, rows: int, step: int, seconds: float, seed: int) -> str:
    """Two writers again and again, and beside them one that is killed at a random moment of its writing."""
    draw, wanted, longest, failed, began = random.Random(seed), set[str](), 0.0, list[str](), time.monotonic()
    processes = [start(uri, n, rows, step, seconds) for n in range(2)]
    for process in processes:
        process.stdout.readline()
    victim = start(uri, 100, rows, step, seconds)
    victim.stdout.readline()
    for process in processes:
        go(process)
    others = [(0, processes[0]), (1, processes[1])]
    for kill in range(times):
        go(victim)
        following = start(uri, 101 + kill, rows, step, seconds) if kill + 1 < times else None  # loads meanwhile
        time.sleep(draw.uniform(0.0, 1.5))
        victim.kill()
        wanted |= written(victim.communicate()[0])
        if (kill + 1) % 5 == 0:
            print(f"    after {kill + 1} kills {outcome(ids_at(uri), wanted)}", flush=True)
        if following is not None:
            following.stdout.readline()
            victim = following
        for at, (number, process) in enumerate(others):
            if process.poll() is not None and kill + 1 < times:  # so that there is always another
                out, error = process.communicate()
                wanted |= written(out)
                longest = max(longest, *(float(x) for x in re.findall(r"longest ([\d.]+)", out)), 0.0)
                failed += last_line(error, process.returncode)
                others[at] = number + 2, start(uri, number + 2, rows, step, seconds)
                others[at][1].stdout.readline()
                go(others[at][1])
    for _, process in others:
        out, error = process.communicate(timeout=1800)
        wanted |= written(out)
        longest = max(longest, *(float(x) for x in re.findall(r"longest ([\d.]+)", out)), 0.0)
        failed += last_line(error, process.returncode)
    text = outcome(ids_at(uri), wanted)
    return (
        f"{times} kills: {text}, {len(failed)} others failed, longest wait {longest:.1f} s, "
        f"{time.monotonic() - began:.0f} s" + "".join(f"\n    {line}" for line in failed)
    )


def embedding(uri: str, rounds: int, folder: Path) -> str:
    """Rounds of two ``c2v embed`` of folders that share half of their videos, and one that is killed."""
    from clip2video_plugin.shapes import held_out_scenes, write_videos

    wanted, began, draw = 0, time.monotonic(), random.Random(1)
    for number in range(rounds):
        here = folder / f"round{number}"
        here.mkdir()
        write_videos(here, held_out_scenes(12, seed=number))
        videos = sorted(here.glob("*.mp4"))
        wanted += len(videos)
        parts = [videos[:8], videos[4:], videos]
        command = [sys.executable, "-m", "clip2video_plugin.cli", "embed", "--index", uri, "--model", "shapes"]
        processes = [subprocess.Popen([*command, *part], stdout=subprocess.DEVNULL, cwd=folder) for part in parts]
        time.sleep(draw.uniform(6, 14))
        processes[2].kill()
        assert [process.wait() for process in processes[:2]] == [0, 0]
        processes[2].wait()
    ids = ids_at(uri)
    doubled = sum(ids.values()) - len(ids)
    return (
        f"{rounds} rounds of c2v embed: {len(ids)} rows of {wanted} videos, {doubled} doubled, "
        f"{wanted - len(ids)} lost, {time.monotonic() - began:.0f} s"
    )


def lease_cost(uri: str, log: Path | None) -> str:
    """Taking and giving back, by one that nobody disturbs; requests as the store logs them."""
    from clip2video_plugin.index.lease import Lease

    one, times = Lease(uri, "benchmark"), list[float]()
    one.acquire(10), one.release()
    before = requests(log)
    for _ in range(50):
        began = time.monotonic()
        one.acquire(10), one.release()
        times.append(time.monotonic() - began)
    count = (requests(log) - before) / 50
    return (
        f"lease: taken and given back in {1000 * np.median(times):.0f} ms (median of 50)"
        + f", {count:.1f} requests" * bool(log)
    )


def requests(log: Path | None) -> int:
    return 0 if log is None else len(re.findall(r'"(?:GET|PUT|HEAD|POST|DELETE) ', log.read_text()))


def memory(folder: Path, rows: int) -> str:
    """Of a process that writes 1,000 new rows to a table that is there."""
    code = (
        "import sys, time, numpy as np\n"
        "from clip2video_plugin.index import Provenance, VideoIndex\n"
        "index = VideoIndex.create(sys.argv[1], 1024, Provenance('shapes', '0' * 64, 'uniform', 12, '1'))\n"
        "def rows(at, n):\n"
        "    v = np.random.default_rng(at).standard_normal((n, 1024)).astype(np.float32)\n"
        "    v /= np.linalg.norm(v, axis=1, keepdims=True)\n"
        "    return [{'id': f'{(at + i) * 2654435761 % 2**64:032x}', 'path': f'/videos/{at + i}.mp4', 'size': 1,\n"
        "             'mtime': 0.0, 'vector': v[i]} for i in range(n)]\n"
        "def peak():\n"
        "    return int(next(x for x in open('/proc/self/status') if x[:5] == 'VmHWM').split()[1]) / 1024\n"
        "new, first = rows(10**9, 1000), int(sys.argv[2])\n"
        "for at in range(index.count(), first, 20_000):\n"
        "    index.write(rows(at, min(20_000, first - at)))\n"
        "if first == 0 or len(sys.argv) > 3:\n"
        "    index.count(); open('/proc/self/clear_refs', 'w').write('5'); before, began = peak(), time.monotonic()\n"
        "    index.write(new); print(f'{time.monotonic() - began:.2f} s, peak +{peak() - before:.0f} MB')\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(rows)]
    subprocess.run(command, check=True)
    return (
        f"1,000 rows into {rows}: "
        + subprocess.run([*command, "now"], check=True, capture_output=True, text=True).stdout.strip()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", nargs="+", default=["folder", "file", "s3"], choices=["folder", "file", "s3"])
    parser.add_argument("--writers", type=int, nargs="+", default=[2, 5, 16])
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--step", type=int, default=100, help="rows of a commit")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--embed", type=int, default=0)
    parser.add_argument("--lease", action="store_true")
    parser.add_argument("--memory", type=int, nargs="+", default=[])
    parser.add_argument("--seconds", type=float, default=3.0, help="without a beat until a killed owner's lease goes")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="c2v writers-")))
        if chosen.memory:
            for rows in chosen.memory:
                print(memory(home / f"of {rows}", rows), flush=True)
            return
        store, log = None, None
        if "s3" in chosen.places:
            sys.path.insert(0, str(ROOT))
            from tests.objectstore import Store, environment, serving

            log = home / "requests"
            address = stack.enter_context(serving(log))
            os.environ.update(environment(address))
            store = Store(address, "writers")
        for place in chosen.places:

            def uri(name: str, place: str = place) -> str:
                folder = home / place / name
                return (
                    store.uri(f"in dex/{name}")
                    if place == "s3"
                    else folder.as_uri()
                    if place == "file"
                    else str(folder)
                )

            if chosen.lease:
                print(place, lease_cost(uri("lease"), log if place == "s3" else None), flush=True)
            elif chosen.kills:
                print(place, kills(uri("kills"), chosen.kills, chosen.rows, chosen.step, chosen.seconds, 7), flush=True)
            elif chosen.embed:
                (videos := home / f"videos of {place}").mkdir()
                print(place, embedding(uri("embed"), chosen.embed, videos), flush=True)
            else:
                for writers in chosen.writers:
                    print(place, crowd(uri(f"of {writers}"), writers, chosen.rows, chosen.step), flush=True)


if __name__ == "__main__":
    main()
