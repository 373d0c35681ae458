"""What the splits of a protocol share that they should not: source videos, time, captions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

from clip2video_plugin.datasets.benchmark import Benchmark

OVERLAP = 0.5  # seconds of the same source from which two clips count as the same footage


@dataclass(frozen=True)
class Leak:
    """Clips of ``second`` whose source video also has a clip in ``first``, and pairs that overlap in time."""

    first: str
    second: str
    clips: int
    overlaps: int
    examples: list[tuple[str, str, float]]  # (clip of first, clip of second, seconds shared), longest first


@dataclass(frozen=True)
class Audit:
    """``repeated`` captions occur in more than one video of a split; ``long`` ones exceed the token limit."""

    protocol: str
    leaks: list[Leak]
    repeated: dict[str, int] = field(default_factory=dict)
    repeated_within: dict[str, int] = field(default_factory=dict)
    long: dict[str, int] = field(default_factory=dict)


def audit(splits: list[Benchmark], too_long: Callable[[list[str]], int]) -> Audit:
    """Compares the splits of one protocol.

    Args:
        too_long: how many of the captions exceed the model's token limit.
    """
    leaks = [_leak(a, b) for a, b in combinations(splits, 2)]
    repeated, within, long = {}, {}, {}
    for benchmark in splits:
        videos_of = defaultdict(set)
        inside = 0
        for annotation in benchmark.annotations:
            texts = captions_of(benchmark, annotation.video_id, annotation.captions)
            inside += sum(n - 1 for n in Counter(texts).values())
            for text in texts:
                videos_of[text].add(annotation.video_id)
        repeated[benchmark.split] = sum(len(videos) > 1 for videos in videos_of.values())
        within[benchmark.split] = inside
        long[benchmark.split] = too_long(list(videos_of))
    return Audit(splits[0].protocol.name, leaks, repeated, within, long)


def captions_of(benchmark: Benchmark, video_id: str, captions: list[str]) -> list[str]:
    """What the protocol asks of a video: its one sentence, or all its captions."""
    return [benchmark.queries[video_id]] if video_id in benchmark.queries else captions


def _leak(first: Benchmark, second: Benchmark) -> Leak:
    by_source = defaultdict(list)
    for clip in first.annotations:
        if clip.source_url:
            by_source[clip.source_url].append(clip)
    shared, pairs = 0, []
    for clip in second.annotations:
        others = by_source.get(clip.source_url or "", [])
        shared += bool(others)
        for other in others:
            if None in (clip.start, clip.end, other.start, other.end):
                continue
            seconds = min(clip.end or 0, other.end or 0) - max(clip.start or 0, other.start or 0)
            if seconds > OVERLAP:
                pairs.append((other.video_id, clip.video_id, round(seconds, 2)))
    pairs.sort(key=lambda pair: -pair[2])
    return Leak(first.split, second.split, shared, len(pairs), pairs[:10])
