"""How well moments are found in generated videos of several scenes, by the windows of each.

    OMP_NUM_THREADS=1 python benchmarks/moments.py [--count 60] [--seed 13] [--windows 2/0.5,4/1,8/2]
        [--out FOLDER]

Sets A, B and C of ``stories.py``, a query for each scene: R1 at overlaps of .5 and .7, and the mean overlap, beside the
floors of the issue (in brackets) and the best single window. Of ``twice``, how often both occurrences of what happens
twice are the first two moments. ``--out`` writes predictions and truth as moment_detr's evaluation reads them, and as
does ``c2v eval --moments FOLDER/a.predicted.jsonl --truth FOLDER/a.true.jsonl``.

The method was developed on seeds 7 and 101 to 104; the default here is none of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # last: the folder datasets/ must not shadow a package

import numpy as np

from benchmarks.stories import Story, set_a, set_b, set_c, twice
from clip2video_plugin.evaluation import evaluate_moments, write_moments
from clip2video_plugin.evaluation.moments import Moments
from clip2video_plugin.index import Span
from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.model.installed import embedded_folder
from clip2video_plugin.query import Windows
from clip2video_plugin.query.moments import spans
from clip2video_plugin.video.windows import parse_windows

# name -> stories, their share of the count, floors of R1@.5 and R1@.7
SETS: dict[str, tuple[Callable[[int, int], list[Story]], float, float, float]] = {
    "a": (set_a, 1, 97, 85),
    "b": (set_b, 1, 92, 75),
    "c": (set_c, 2 / 3, 95, 80),
}
TWICE = 95  # percent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="stories of a set, of C two thirds of them")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--windows", default="2/0.5,4/1,8/2", help="by default those of auto for a video of a minute")
    parser.add_argument("--out", type=Path, help="a folder for predictions and truth")
    args = parser.parse_args()
    model, sizes = load_model(embedded_folder(), device="cpu"), parse_windows(args.windows)
    print(f"{'set':10}{'n':>5}{'R1@.5':>14}{'R1@.7':>14}{'mIoU':>7}{'mAP':>7}   best window alone")
    for name, (make, share, half, most) in SETS.items():
        predicted, alone, true = list[Moments](), list[Moments](), list[Moments]()
        for number, story in enumerate(make(max(round(args.count * share), 1), args.seed)):
            windows, sentences = story.windows(model, sizes), encoded(story, model)
            for scene, (sentence, span) in enumerate(zip(sentences, story.spans, strict=True)):
                about = f"{name}{number}-{scene}", story.captions[scene], f"{name}{number}"
                predicted.append(Moments(*about, tuple(row(one) for one in spans(windows, sentence))))
                alone.append(Moments(*about, (row(best_window(windows, sentence)),)))
                true.append(Moments(*about, (span,)))
        full, single = evaluate_moments(predicted, true).full, evaluate_moments(alone, true).full
        print(
            f"{name:8}{full.n:5}{full.r1_50:8.1f} ({half:g}){full.r1_70:9.1f} ({most:g}){full.miou:7.1f}{full.map:7.1f}"
            f"   {single.r1_50:.1f} {single.r1_70:.1f} {single.miou:.1f}"
        )
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            write_moments(args.out / f"{name}.predicted.jsonl", predicted, predicted=True)
            write_moments(args.out / f"{name}.true.jsonl", true, predicted=False)
    both = [
        found_both(story, spans(story.windows(model, sizes), encoded(story, model)[1]))
        for story in twice(args.count, args.seed)
    ]
    print(f"{'twice':10}{len(both):5}   both first: {100 * np.mean(both):.1f} % ({TWICE})")


def encoded(story: Story, model: Model) -> np.ndarray:
    """A vector for each scene's caption."""
    vectors: np.ndarray = model.encode_captions(story.captions).vector.numpy()
    return vectors


def best_window(windows: Windows, sentence: np.ndarray) -> Span:
    scores = windows.vectors @ sentence
    start, end = windows.spans[scores.argmax()].tolist()
    return Span(start, end, float(scores.max()))


def row(span: Span) -> tuple[float, float, float]:
    return span.start, span.end, span.score


def found_both(story: Story, found: tuple[Span, ...]) -> bool:
    """Whether the first two moments are the second scene and the fourth, each with an overlap of half."""
    pairs = [Moments(n, "", "", (row(one),)) for n, one in enumerate(sorted(found[:2], key=lambda one: one.start))]
    true = [Moments(n, "", "", (story.spans[scene],)) for n, scene in enumerate((1, 3))]
    return len(pairs) == 2 and evaluate_moments(pairs, true).full.r1_50 == 100


if __name__ == "__main__":
    main()
