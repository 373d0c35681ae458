"""Captions beside vectors: R@1 of queries about what is seen and about what only the captions know.

    OMP_NUM_THREADS=1 python benchmarks/captions.py [--count 400] [--seed 0]
    OMP_NUM_THREADS=1 python benchmarks/captions.py --fit      # where the gate's BELIEVED is from: other data

Scenes of unseen things, rendered in memory, with keyword captions that have nothing to do with what is seen: an
occasion, a person, a place, a year. In the metadata set these are all the captions; in the describing set each video
has a sentence about what is seen as well. Half of the queries are visual (another wording of the scene), half keyword
(some of a video's words, which no other video has together). ``--fit`` takes other scenes, other galleries and other
words than the benchmark.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from lancedb.query import FullTextOperator, MatchQuery
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from clip2video_plugin import load_model
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.provenance import provenance
from clip2video_plugin.query import Gallery, Query, answer, fusion
from clip2video_plugin.query.vectors import encoded
from clip2video_plugin.shapes import caption, held_out_scenes, render

WORDS = {
    "test": (
        "interview wedding rehearsal lecture concert workshop parade audition",
        "Anna Boris Chiara Dmitri Elena Farid Greta Hiro Ines Jonas Katya Luis Marta Nils Olga Pavel Rosa Sven",
        "Lisbon Oslo Turin Kyoto Lima Cairo Quebec Hanoi Zagreb Nairobi Perth Bergen Seville Tampa Delhi Cork",
    ),
    "fit": (
        "briefing birthday seminar audit hearing excursion picnic tasting",
        "Aylin Bruno Celeste Duncan Esther Fiona Gustav Helga Igor Jasmin Kofi Leila Milan Nora Omar Petra Qi",
        "Athens Boston Caracas Dakar Edinburgh Fresno Geneva Havana Izmir Jakarta Krakow Leeds Manila Naples",
    ),
}
FLOORS = {"metadata": (90, 95, 92), "describing": (89, 95, 92)}
console = Console()


@dataclass(frozen=True)
class World:
    """Videos with captions in an index, and queries: for each a sentence, the video that is right, and its kind."""

    index: VideoIndex
    queries: list[tuple[str, str, bool]]  # visual or not
    vectors: NDArray[np.float32]


def world(model: Model, folder: Path, count: int, seed: int, words: str, *, describing: bool) -> World:
    scenes, random = held_out_scenes(count, seed), Random(f"captions:{seed}:{words}")
    times = np.linspace(0, 1, model.config.max_frames).tolist()
    parts = list[NDArray[np.float32]]()
    for start in range(0, count, 32):
        frames = [render(scene, times, model.config.image_size) for scene in scenes[start : start + 32]]
        parts.append(model.encode_frames(frames).vector.numpy())
    vectors = np.concatenate(parts)
    index = VideoIndex.create(folder, vectors.shape[1], provenance(model, "uniform"))
    rows, queries = list[dict[str, object]](), list[tuple[str, str, bool]]()
    base = {"sample_id": None, "start": 0.0, "end": 3.0, "duration": 3.0, "size": 1, "mtime": 1.0}
    taken = set[tuple[str, ...]]()
    for number, (scene, vector) in enumerate(zip(scenes, vectors, strict=True)):
        what, who, where, year = drawn(random, words, taken)
        captions = [f"{what}_{who}_{where}_{year}"] + ([caption(scene, random)] if describing else [])
        rows.append({**base, "id": f"v{number}", "path": f"/{number}.mp4", "vector": vector, "captions": captions})
        forms = f"the {what} with {who} in {where} of {year}", f"{who} {where} {year}", f"{what} of {who}, {year}"
        asked = random.choice(forms)
        queries.append((caption(scene, random), f"v{number}", True) if number % 2 else (asked, f"v{number}", False))
    index.write(rows)
    index.finish()
    return World(index, queries, vectors)


def drawn(random: Random, words: str, taken: set[tuple[str, ...]]) -> tuple[str, str, str, str]:
    """Words of a video, of which those of a query are no other video's: each query has one right answer."""
    while True:
        what, who, where = (random.choice(some.split()) for some in WORDS[words])
        year = str(random.randrange(2001, 2026))
        asked = {(who, where, year), (what, who, year)}
        if not asked & taken:
            taken |= asked
            return what, who, where, year


