"""One thing, then another: how often the right order of events scores above the wrong ones.

    python benchmarks/order.py [--count 200] [--windows 2/0.5,4/1,8/2] [--quick]

Stories of five events of 2 to 6 s (set C of stories.py): each pair of events against the other way round, and triples
against all five other ways. Then videos of just two scenes, which is what sentences of training are about, and what
the rule is made of: a video of one window is asked for the sentence, others by the programme. Last, stories and
two-scene videos in one index: whether one ranking is fair to both. "Shifted" centres the scores of each kind first;
"added" adds the sentence's score to the programme's. The embedded model, on videos rendered in memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from random import Random

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from stories import Story, set_c

from clip2video_plugin import load_model
from clip2video_plugin.model.checkpoint import Model
from clip2video_plugin.query import Windows
from clip2video_plugin.query.order import in_order
from clip2video_plugin.shapes import Scene, caption, probes
from clip2video_plugin.video.windows import WindowSize, parse_windows

FLOOR = 98.0
console = Console()


@dataclass(frozen=True)
class Shown:
    """A video: its vector [D], its windows, and the sentences of its events in order."""

    whole: NDArray[np.float32]
    windows: Windows
    events: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--windows", type=parse_windows, default="2/0.5,4/1,8/2", help="auto of such videos")
    parser.add_argument("--quick", action="store_true", help="20 stories")
    args = parser.parse_args()
    count, model = 20 if args.quick else args.count, load_model("shapes", device="cpu")
    stories = [shown(story, story.captions, model, args.windows) for story in set_c(count, 0)]
    for parts, name in ((2, "pairs"), (3, "triples")):
        programme, sentence, asked = in_right_order(stories, parts, model)
        console.print(
            f"{name} of five events, n = {asked}: programme {programme:.1f} % (floor {FLOOR:.0f}), "
            f"sentence {sentence:.1f} % (chance {100 / (2 if parts == 2 else 6):.0f})"
        )
    for symmetric in (False, True):
        twins = probes.order(2 * count, 2, symmetric=symmetric)
        videos = [shown(Story((scene,), (8.0,)), clauses(scene), model, args.windows) for scene in twins]
        programme, sentence = against_twins(videos, model)
        kind = "which look the same backwards" if symmetric else "of any kind"
        console.print(
            f"two scenes {kind}, n = {len(videos)}: sentence {sentence:.1f} %, programme {programme:.1f} % "
            f"(reference {'93 and 85' if symmetric else '100 and 94'})"
        )
        if not symmetric:
            one_ranking(stories, videos, model)


def shown(story: Story, events: list[str], model: Model, sizes: Sequence[WindowSize]) -> Shown:
    whole = story.windows(model, [WindowSize(story.duration, story.duration)])
    return Shown(whole.vectors[0], story.windows(model, sizes), events)


def clauses(scene: Scene) -> list[str]:
    """A sentence for each phase of a scene."""
    return [caption(Scene(scene.things, (phase,), scene.paths, scene.background)) for phase in scene.phases]


def encode(texts: Sequence[str], model: Model) -> NDArray[np.float32]:
    known = list(dict.fromkeys(texts))
    vectors = np.concatenate(
        [model.encode_captions(known[i : i + 64]).vector.numpy() for i in range(0, len(known), 64)]
    )
    return vectors[[known.index(text) for text in texts]]


def programme_score(windows: Windows, parts: NDArray[np.float32]) -> float:
    """The mean of the parts [p, D] in their best order, as ``query/order.py`` has it."""
    scores = windows.vectors @ parts.T
    path = in_order(windows.spans, scores)
    return -np.inf if path is None else float(np.mean(scores[path, range(len(parts))]))


def in_right_order(videos: list[Shown], count: int, model: Model) -> tuple[float, float, int]:
    """Percent of choices of events whose order scores above all others: by the programme, by the sentence; how many."""
    right = np.zeros((0, 2), bool)
    for video in videos:
        parts = encode(video.events, model)
        for chosen in combinations(range(len(video.events)), count):
            orders = list(permutations(chosen))  # the right one first
            programme = [programme_score(video.windows, parts[list(order)]) for order in orders]
            said = encode([", then ".join(video.events[n] for n in order) for order in orders], model) @ video.whole
            right = np.vstack([right, [all(s[0] > other for other in s[1:]) for s in (programme, said)]])
    shares = 100 * right.mean(axis=0)
    return float(shares[0]), float(shares[1]), len(right)


def against_twins(videos: list[Shown], model: Model) -> tuple[float, float]:
    """Percent of sentences that prefer their video to the one that lies beside it and shows the other order."""
    right = []
    for n, video in enumerate(videos):
        parts, (said,) = encode(video.events, model), encode([", then ".join(video.events)], model)
        twin = videos[n ^ 1]
        right.append(
            (
                programme_score(video.windows, parts) > programme_score(twin.windows, parts),
                said @ video.whole > said @ twin.whole,
            )
        )
    programme, sentence = 100 * np.mean(right, axis=0)
    return float(programme), float(sentence)


def one_ranking(stories: list[Shown], clips: list[Shown], model: Model) -> None:
    """Stories by the programme and clips of one window by the sentence, ranked together for events of each."""
    random, both = Random("one ranking"), [*stories, *clips]
    asked = []
    for n, video in enumerate(both):
        pair = sorted(random.sample(range(len(video.events)), 2))
        asked.append((n, [video.events[i] for i in pair]))
    wholes = np.stack([video.whole for video in both])
    ranks = {name: np.zeros(len(asked), int) for name in ("as they are", "shifted", "added")}
    for row, (n, events) in enumerate(asked):
        parts, (said,) = encode(events, model), encode([", then ".join(events)], model)
        by_story = np.array([programme_score(video.windows, parts) for video in stories])
        by_clip, all_said = (wholes @ said)[len(stories) :], wholes @ said
        scores = {
            "as they are": np.r_[by_story, by_clip],
            "shifted": np.r_[by_story - np.median(by_story), by_clip - np.median(by_clip)],
            "added": np.r_[by_story + all_said[: len(stories)], 2 * by_clip],
        }
        for name, mine in scores.items():
            ranks[name][row] = 1 + int((mine > mine[n]).sum())
    for name, mine in ranks.items():
        ours, theirs = mine[: len(stories)], mine[len(stories) :]
        console.print(
            f"one ranking of {len(stories)} stories and {len(clips)} two-scene videos, {name}: "
            f"R@1 of stories {100 * np.mean(ours == 1):.1f}, of two-scene videos {100 * np.mean(theirs == 1):.1f}; "
            f"R@5 {100 * np.mean(ours <= 5):.1f}, {100 * np.mean(theirs <= 5):.1f}"
        )


if __name__ == "__main__":
    main()
