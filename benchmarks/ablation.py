"""What the temporal parts of CLIP2Video add: mean pooling, temporal transformer, TDB, TDB and TAB at equal steps.

    python benchmarks/ablation.py OUT [--seeds 3] [--steps N] [--cache FOLDER] [--quick] [--json]

Trains each variant with each seed by the recipe shapes-ablation, then asks galleries that need one
thing alone (clip2video_plugin/shapes/probes.py). What is done already in OUT is kept, and a stopped run goes
on. Each seed draws its own training videos and weights. Intervals are 95 % bootstrap intervals that draw seeds and,
within them, queries; below, the means of the single seeds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from shapes_retrieval import prefers

from clip2video_plugin import load_model
from clip2video_plugin.evaluation.retrieval import rank_blocks
from clip2video_plugin.model import Model
from clip2video_plugin.shapes import INVERSE, Scene, caption, held_out_scenes, probes
from clip2video_plugin.training import load_config, train
from clip2video_plugin.training.world import SceneVideo, scene_videos

VARIANTS = {
    "mean pooling": {"temporal": "mean", "alignment": "none"},
    "temporal transformer": {"temporal": "transformer", "alignment": "none"},
    "+ TDB": {"temporal": "difference", "alignment": "none"},
    "+ TDB + TAB": {"temporal": "difference", "alignment": "difference"},
}
GALLERIES = {
    "all": lambda n: held_out_scenes(n, 1),
    "appearance": lambda n: probes.appearance(n, 1),
    "motion": lambda n: probes.motion(n, 1),
    "order, general": lambda n: probes.order(n, 1, symmetric=False),
    "order, symmetric": lambda n: probes.order(n, 1, symmetric=True),
}
COUNTS = {"all": 1000, "appearance": 320, "motion": 320, "order, general": 320, "order, symmetric": 320}
DRAWS = 4000


def frames_of(scenes: list[Scene], model: Model) -> list[np.ndarray]:
    count, how = model.config.max_frames, model.config.preprocessing
    return [SceneVideo(scene).frames(count, random=None, **how.options) for scene in scenes]


def vectors(frames: list[np.ndarray], model: Model) -> np.ndarray:
    return np.concatenate([model.encode_frames(frames[i : i + 32]).vector.numpy() for i in range(0, len(frames), 32)])


def ask(model: Model, share: float = 1.0) -> dict[str, list[float]]:
    """For each query 1, 0 or (tied) one half: whether it finds its video first, and prefers it to its twin."""
    out = {}
    for name, scenes_of_count in GALLERIES.items():
        scenes = scenes_of_count(round(COUNTS[name] * share))
        random = Random(f"ablation:{name}")
        queries = model.encode_captions([caption(scene, random) for scene in scenes]).vector.numpy()
        frames = frames_of(scenes, model)
        videos = vectors(frames, model)
        scores = queries @ videos.T
        own = np.diag(scores)
        out[f"R@1, {name}"] = (ranks(scores) <= 1).astype(float).tolist()
        if name == "all":
            back = np.sum(queries * vectors([one[::-1] for one in frames], model), axis=1)
            directed = np.array([any(INVERSE[a] != a for phase in s.phases for _, a in phase) for s in scenes])
            out["reversed twin"] = prefers(own[directed], back[directed]).tolist()
        if name.startswith("order"):
            twins = videos[np.arange(len(videos)) ^ 1]  # they lie side by side
            out[f"twin in the other order, {name.split(', ')[1]}"] = prefers(own, np.sum(queries * twins, 1)).tolist()
    return out


def ranks(scores: np.ndarray) -> np.ndarray:
    """Strict rank of each query's video on the diagonal; ties count one half."""
    return rank_blocks([scores], np.arange(len(scores)), len(scores)).t2v


def run(out: Path, variant: str, seed: int, args: argparse.Namespace) -> dict[str, list[float]]:
    folder = out / f"{variant.replace('+ ', '').replace(' ', '-')}-{seed}"
    done = folder / "result.json"
    if done.is_file():
        return json.loads(done.read_text())
    # All variants have the same number of steps: the last weights, not the best.
    if not (folder / "last").is_dir():
        config = load_config("shapes-ablation", [f"seed={seed}"])
        scenes = 2000 if args.quick else config.train["scenes"]
        config = replace(
            config,
            network={**config.network, **VARIANTS[variant]},
            steps=args.steps or (60 if args.quick else config.steps),
            cache=str(Path(args.cache) / str(seed)) if args.cache else "",
        )
        train(config, scene_videos(scenes, seed), out=folder, resume=True)
    result = ask(load_model(folder / "last", device="cpu", precision="float32"), 0.25 if args.quick else 1.0)
    done.write_text(json.dumps(result))
    return result


def summary(runs: list[list[float]]) -> dict[str, Any]:
    """Mean of all seeds in percent, its interval, and the mean of each seed; the queries are the same for all."""
    table = 100 * np.asarray(runs)  # [seeds, queries]
    rng = np.random.default_rng(0)
    seeds = rng.integers(len(table), size=(DRAWS, len(table)))
    queries = rng.integers(table.shape[1], size=(DRAWS, table.shape[1]))
    means = [table[np.ix_(s, q)].mean() for s, q in zip(seeds, queries, strict=True)]
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": table.mean(), "low": low, "high": high, "seeds": table.mean(axis=1).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 11))
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--cache", help="folder for rendered frames, 1.3 GB a seed")
    parser.add_argument("--quick", action="store_true", help="60 steps: shows that it runs, not what it finds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    runs: dict[str, list[dict[str, list[float]]]] = {name: [] for name in VARIANTS}
    for seed in range(args.seeds):
        for variant in VARIANTS:
            runs[variant].append(run(args.out, variant, seed, args))
    table = {
        variant: {measure: summary([r[measure] for r in results]) for measure in results[0]}
        for variant, results in runs.items()
    }
    if args.json:
        print(json.dumps(table, indent=2))
        return
    measures = list(next(iter(table.values())))
    print("| | " + " | ".join(measures) + " |\n" + "|---" * (len(measures) + 1) + "|")
    for variant, row in table.items():
        cells = [f"{v['mean']:.1f} ({v['low']:.1f} to {v['high']:.1f})" for v in row.values()]
        print(f"| {variant} | " + " | ".join(cells) + " |")
    for variant, row in table.items():
        cells = ["; ".join(f"{value:.1f}" for value in v["seeds"]) for v in row.values()]
        print(f"| {variant}, by seed | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
