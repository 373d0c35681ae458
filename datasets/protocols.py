"""The published protocols: which videos, how many captions, and the paper's numbers for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clip2video_plugin.errors import AnnotationError

Split = Literal["test", "val", "train"]
"""A part of a benchmark: what is evaluated on, chosen by, or trained on."""
Row = tuple[float, float, float, float, float]  # R@1, R@5, R@10, MdR, MnR


@dataclass(frozen=True)
class Size:
    """Videos and captions of a split."""

    videos: int
    captions: int


@dataclass(frozen=True)
class Protocol:
    """A test gallery with its training split. ``t2v`` and ``v2t`` are what the paper's authors publish for it."""

    name: str
    dataset: str
    splits: dict[str, Size]
    t2v: Row
    v2t: Row

    def check_split(self, split: str) -> None:
        """Raises AnnotationError for a split that the protocol does not have."""
        if split not in self.splits:
            raise AnnotationError(f"protocol {self.name} has no split {split!r}; it has {', '.join(self.splits)}")


_PAIRS = Size(1_000, 1_000)
_9K_T2V, _9K_V2T = (45.6, 72.6, 81.7, 2, 14.6), (43.5, 72.3, 82.1, 2, 10.2)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("1k-a", "msrvtt", {"train": Size(9_000, 180_000), "test": _PAIRS}, _9K_T2V, _9K_V2T),
        Protocol("7k", "msrvtt", {"train": Size(7_010, 140_200), "test": _PAIRS}, _9K_T2V, _9K_V2T),
        Protocol(
            "full",
            "msrvtt",
            {"train": Size(6_513, 130_260), "val": Size(497, 9_940), "test": Size(2_990, 59_800)},
            (29.8, 55.5, 66.2, 4, 45.5),
            (54.6, 82.1, 90.8, 1, 5.3),
        ),
        Protocol(
            "msvd",
            "msvd",
            {"train": Size(1_200, 48_774), "val": Size(100, 4_290), "test": Size(670, 27_763)},
            (47.0, 76.8, 85.9, 2, 9.6),
            (58.7, 85.6, 91.6, 1, 4.3),
        ),
        Protocol(
            "vatex-1k5",
            "vatex",
            {"train": Size(25_991, 259_910), "val": Size(1_500, 15_000), "test": Size(1_500, 15_000)},
            (57.3, 90.0, 95.5, 1, 3.6),
            (76.0, 97.7, 99.9, 1, 1.5),
        ),
        Protocol(
            "vatex-hgr",
            "vatex",
            {"train": Size(25_991, 259_910), "val": Size(1_500, 15_000), "test": Size(1_500, 15_000)},
            (61.2, 90.9, 95.6, 1, 3.4),
            (77.9, 98.1, 99.1, 1, 1.6),
        ),
    )
}
DEFAULTS = {"msrvtt": "1k-a", "msvd": "msvd", "vatex": "vatex-1k5"}


def find_protocol(dataset: str, name: str | None) -> Protocol:
    """The protocol of a name, or the dataset's default; raises AnnotationError for one that does not fit."""
    name = name or DEFAULTS[dataset]
    fitting = [p.name for p in PROTOCOLS.values() if p.dataset == dataset]
    if name not in fitting:
        raise AnnotationError(f"protocol {name!r} is none of {dataset}'s; there are {', '.join(fitting)}")
    return PROTOCOLS[name]
