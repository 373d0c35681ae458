"""Whether a confidence is what it promises, and how many queries without an answer are answered all the same.

    OMP_NUM_THREADS=1 python benchmarks/confidence.py [--seeds 3] [--count 1000] [--source captions|one|videos] [--json]

Galleries of 50, 200 and 1,000 generated videos of the unseen pairs, rendered in memory. An index of each is calibrated
with `c2v index calibrate`'s own function: from three captions a video, from one, or from none (videos and foreign
sentences). Then other sentences ask: paraphrases of the videos' captions that are none of them; captions of videos of
other things; of the same things doing what no video there shows (near misses); and everyday sentences, of which a
calibration sees others. `--count` makes the largest gallery smaller.

"promised" is the mean confidence of the best hits, "observed" the share of them that is right, of all and of those of
at least .5, .8 and .9, over as many queries with an answer as without; their difference must stay within 3 points,
beyond the two standard errors that are printed where few are left. "answered" are queries of the three kinds that pass
the confidence which 95 % of the others pass; the floor is that of reference/search-beyond.md, and what the top score
alone lets pass here is beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from random import Random

import numpy as np

from clip2video_plugin import load_model
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.provenance import provenance
from clip2video_plugin.query.asking import encoded, everyday
from clip2video_plugin.query.calibrate import calibrate
from clip2video_plugin.shapes import Scene, caption, held_out_scenes, render, scenes

SIZES = (50, 200, 1000)
FLOORS = {50: (1, 3, 0), 200: (4, 10, 0), 1000: (22, 33, 0)}  # other things, near misses, another domain, in percent
KINDS = ("other things", "near misses", "another domain")
PARAPHRASES = {"captions": 3, "one": 1, "videos": 0}
ASKED = 2  # sentences that ask for each video
LEASTS = (0.0, 0.5, 0.8, 0.9)
DRAWS = {50: 8, 200: 4, 1000: 1}  # galleries drawn of the thousand: a smaller one says less


def vectors(drawn: list[Scene], model) -> np.ndarray:
    """Vectors [n, D] of scenes, without files."""
    times = np.linspace(0, 1, model.config.max_frames).tolist()
    pixels = ([render(s, times, model.config.image_size) for s in drawn[n : n + 32]] for n in range(0, len(drawn), 32))
    return np.concatenate([model.encode_frames(some).vector.numpy() for some in pixels])


def drawn_captions(scene: Scene, count: int, random: Random) -> list[str]:
    """Sentences for a scene, drawn as those are that ask."""
    return list(dict.fromkeys(caption(scene, random) for _ in range(10 * count)))[:count]


def paraphrase(scene: Scene, known: set[str], random: Random) -> str:
    """A sentence for a scene that is none of those known."""
    for _ in range(50):
        if (text := caption(scene, random)) not in known:
            break
    return text


def index_of(folder: str, vectors: np.ndarray, texts: list[list[str]], model) -> VideoIndex:
    """An index of vectors with captions."""
    index = VideoIndex.create(folder, vectors.shape[1], provenance(model))
    stamp = {"size": 1, "mtime": 0.0, "start": 0.0, "end": 3.0, "duration": 3.0}
    index.write(
        [
            {"id": f"v{n}", "path": f"/{n}.mp4", "vector": vector, "captions": some, **stamp}
            for n, (vector, some) in enumerate(zip(vectors, texts, strict=True))
        ]
    )
    return index


class World:
    """The videos and sentences of a seed."""

    def __init__(self, seed: int, count: int, model) -> None:
        random = Random(f"confidence:{seed}")
        drawn = held_out_scenes(2 * count, seed)
        here, near = drawn[:count], drawn[count:]
        self.captions = [drawn_captions(scene, 3, random) for scene in here]
        self.vectors = vectors(here, model)
        others = {scene.meaning: scene for scene, _ in zip(scenes(100 + seed), range(2 * count), strict=False)}
        twice = [
            [paraphrase(scene, set(some), random) for scene, some in zip(here, self.captions, strict=True)]
            for _ in range(ASKED)
        ]
        self.asked = [encoded(asked, model) for asked in twice]
        self.strange = [
            encoded([caption(scene, random) for scene in list(others.values())[:count] * ASKED], model),
            encoded([caption(scene, random) for scene in near * ASKED], model),
            encoded(everyday()[1::2], model),
        ]


def measure(world: World, chosen: np.ndarray, source: str, model) -> dict:
    """What one gallery gives."""
    with tempfile.TemporaryDirectory() as folder:
        texts = [world.captions[n][: PARAPHRASES[source]] for n in chosen]
        index = index_of(folder, world.vectors[chosen], texts, model)
        fit = calibrate(index, model=model, foreign=everyday()[::2])[0]

    def best(queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score and confidence of the best hit of each query, and which video it is; as a search has them."""
        scores = queries @ world.vectors[chosen].T
        first = scores.argmax(axis=1)
        top = scores.max(axis=1)
        p = [fit.confidences([best], [f"v{n}"], len(chosen), best)[0] for n, best in zip(first, top, strict=True)]
        return top, np.array(p), first

    score, p, first = best(np.concatenate([asked[chosen] for asked in world.asked]))
    right = first == np.tile(np.arange(len(chosen)), ASKED)
    strange = [best(queries) for queries in world.strange]
    # As many have no answer as have one; there are 161 everyday sentences for a third of them
    third = min(len(strange[-1][1]), len(p) // 3)
    half = (len(p) - third) // 2
    mixed = [np.concatenate([p, *(each[1][:n] for each, n in zip(strange, (half, half, third), strict=True))])]
    mixed.append(np.concatenate([right, np.zeros(len(mixed[0]) - len(right), bool)]))
    return {
        "answered": [100 * float(np.mean(each[1] >= np.quantile(p, 0.05))) for each in strange],
        "by score": [100 * float(np.mean(each[0] >= np.quantile(score, 0.05))) for each in strange],
        "mixed": mixed,
        "credible": fit.credible,
        "without": fit.without,
        "source": fit.source,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=1000, help="videos of the largest gallery")
    parser.add_argument("--source", choices=PARAPHRASES, default="captions")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = load_model("shapes", device="cpu")
    worlds = [World(seed, args.count, model) for seed in range(args.seeds)]
    out = []
    for size in sorted({min(size, args.count) for size in SIZES}):
        per_seed = []
        for seed, world in enumerate(worlds):
            draws = [np.random.default_rng(draw).choice(args.count, size, replace=False) for draw in range(DRAWS[size])]
            found = [measure(world, chosen, args.source, model) for chosen in draws]
            p, right = (np.concatenate([one["mixed"][n] for one in found]) for n in (0, 1))
            at_least = [(least, p >= least) for least in LEASTS if (p >= least).any()]
            per_seed.append(
                {
                    "seed": seed,
                    **{name: mean([one[name] for one in found], 1) for name in ("answered", "by score")},
                    **{name: mean([one[name] for one in found], 3) for name in ("credible", "without")},
                    "reliability": [
                        [least, int(k.sum()), mean(100 * p[k], 1), mean(100 * right[k], 1)] for least, k in at_least
                    ],
                    "source": found[0]["source"],
                }
            )
        out.append({"videos": size, "floor": FLOORS.get(size), "seeds": per_seed})
        if not args.json:
            show(out[-1])
    if args.json:
        print(json.dumps(out, indent=2))


def mean(values, digits: int):
    """Of numbers, or of each place of lists."""
    return np.mean(values, axis=0).round(digits).tolist()


def show(result: dict) -> None:
    print(f"{result['videos']} videos")
    for one in result["seeds"]:
        print(f"  seed {one['seed']}, from {one['source']}; credible from {one['credible']}, without {one['without']}")
        for least, n, promised, observed in one["reliability"]:
            error = 2 * (observed * (100 - observed) / n) ** 0.5
            print(
                f"    confidence >= {least:g}: promised {promised:.1f}, observed {observed:.1f} +- {error:.1f} (n={n})"
            )
        print(f"    answered at 95 % kept: {one['answered']}, by the top score {one['by score']}")
    means = [mean([one[name] for one in result["seeds"]], 1) for name in ("answered", "by score")]
    print(f"  mean answered {means[0]}, floor {result['floor']}, by the top score {means[1]} ({', '.join(KINDS)})")


if __name__ == "__main__":
    main()
