"""One split of one benchmark, put together from whatever files there are, in gallery order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from clip2video_plugin.datasets import msrvtt, msvd, vatex
from clip2video_plugin.datasets.annotations import Annotation, Warnings, read_list
from clip2video_plugin.datasets.protocols import DEFAULTS, Protocol, find_protocol
from clip2video_plugin.datasets.sources import Sources, find_sources
from clip2video_plugin.download import digest
from clip2video_plugin.errors import AnnotationError

Ids = list[str]


@dataclass
class Benchmark:
    """``annotations`` in gallery order; ``queries`` are the sentences of a protocol of single captions."""

    protocol: Protocol
    split: str
    annotations: list[Annotation]
    queries: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # source file -> SHA-256
    aliases: dict[str, str] = field(default_factory=dict)  # id -> another name that its file may have
    originals: dict[str, str] = field(default_factory=dict)  # id -> name of the video that the clip was cut from
    passed_over: list[str] = field(default_factory=list)  # files that hold no annotations
    warnings: Warnings = field(default_factory=Warnings)

    @property
    def captions(self) -> int:
        """Number of queries: one a video in a protocol of single captions, else every caption."""
        if self.queries:
            return len(self.queries)
        return sum(len(annotation.captions) for annotation in self.annotations)


def read_benchmark(dataset: str, sources: Sources, *, protocol: str | None = None, split: str = "test") -> Benchmark:
    """Reads a split of ``msrvtt``, ``msvd`` or ``vatex``.

    Raises:
        AnnotationError: the protocol or split is unknown, files are missing, or one cannot be used as it is.
    """
    chosen = find_protocol(dataset, protocol)
    chosen.check_split(split)
    readers: dict[str, Callable[[Protocol, str, Sources], Benchmark]] = {
        "msrvtt": _msrvtt,
        "msvd": _msvd,
        "vatex": _vatex,
    }
    benchmark = readers[dataset](chosen, split, sources)
    benchmark.warnings += sources.warnings
    unknown = [a.video_id for a in benchmark.annotations if not a.captions and a.video_id not in benchmark.queries]
    benchmark.warnings["videos without a caption"] += len(unknown)
    benchmark.warnings = +benchmark.warnings
    return benchmark


def read_splits(
    dataset: str, folder: Path, *, protocol: str | None = None, splits_path: Path | None = None
) -> list[Benchmark]:
    """Every split of a protocol, from the annotations in a folder; videos are not looked for.

    Raises:
        AnnotationError: as ``read_benchmark``.
    """
    if dataset not in DEFAULTS:
        raise AnnotationError(f"kind is {dataset!r}; allowed are {', '.join(DEFAULTS)}")
    sources = find_sources(None, annotations_path=folder, splits_path=splits_path)
    names = find_protocol(dataset, protocol).splits
    return [read_benchmark(dataset, sources, protocol=protocol, split=split) for split in names]


def _ordered(ids: Ids, videos: dict[str, Annotation], benchmark: Benchmark, used: list[Path | None]) -> Benchmark:
    if not ids:
        raise AnnotationError(
            f"{benchmark.protocol.name} {benchmark.split} lists no videos in the files that are there"
        )
    benchmark.annotations = [videos.get(video_id, Annotation(video_id)) for video_id in ids]
    benchmark.files = {str(path): digest(path) for path in used if path is not None}
    return benchmark


# MSR-VTT


def _msrvtt(protocol: Protocol, split: str, sources: Sources) -> Benchmark:
    out = Benchmark(protocol, split, [])
    tables = [p for p in sources.tables if p.suffix.lower() == ".json"]
    videos, official, used = msrvtt.read_annotations(tables, out.warnings)
    out.passed_over = [str(path) for path in tables if path not in used]
    pairs_file = sources.table("jsfusion", suffix=".csv")
    pairs = msrvtt.read_pairs(pairs_file, out.warnings) if pairs_file else {}
    listed: Path | None = None
    if protocol.name != "full" and split == "test":
        if not pairs:
            raise AnnotationError(
                "the 1k-A test pairs are in MSRVTT_JSFUSION_test.csv, which is not there: "
                "name its folder (splits_path), or run: c2v datasets fetch-splits"
            )
        ids, out.queries = list(pairs), pairs
    else:
        listed = sources.table({"1k-a": "train.9k", "7k": "train.7k", "full": f"{split}.full"}[protocol.name])
        if listed is not None:
            ids = msrvtt.read_ids(listed, out.warnings)
        else:
            ids = _derived_msrvtt(protocol, split, videos, official, pairs)
    if not videos and not out.queries and listed is None:
        raise AnnotationError(f"no MSR-VTT annotations found; expected {msrvtt.EXPECTED}")
    categories = sources.table("category", suffix=".txt")
    names = msrvtt.read_categories(categories) if categories else {}
    for annotation in videos.values():
        if annotation.category is not None:
            annotation.category = names.get(annotation.category, annotation.category)
    return _ordered(ids, videos, out, [*used, pairs_file, listed, categories])


def _derived_msrvtt(
    protocol: Protocol, split: str, videos: dict[str, Annotation], official: dict[str, str], pairs: dict[str, str]
) -> Ids:
    """A split that the official files determine: 9k is all but the test pairs, 7k is train and val."""
    by_number = sorted(videos, key=lambda video_id: int(video_id[5:]))
    if protocol.name == "1k-a":
        if not pairs:
            raise AnnotationError(
                "the 9k train set is all but the 1k-A test pairs; MSRVTT_JSFUSION_test.csv is not there"
            )
        return [i for i in by_number if i not in pairs]
    wanted = ("train", "val") if protocol.name == "7k" else (split,)
    ids = [i for i in by_number if official.get(i) in wanted]
    if not ids:
        raise AnnotationError(f"no file tells which videos are MSR-VTT {protocol.name} {split}")
    return ids


# MSVD


def _msvd(protocol: Protocol, split: str, sources: Sources) -> Benchmark:
    out = Benchmark(protocol, split, [])
    mapping_file = sources.table("mapping", suffix=".txt")
    mapping = msvd.read_mapping(mapping_file) if mapping_file else {}
    listed = sources.table(f"{split}_list", suffix=".txt")
    lists = {sources.table(f"{name}_list", suffix=".txt") for name in msvd.COUNTS}
    tables = [path for path in sources.tables if path not in {*lists, mapping_file}]
    videos, used = msvd.read_annotations(tables, mapping, out.warnings)
    out.passed_over = [str(path) for path in tables if path not in used]
    if listed is not None:
        ids = read_list(listed, msvd.ID, out.warnings)
    elif mapping:
        ids = msvd.splits_of_mapping(mapping)[split]
    else:
        raise AnnotationError(f"no file tells which videos are MSVD {split}: {split}_list.txt or youtube_mapping.txt")
    out.aliases = {video_id: number for number, video_id in mapping.items()}
    return _ordered(ids, videos, out, [*used, mapping_file, listed])


# VATEX


def _vatex(protocol: Protocol, split: str, sources: Sources) -> Benchmark:
    out = Benchmark(protocol, split, [])
    tables = [p for p in sources.tables if p.suffix.lower() == ".json"]
    videos, orders, used = vatex.read_annotations(tables, out.warnings)
    out.passed_over = [str(path) for path in tables if path not in used]
    mapping_file = sources.table("mapping", suffix=".txt")
    official = vatex.splits_of_mapping(mapping_file) if mapping_file else _official_sets(orders)
    listed = None
    if split == "train":
        listed = sources.table("train_list", suffix=".txt")
    elif protocol.name == "vatex-hgr":
        listed = sources.table(f"{split}_list", suffix=".txt")
    elif split == "test":
        listed = sources.table("test1k5", suffix=".txt")
    if listed is not None:
        ids = read_list(listed, vatex.ID, out.warnings)
    elif split == "train" and official.get("train"):
        ids = official["train"]
    elif protocol.name == "vatex-1k5" and official.get("validation"):
        # The circulated "random" 1k5 set is the first half of official validation; the rest serves as val.
        halves = official["validation"][: vatex.HALF], official["validation"][vatex.HALF :]
        ids = halves[0] if split == "test" else halves[1]
    else:
        raise AnnotationError(
            f"no file tells which videos are {protocol.name} {split}: a {split}_list.txt, the official files, "
            "or run: c2v datasets fetch-splits"
        )
    out.originals = {video_id: video_id[:11] for video_id in ids}
    return _ordered(ids, videos, out, [*used, mapping_file, listed])


def _official_sets(orders: list[Ids]) -> dict[str, Ids]:
    """Official train and validation, told by their sizes."""
    sizes = {vatex.TRAIN: "train", vatex.VALIDATION: "validation"}
    return {sizes[len(order)]: order for order in orders if len(order) in sizes}