def any_words(index: VideoIndex, sentence: str, k: int) -> list[str]:
    """What a usual text search gives: videos with any of the words."""
    query = MatchQuery(sentence, "captions", operator=FullTextOperator.OR)
    rows = index._table.search(query, query_type="fts").select(["id", "_score"]).limit(k).to_list()
    return [row["id"] for row in sorted(rows, key=lambda row: (-row["_score"], row["id"]))]


def rank_fusion(*rankings: list[str]) -> list[str]:
    """Reciprocal ranks with the usual k of 60."""
    scores = dict[str, float]()
    for ranking in rankings:
        for rank, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0) + 1 / (60 + rank)
    return sorted(scores, key=lambda one: (-scores[one], one))


def compare(model: Model, set_: str, count: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = world(model, Path(folder), count, seed, "test", describing=set_ == "describing")
        gallery, right = Gallery(made.index), dict[str, list[list[bool]]]()
        for sentence, video, visual in made.queries:
            seen = [hit.id for hit in gallery.nearest(encoded([sentence], None, model), 100)]
            said = [hit.id for hit in made.index.text.search(sentence, 100)]
            answers = {
                "vector alone": seen,
                "text alone (any word)": any_words(made.index, sentence, 100),
                "text alone (all words)": said,
                "rank fusion (any word)": rank_fusion(seen, any_words(made.index, sentence, 100)),
                "rank fusion (all words)": rank_fusion(seen, said),
                "vector if credible, else text": [hit.id for hit in answer(Query(sentence, k=10), gallery, model)],
            }
            for name, ids in answers.items():
                right.setdefault(name, [[], []])[not visual].append(ids[:1] == [video])
        table = Table(title=f"{set_} set, {count} videos, seed {seed}", title_justify="left")
        for column in ("R@1", "visual", "keyword", "all"):
            table.add_column(column, justify="left" if column == "R@1" else "right")
        for name, kinds in right.items():
            shares = [100 * float(np.mean(kind)) for kind in (*kinds, [*kinds[0], *kinds[1]])]
            table.add_row(name, *(f"{share:.1f}" for share in shares))
        table.add_row("floor", *map(str, FLOORS[set_]), style="dim")
        console.print(table)
        console.print(f"a score is believed from {fusion.credible(gallery, model):.3f}")


def fit(model: Model) -> None:
    """R@1 of the rule on other data for several thresholds, of galleries of several sizes."""
    table = Table("standard deviations", "least R@1", "mean R@1")
    cases = list[tuple[float, float, list[tuple[float, bool, bool | None]]]]()
    for count, seed in ((60, 101), (60, 102), (200, 103), (200, 104), (600, 105)):
        for describing in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                made = world(model, Path(folder), count, seed, "fit", describing=describing)
                tops = (encoded(fusion.FOREIGN, None, model) @ made.vectors.T).max(axis=1)
                found = list[tuple[float, bool, bool | None]]()
                for sentence, video, _ in made.queries:
                    scores = made.vectors @ encoded([sentence], None, model)[0]
                    said = [hit.id for hit in made.index.text.search(sentence, 1)]
                    by_text = said == [video] if said else None
                    found.append((float(scores.max()), f"v{scores.argmax()}" == video, by_text))
                cases.append((float(tops.mean()), float(tops.std()), found))
    for deviations in np.arange(1, 8, 0.5).tolist():
        shares = [
            100
            * np.mean([seen if said is None or top >= mean + deviations * sd else said for top, seen, said in found])
            for mean, sd, found in cases
        ]
        chosen = "bold" if deviations == fusion.BELIEVED else ""
        table.add_row(f"{deviations:g}", f"{min(shares):.1f}", f"{np.mean(shares):.1f}", style=chosen)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    model = load_model("shapes", device="cpu")
    if args.fit:
        fit(model)
        return
    for set_ in FLOORS:
        compare(model, set_, args.count, args.seed)


if __name__ == "__main__":
    main()
