"""How many copies of videos are found, how many different videos are taken for copies, and what it costs.

    OMP_NUM_THREADS=1 python benchmarks/duplicates.py [--count 120] [--seeds 21 22 23]     # found, beside the floors
    OMP_NUM_THREADS=1 python benchmarks/duplicates.py --rows 10000 100000                  # what many rows cost

Generated videos of 3 s as H.264, and of each a file of every kind of copy: encoded anew at crf 40, half and twice as
large, trimmed at the start, at the end or at both by an eighth to a quarter, mirrored, behind a second of black, and
(of three together) as a part of a longer one, its windows embedded or not. Each kind is looked for alone, among all
videos. Strangers are all pairs of different videos; of the same caption; and of other events with the same things in
the same place, which is the hardest and what a camera that stands still gives. Thresholds were fitted on seeds 101 and
102. Rows are synthetic: moving blobs over clouds; one in fifty is a copy of another, one in a hundred mirrored.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).parents[1]))  # last: the folder datasets/ must not shadow a package

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from clip2video_plugin.embed import embed_videos
from clip2video_plugin.index import Provenance, VideoIndex
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.model.installed import embedded_folder
from clip2video_plugin.query.curate import duplicates
from clip2video_plugin.shapes import Scene, held_out_scenes, render, write_video

RATE, SIZE, LENGTH = 8, 96, 24
FLOORS = {"crf 40": 98, "half": 98, "double": 98, "start": 98, "end": 98, "both ends": 98, "mirror": 90}
FALSE = 1.0  # percent of the pairs of different videos, at most
Frames = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23])
    parser.add_argument("--rows", type=int, nargs="+")
    args = parser.parse_args()
    if args.rows:
        for rows in args.rows:
            cost(rows)
        return
    model = load_model(embedded_folder(), device="cpu")
    tables = [measured(args.count, seed, model) for seed in args.seeds]
    print(
        f"percent, {args.count} videos a seed"
        + "".join(f"{f'seed {seed}':>12}" for seed in args.seeds)
        + "        all   floor"
    )
    for name in tables[0]:
        floor = f"{FLOORS[name]} or more" if name in FLOORS else f"{FALSE:g} or less" if name == "different" else ""
        values = [table[name] for table in tables]
        print(f"{name:28}" + "".join(f"{v:12.3f}" for v in values) + f"{np.mean(values):11.3f}   {floor}")


def measured(count: int, seed: int, model: Model) -> dict[str, float]:
    """Percent of the copies of each kind that are found, and of strangers that are taken for copies."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copies, strangers = library(root, count, seed)
        embed_videos([root], index=root / "index", model=model)
        index = VideoIndex.open(root / "index")
        ids = {entry.path: entry.id for entry in index.videos()}
        originals = [path for path in ids if "/original/" in path]

        def share(pairs: list[tuple[Path, Path]]) -> float:
            wanted = {frozenset((ids[str(a)], ids[str(b)])) for a, b in pairs}
            known = found(index, {*(ids[path] for path in originals), *(i for pair in wanted for i in pair)})
            return 100 * len(wanted & known) / max(len(wanted), 1)

        out = {kind: share(pairs) for kind, pairs in copies.items()}
        every = found(index, [ids[path] for path in originals])
        out["different"] = 100 * len(every) / (count * (count - 1) / 2)
        return out | {kind: share(pairs) for kind, pairs in strangers.items()}


def found(index: VideoIndex, ids: Collection[str] | None) -> set[frozenset[str]]:
    """The pairs of videos that are said to be copies, by id."""
    groups = duplicates(index, ids=ids).groups
    return {frozenset((g.videos[p.first].id, g.videos[p.second].id)) for g in groups for p in g.pairs}


Pairs = dict[str, list[tuple[Path, Path]]]


