"""What QB-Norm does to rankings: with a bank of the same domain, of another, and where galleries are blurred.

    OMP_NUM_THREADS=1 python benchmarks/qbnorm.py [--count 1000] [--bank 2000] [--seed 0] [--json]

Videos of the unseen pairs, rendered in memory, as they are and blurred (their frames by a Gaussian of 2.5 and of 3 of
48 pixels), which makes some of them near to every sentence. Each index has three captions a video, on which
`Query.bank` tries a bank; R@1 is of other sentences for the same videos. Banks: captions of other videos of the same
pairs; captions of the pairs of training (another domain); everyday sentences (further off). "always" is the same bank
without the check, with beta 10. Floors: with the check never below -.5 points, and at least +1 on the blurred galleries
with the first bank.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import islice
from random import Random

import numpy as np
from confidence import index_of, paraphrase
from PIL import Image, ImageFilter

from clip2video_plugin import load_model
from clip2video_plugin.query import Gallery, Query
from clip2video_plugin.query.asking import encoded, everyday
from clip2video_plugin.query.bank import inverted_softmax, normalised
from clip2video_plugin.shapes import Scene, caption, captions, held_out_scenes, render, scenes

BLURS = {"as they are": 0.0, "blurred": 2.5, "blurred more": 3.0}
ALWAYS = 10.0


def blurred(drawn: list[Scene], radius: float, model) -> np.ndarray:
    """Vectors [n, D] of scenes whose frames were blurred."""
    times, size = np.linspace(0, 1, model.config.max_frames).tolist(), model.config.image_size
    blur = ImageFilter.GaussianBlur(radius)

    def frames(scene: Scene) -> np.ndarray:
        pixels = render(scene, times, size)
        return np.stack([np.asarray(Image.fromarray(frame).filter(blur)) for frame in pixels]) if radius else pixels

    parts = ([frames(scene) for scene in drawn[n : n + 32]] for n in range(0, len(drawn), 32))
    return np.concatenate([model.encode_frames(part).vector.numpy() for part in parts])


def always(asked: np.ndarray, bank: np.ndarray, videos: np.ndarray, beta: float) -> np.ndarray:
    """The best video of each query by the dynamic inverted softmax over all of them, in numpy."""
    scores, against = asked @ videos.T, (bank @ videos.T).astype(float)
    active = np.zeros(len(videos), bool)
    active[against.argmax(axis=1)] = True
    first = scores.argmax(axis=1)
    return np.where(active[first], inverted_softmax(scores, against, beta).argmax(axis=1), first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--bank", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model, random = load_model("shapes", device="cpu"), Random(f"qbnorm:{args.seed}")
    drawn = held_out_scenes(args.count + args.bank, args.seed)
    here, others = drawn[: args.count], drawn[args.count :]
    texts = [captions(scene, 3, args.seed) for scene in here]
    asked = encoded([paraphrase(scene, set(some), random) for scene, some in zip(here, texts, strict=True)], model)
    known = {text for some in texts for text in some}
    banks = {
        "same domain": [text for scene in others if (text := caption(scene, random)) not in known],
        "other things": [caption(scene, random) for scene in islice(scenes(200 + args.seed), args.bank)],
        "everyday": everyday(),
    }
    out = []
    for name, radius in BLURS.items():
        videos = blurred(here, radius, model)
        own = [f"v{n}" for n in range(len(here))]
        plain = 100 * float(np.mean((asked @ videos.T).argmax(axis=1) == np.arange(len(here))))
        with tempfile.TemporaryDirectory() as folder:
            gallery = Gallery(index_of(folder, videos, texts, model))
            for bank, lines in banks.items():
                query = Query("a sentence", bank=tuple(lines), k=1)
                found = [normalised(query, gallery, model, vector[None], 1) for vector in asked]
                checked = 100 * float(np.mean([hits[0].id == i for (hits, _), i in zip(found, own, strict=True)]))
                free = 100 * float(
                    np.mean(always(asked, encoded(lines, model), videos, ALWAYS) == np.arange(len(here)))
                )
                floor = 1.0 if radius and bank == "same domain" else -0.5
                row = {"gallery": name, "bank": bank, "plain": plain, "with its check": round(checked - plain, 1)}
                row |= {"floor": floor, "always": round(free - plain, 1), "note": found[0][1]}
                out.append(row)
                if not args.json:
                    gain = f"with its check {row['with its check']:+.1f} (floor {floor:+.1f})"
                    print(f"{name:13} {bank:13} R@1 {plain:.1f}, {gain}, always {row['always']:+.1f}")
                    print(f"    {row['note']}", flush=True)
    if args.json:
        print(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()
