"""What the embedded model can do: retrieval and direction on 1,000 unseen videos of the shapes world.

    python benchmarks/shapes_retrieval.py [--model NAME] [--count 1000] [--seed 0] [--precision int8] [--json]

Every video is written as H.264 and read back. Its (colour, shape) pairs were never seen together in
training, no two captions mean the same, and each has at least three rivals of the same things that
move otherwise. "Reversed twin" asks whether a caption prefers its video to the same frames in
reverse; "inverse action" whether it prefers it to another video of the same things that do the
inverse. "Other order" asks for "A, then B" against "B, then A" in the same place, in general and where both actions
look the same backwards. A model without a sense of time is at 50 % on all but the general order. Ties count one half.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.table import Table

from clip2video_plugin import load_model
from clip2video_plugin.encode import Embedded, Item, encode_items
from clip2video_plugin.evaluation import retrieval_metrics
from clip2video_plugin.shapes import Scene, caption, held_out_scenes, probes, write_videos
from clip2video_plugin.shapes.scene import INVERSE
from clip2video_plugin.video.files import file_stamp


def distinct_captions(scenes: list[Scene], seed: int) -> list[str]:
    """A drawn paraphrase for each scene, no two alike."""
    random, out = Random(f"benchmark:{seed}"), dict[str, None]()
    for number, scene in enumerate(scenes):
        while len(out) == number:
            out[caption(scene, random)] = None
    return list(out)


def vectors(folder: Path, scenes: list[Scene], model) -> np.ndarray:
    """Writes the scenes as videos and embeds the files, [n, D]."""
    videos = write_videos(folder, scenes, paraphrases=1)
    todo = ((Item(path, path.name), file_stamp(path)) for path, _ in videos)
    done = [one for batch in encode_items(todo, model, batch_size=32) for one in batch]
    assert all(isinstance(one, Embedded) for one in done)
    return np.stack([one.vector for one in done])


def prefers(good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """1 for each row where the good score is larger, one half where they are equal."""
    return (good > bad) + 0.5 * (good == bad)


def preferred(good: np.ndarray, bad: np.ndarray) -> float:
    """Share of rows where the good score is larger, in percent; a tie counts one half."""
    return 100 * float(np.mean(prefers(good, bad)))


def in_order_pairs(folder: Path, kind: str, model, count: int = 400) -> float:
    """How often a caption "A, then B" prefers its video to the twin that shows "B, then A", in percent."""
    scenes = probes.order(count, 2, symmetric=kind == "symmetric")
    random = Random(f"order:{kind}")
    queries = model.encode_captions([caption(scene, random) for scene in scenes]).vector.numpy()
    videos = vectors(folder, scenes, model)
    twins = videos[np.arange(len(videos)) ^ 1]  # they lie side by side
    return preferred(np.sum(queries * videos, axis=1), np.sum(queries * twins, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--precision", default="auto", help="auto, float32, bfloat16, int8")
    parser.add_argument("--quick", action="store_true", help="100 videos")
    args = parser.parse_args()
    if args.quick:
        args.count = 100
    model = load_model(args.model, precision=args.precision)
    scenes = held_out_scenes(args.count, args.seed)
    texts = distinct_captions(scenes, args.seed)
    random = Random(args.seed)
    inverse = [scene.reversed().redrawn(random) for scene in scenes]
    with tempfile.TemporaryDirectory() as folder:
        videos = vectors(Path(folder) / "forward", scenes, model)
        reversed_videos = vectors(Path(folder) / "reversed", [scene.reversed() for scene in scenes], model)
        inverse_videos = vectors(Path(folder) / "inverse", inverse, model)
        order = {kind: in_order_pairs(Path(folder) / kind, kind, model) for kind in ("general", "symmetric")}
    queries = model.encode_captions(texts).vector.numpy()
    scores = queries @ videos.T
    own = np.diag(scores)
    metrics = retrieval_metrics(scores, np.arange(len(scenes)))["t2v"]
    directed = np.array([any(INVERSE[a] != a for phase in s.phases for _, a in phase) for s in scenes])
    in_order = np.array([len(s.phases) == 2 for s in scenes])
    twin, other = np.sum(queries * reversed_videos, axis=1), np.sum(queries * inverse_videos, axis=1)
    rivals = Counter(frozenset(scene.things) for scene in scenes)
    result = {
        "model": model.name,
        "sha256": model.sha256,
        "videos": len(scenes),
        "distinct captions": len(set(texts)),
        "fewest rivals": min(rivals.values()) - 1,
        **{key: value for key, value in metrics.items() if key != "n"},
        "reversed twin, directed actions": preferred(own[directed], twin[directed]),
        "reversed twin, all": preferred(own, twin),
        "inverse action, directed actions": preferred(own[directed], other[directed]),
        "reversed twin, two in order": preferred(own[in_order & directed], twin[in_order & directed]),
        **{f"twin in the other order, {kind} actions": share for kind, share in order.items()},
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return
    table = Table("measure", "value")
    for key, value in result.items():
        table.add_row(key, f"{value:.1f}" if isinstance(value, float) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