def library(root: Path, count: int, seed: int) -> tuple[Pairs, Pairs]:
    """Writes videos, copies and strangers; which pairs are copies, and which are not, by kind."""
    random, scenes = Random(f"duplicates:{seed}"), held_out_scenes(count, seed)
    films = [drawn(scene) for scene in scenes]
    copies, strangers = Pairs(), Pairs()

    def add(pairs: Pairs, kind: str, number: int, original: Path, frames: Frames, crf: int = 23) -> None:
        path = write(root / kind.replace(" ", "-") / f"{number}.mp4", frames, crf)
        pairs.setdefault(kind, []).append((original, path))

    for number, (scene, film) in enumerate(zip(scenes, films, strict=True)):
        original = write(root / "original" / f"{number}.mp4", film, 18)
        first, last = random.randint(3, 6), random.randint(3, 6)
        for kind, frames, crf in (
            ("crf 40", film, 40),
            ("half", scaled(film, SIZE // 2), 23),
            ("double", scaled(film, 2 * SIZE), 23),
            ("start", film[first:], 23),
            ("end", film[:-last], 23),
            ("both ends", film[first // 2 : -(last // 2)], 23),
            ("mirror", film[:, :, ::-1], 23),
            ("behind a second of black", np.concatenate([np.zeros_like(film[:RATE]), film]), 23),
        ):
            add(copies, kind, number, original, frames, crf)
        add(strangers, "of the same caption", number, original, drawn(scene.redrawn(random)))
        if scene.reversed().meaning != scene.meaning:
            add(strangers, "other event, same place", number, original, drawn(scene.reversed()))
        if number % 3 == 1 and number + 1 < count:
            add(copies, "part, a third", number, original, np.concatenate(films[number - 1 : number + 2]))
    return copies, strangers


def drawn(scene: Scene) -> Frames:
    return render(scene, np.linspace(0, 1, LENGTH).tolist(), SIZE)


def scaled(frames: Frames, side: int) -> Frames:
    return np.stack([np.asarray(Image.fromarray(f).resize((side, side), Image.Resampling.BICUBIC)) for f in frames])


def write(path: Path, frames: Frames, crf: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, RATE, crf=crf)
    return path


# What many rows cost

PART = 10_000


def cost(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index, planted = fill(Path(folder) / "index", rows)
        before, began, busy = peak(), time.perf_counter(), time.process_time()
        pairs = found(index, None)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    share = 100 * len(planted & pairs) / len(planted)
    print(
        f"{rows:>9,} rows: {seconds:.1f} s, {busy:.1f} s of a core, {peak():.0f} MB (before {before:.0f}); "
        f"of {len(planted)} planted pairs {share:.1f} % found, {len(pairs - planted)} others",
        flush=True,
    )


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fill(folder: Path, rows: int) -> tuple[VideoIndex, set[frozenset[str]]]:
    """An index of synthetic rows, and the pairs of copies in it."""
    index = VideoIndex.create(folder, 4, Provenance("benchmark", "0" * 64, "uniform", 12, "0"))
    planted = set[frozenset[str]]()
    for start in range(0, rows, PART):
        random = np.random.default_rng(start)
        films, count = clouds(random, min(PART, rows - start)), min(PART, rows - start)
        for n in range(25, count, 50):
            films[n] = np.clip(films[n - 25] + random.normal(0, 1.5, (12, 8, 8)), 0, 255)
            planted.add(frozenset((f"{start + n:09}", f"{start + n - 25:09}")))
        for n in range(60, count, 100):
            films[n] = films[n - 50][:, :, ::-1]
            planted.add(frozenset((f"{start + n:09}", f"{start + n - 50:09}")))
        columns = {
            "id": pa.array([f"{n:09}" for n in range(start, start + count)]),
            "path": pa.array([f"/videos/{n}.mp4" for n in range(start, start + count)]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.full(4 * count, 0.5, np.float32)), 4),
            "duration": pa.array(np.full(count, 10.0)),
            "size": pa.array(np.arange(start, start + count)),
            "thumbnails": pa.array([film.tobytes() for film in films.astype(np.uint8)]),
        }
        schema = index._table.schema
        arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
        index._table.add(pa.Table.from_arrays(arrays, schema=schema))
    return index, planted


def clouds(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Thumbnails [count, 12, 8, 8] of smooth backgrounds, over each of which two blobs move, as in real videos the most
    light above."""
    y, x = np.mgrid[0:8, 0:8].astype(np.float32) / 7
    coarse = random.normal(0, 30, (count, 3, 3)).astype(np.float32)
    grid = np.clip((np.arange(8) / 7 * 2)[:, None] - np.arange(3), -1, 1)
    tent = np.maximum(1 - np.abs(grid), 0).astype(np.float32)
    films = np.einsum("yi,nij,xj->nyx", tent, coarse, tent)[:, None] + 120 - 60 * y
    films = np.repeat(films, 12, axis=1)
    along = np.linspace(0, 1, 12, dtype=np.float32)
    for _ in range(2):
        a, b = random.uniform(0, 1, (2, count, 2, 1)).astype(np.float32)
        at = a + (b - a) * along  # [count, 2, 12]
        gap = (x - at[:, 0, :, None, None]) ** 2 + (y - at[:, 1, :, None, None]) ** 2
        films += random.normal(0, 60, (count, 1, 1, 1)).astype(np.float32) * np.exp(-gap / 0.03)
    return np.clip(films, 0, 255)


if __name__ == "__main__":
    main()
