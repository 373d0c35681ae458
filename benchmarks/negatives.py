"""What a query must not show: how much of it is left among ten hits, and what becomes of the wanted.

    python benchmarks/negatives.py [--count 60] [--quick]

Whole vectors: of each of ``count`` queries "A does a" there are two videos that show A doing a while B does b, whose
sentence is the negative, and five that show A doing a while others do something, which are wanted. Alone: of those
three show A alone, and the negative says all that they show, so that some are lost at any threshold. Windows: the same
in two scenes of 4 s each, of which the negative says one. "Absent" is a negative that no video shows. The thresholds
are those of an index without calibration (``query/without.py``); beside them constant ones and subtraction, p - w n.
Last, scores as models with a modality gap give them, drawn: usual .17, of something alike .22, of a match .30, each
with a deviation of .03. Videos are rendered in memory and indexed as files are.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from stories import Story

from clip2video_plugin import load_model
from clip2video_plugin.index import Provenance, VideoIndex
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.provenance import provenance
from clip2video_plugin.query import Gallery, Query, answer
from clip2video_plugin.query.without import usual_thresholds
from clip2video_plugin.shapes import caption, scenes
from clip2video_plugin.shapes.scene import Thing, actions_of, pairs_of, scene_of
from clip2video_plugin.video.windows import WindowSize, parse_windows

FLOOR, K = 0.1, 10
console = Console()


@dataclass(frozen=True)
class Asked:
    """A query with what it must not show, one that no video shows, and the ids of its videos."""

    prompt: str
    negative: str
    absent: str
    wanted: set[str]
    negated: set[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--windows", type=parse_windows, default="2/0.5,4/1,8/2", help="auto of such videos")
    parser.add_argument("--quick", action="store_true", help="20 queries")
    args = parser.parse_args()
    count, model = 20 if args.quick else args.count, load_model("shapes", device="cpu")
    for title, (stories, asked), sizes, floors in (
        ("whole vectors", whole_videos(count), None, True),
        ("alone, whole vectors", whole_videos(count, alone=3), None, False),
        ("negated in a part, whole vectors", in_a_part(count), None, False),
        ("negated in a part, windows", in_a_part(count), args.windows, True),
    ):
        with tempfile.TemporaryDirectory() as folder:
            gallery = Gallery(fill(Path(folder), stories, sizes, model))
            measure(f"{title}, n = {count} in {len(stories)} videos", gallery, asked, model, floors)
    across_the_gap()


def whole_videos(count: int, alone: int = 0) -> tuple[list[Story], list[Asked]]:
    random, stories, asked = Random(f"negatives:{alone}"), list[Story](), list[Asked]()
    for _ in range(count):
        (a, does), *others = acts(8, random)
        lonely = [scene_of((a,), (((0, does),),), random) for _ in range(max(alone, 1))]
        both = [scene_of((a, b), (((0, does), (1, act)),), random) for b, act in others]
        mine = [both[0], both[0].redrawn(random), *lonely[:alone], *both[2 : 7 - alone]]
        sentences = caption(lonely[0]), caption(both[0]), caption(both[1])
        asked.append(Asked(*sentences, wanted=names(len(stories) + 2, 5), negated=names(len(stories), 2)))
        stories += [Story((scene,), (8.0,)) for scene in mine]
    return with_others(stories), asked


def in_a_part(count: int) -> tuple[list[Story], list[Asked]]:
    random, stories, asked = Random("negatives in a part"), list[Story](), list[Asked]()
    for _ in range(count):
        (a, does), (b, other), *more = acts(6, random)

        def story(second: tuple[Thing, str], a: Thing = a, does: str = does) -> Story:
            parts = [scene_of((thing,), (((0, action),),), random) for thing, action in ((a, does), second)]
            random.shuffle(parts)
            return Story(tuple(parts), (4.0, 4.0))

        mine = [story((b, other)) for _ in range(2)] + [story(second) for second in more[:3]]
        sentences = [
            caption(scene_of((thing,), (((0, act),),), random)) for thing, act in ((a, does), (b, other), more[3])
        ]
        asked.append(Asked(*sentences, names(len(stories) + 2, 3), names(len(stories), 2)))
        stories += mine
    return with_others(stories), asked


def acts(count: int, random: Random) -> list[tuple[Thing, str]]:
    """Different things, and what each does."""
    return [(thing, random.choice(actions_of(thing))) for thing in random.sample(pairs_of(held_out=False), count)]


def names(first: int, count: int) -> set[str]:
    return {f"v{n:05d}" for n in range(first, first + count)}


def with_others(stories: list[Story]) -> list[Story]:
    """A third as many videos of anything beside them."""
    return stories + [Story((scene,), (8.0,)) for scene in islice(scenes(11), len(stories) // 3)]


def fill(folder: Path, stories: list[Story], sizes: Sequence[WindowSize] | None, model: Model) -> VideoIndex:
    index = VideoIndex.create(folder, model.config.vector_dim, provenance(model, "uniform"))
    rows, windows = [], []
    for n, story in enumerate(stories):
        i, more = f"v{n:05d}", {"path": f"/v{n:05d}.mp4", "duration": story.duration, "size": 1, "mtime": 0.0}
        frames = story.frames(model.config.image_size, model.config.max_frames / story.duration)[0]
        (vector,) = model.encode_frames([frames]).vector.numpy()
        rows.append({"id": i, "start": 0.0, "end": story.duration, "vector": vector, **more})
        if sizes is None:
            continue
        parts = story.windows(model, sizes)
        for (start, end), vector in zip(parts.spans.tolist(), parts.vectors, strict=True):
            name = f"{i}/{start:.3f}-{end:.3f}"
            windows.append({"id": name, "video": i, "start": start, "end": end, "vector": vector, **more})
    index.write(rows)
    if windows:
        index.create_windows().write(windows)
    return index


def measure(title: str, gallery: Gallery, asked: list[Asked], model: Model, floors: bool) -> None:
    def share(**more: object) -> tuple[float, float, float]:
        """Negated and wanted among the first ten, and the mean threshold."""
        negated = wanted = threshold = 0.0
        for one in asked:
            absent, mine = bool(more.get("absent")), {k: v for k, v in more.items() if k != "absent"}
            without = (one.absent if absent else one.negative,) if mine.pop("without", True) else ()
            result = answer(Query(one.prompt, without=without, k=K, **mine), gallery, model)  # type: ignore[arg-type]
            found = {hit.id for hit in result}
            negated, wanted = negated + len(found & one.negated), wanted + len(found & one.wanted)
            threshold += result.dropped[0].threshold if result.dropped else np.nan
        return negated / len(asked), wanted / len(asked), threshold / len(asked)

    console.print(f"\n{title}: of {K} hits [negated] and [wanted]", markup=False)
    before = share(without=False)
    console.print(f"  before                      {before[0]:.2f}  {before[1]:.2f}")
    after = share()
    beside = f"   (floors: at most {FLOOR}, at least {before[1]:.2f})" if floors else ""
    console.print(f"  dropped, threshold {after[2]:.2f}     {after[0]:.2f}  {after[1]:.2f}{beside}")
    absent = share(absent=True)
    console.print(f"  of one that is absent, {absent[2]:.2f} {absent[0]:.2f}  {absent[1]:.2f}")
    for threshold in (0.5, 0.6, 0.7, 0.8):
        moved = share(threshold=threshold)
        console.print(f"  threshold moved to {threshold}     {moved[0]:.2f}  {moved[1]:.2f}")
    ids = list(gallery.videos.ids())
    sentences = [text for one in asked for text in (one.prompt, one.negative)]
    vectors = model.encode_captions(sentences).vector.numpy()
    products = gallery.products(ids, vectors)
    scores = np.stack([products[i].scores.max(axis=0) for i in ids])
    for w in (0.5, 1.0):
        best = np.argsort(-(scores[:, ::2] - w * scores[:, 1::2]), axis=0)[:K]
        found = [{ids[n] for n in column} for column in best.T]
        negated = np.mean([len(f & one.negated) for f, one in zip(found, asked, strict=True)])
        wanted = np.mean([len(f & one.wanted) for f, one in zip(found, asked, strict=True)])
        console.print(f"  subtracted, w = {w}           {negated:.2f}  {wanted:.2f}")


def across_the_gap() -> None:
    """What is dropped of drawn scores as CLIP gives them."""
    console.print("\nacross a modality gap, of 1,000 videos: threshold; dropped of matches, of things alike, of others")
    for matches in (0, 1, 10, 100, 300):
        random = np.random.default_rng(matches)
        alike, lines = 50, []
        for _ in range(20):
            cosines = random.normal(np.repeat([0.30, 0.22, 0.17], [matches, alike, 950 - matches]), 0.03)
            lines.append((cosines, threshold_of(cosines, random)))
        parts = [slice(0, matches), slice(matches, matches + alike), slice(matches + alike, None)]
        dropped = [
            np.mean([(cosines[part] >= threshold).mean() for cosines, threshold in lines]) if part != slice(0, 0) else 0
            for part in parts
        ]
        console.print(
            f"  {matches:3d} matches: {np.mean([threshold for _, threshold in lines]):.3f}  "
            f"{100 * dropped[0]:.0f} %, {100 * dropped[1]:.1f} %, {100 * dropped[2]:.2f} %"
        )


def threshold_of(cosines: NDArray[np.float64], random: np.random.Generator) -> float:
    """The threshold of an index whose videos have these cosines with a negative; the query's match scores .30."""
    vectors = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        index = VideoIndex.create(folder, 3, Provenance("drawn", "0" * 64, "uniform", 12, "0"))
        rows = np.hstack([vectors, np.zeros((len(vectors), 1), np.float32)])
        blank = {"path": "/v", "size": 1, "mtime": 0.0}
        order = random.permutation(len(rows))
        index.write([{"id": f"v{n:05d}", "vector": rows[i], **blank} for n, i in enumerate(order)])
        wanted = np.array([[0, 0.30 / np.sqrt(1 - 0.17**2), 0]], np.float32)
        return float(usual_thresholds(Gallery(index), np.eye(1, 3, dtype=np.float32), wanted)[0])


if __name__ == "__main__":
    main()
