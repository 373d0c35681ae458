"""MSR-VTT, MSVD and VATEX as FiftyOne dataset types: one sample per video, in gallery order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import fiftyone as fo
import fiftyone.types as fot
import fiftyone.utils.data as foud

from clip2video_plugin.app.metadata import metadata_of
from clip2video_plugin.bounds import check_choice
from clip2video_plugin.datasets.annotations import Annotation, OnMissing
from clip2video_plugin.datasets.benchmark import Benchmark, read_benchmark
from clip2video_plugin.datasets.clips import check_missing, choose
from clip2video_plugin.datasets.sources import find_sources
from clip2video_plugin.errors import AnnotationError
from clip2video_plugin.paths import expanded, printable
from clip2video_plugin.video.image_folder import images_in

Media = Literal["video", "frames"]
"""What a benchmark's videos are: files, or folders of frames."""


class BenchmarkImporter(foud.GenericSampleDatasetImporter):  # type: ignore[misc]
    """Imports one split of one protocol.

    Args:
        dataset_dir: folder with annotations and videos in any of the circulated layouts.
        protocol: "1k-a", "7k" or "full" for MSR-VTT, "msvd", "vatex-1k5" or "vatex-hgr".
        split: "train", "val" or "test".
        videos_path, annotations_path, splits_path: where to look instead of in ``dataset_dir``.
        media: "video" files, or folders of "frames".
        on_missing: what to do when a video's file is not there: "skip" it, raise an "error", or
            "keep" its annotations under the path where it would be. Always counted.

    Raises:
        AnnotationError: files are missing, cannot be used as they are, or an argument is not allowed.
    """

    dataset = ""

    def __init__(
        self,
        dataset_dir: str | None = None,
        protocol: str | None = None,
        split: str = "test",
        videos_path: str | Path | None = None,
        annotations_path: str | Path | None = None,
        splits_path: str | Path | None = None,
        media: Media = "video",
        on_missing: OnMissing = "skip",
        shuffle: bool = False,
        seed: int | None = None,
        max_samples: int | None = None,
    ) -> None:
        super().__init__(dataset_dir=dataset_dir, shuffle=shuffle, seed=seed, max_samples=max_samples)
        self.protocol, self.split, self.media, self.on_missing = protocol, split, media, on_missing
        self.paths = {
            "videos_path": _path(videos_path),
            "annotations_path": _path(annotations_path),
            "splits_path": _path(splits_path),
        }
        self.benchmark: Benchmark | None = None
        self.info: dict[str, Any] = {}
        self._rows: list[tuple[int, Annotation, Path, bool]] = []
        self._samples: Iterator[fo.Sample] = iter(())

    @property
    def has_dataset_info(self) -> bool:
        return True

    def get_dataset_info(self) -> dict[str, Any]:
        """Protocol, source files, counts, what is missing, warnings, and whether the gallery is complete."""
        return self.info

    @property
    def has_sample_field_schema(self) -> bool:
        return False

    def setup(self) -> None:
        # Not in the constructor, whose errors FiftyOne hides behind its own
        check_choice("media", self.media, Media, AnnotationError)
        check_choice("on_missing", self.on_missing, OnMissing, AnnotationError)
        root = _path(self.dataset_dir)
        sources = find_sources(root, media=self.media, **self.paths)
        self.benchmark = read_benchmark(self.dataset, sources, protocol=self.protocol, split=self.split)
        chosen = choose(self.benchmark, sources)
        rows, missing = [], []
        for number, annotation in enumerate(self.benchmark.annotations):
            path = chosen.files.get(annotation.video_id)
            if path is None:
                missing.append(annotation.video_id)
                if self.on_missing != "keep":
                    continue
                path = (self.paths["videos_path"] or root or Path()) / f"{annotation.video_id}.mp4"
                rows.append((number, annotation, path, False))
            else:
                rows.append((number, annotation, path, True))
        check_missing(missing, rows, self.on_missing, self.paths["videos_path"] or root, chosen.ambiguous)
        self._rows = list(self._preprocess_list(rows))
        self.info = self._describe(missing, chosen.ambiguous)

    def _describe(self, missing: list[str], ambiguous: list[str]) -> dict[str, Any]:
        assert self.benchmark is not None
        benchmark, size = self.benchmark, self.benchmark.protocol.splits[self.split]
        if avi := sum(path.suffix.lower() == ".avi" for _, _, path, there in self._rows if there):
            benchmark.warnings[
                "avi files, which browsers may not play; fiftyone.utils.video.reencode_videos(dataset) converts them"
            ] += avi
        found = len(benchmark.annotations) - len(missing)
        return {
            "dataset": self.dataset,
            "protocol": benchmark.protocol.name,
            "split": self.split,
            "sources": {printable(path): digest for path, digest in benchmark.files.items()},
            "passed_over": [printable(path) for path in benchmark.passed_over],
            "expected": {"videos": size.videos, "captions": size.captions},
            "found": {"videos": found, "captions": benchmark.captions},
            "missing": missing,
            "ambiguous": ambiguous,
            "warnings": {printable(kind): count for kind, count in benchmark.warnings.items()},
            "complete": found == size.videos and benchmark.captions == size.captions,
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> BenchmarkImporter:
        self._samples = self._make_samples()
        return self

    def __next__(self) -> fo.Sample:
        return next(self._samples)

    def _make_samples(self) -> Iterator[fo.Sample]:
        """Samples in order, with the metadata of those whose video is there."""
        there = [path for _, _, path, exists in self._rows if exists and self.media == "video"]
        metadata = metadata_of(there)
        for row in self._rows:
            yield self._sample(row, next(metadata) if row[3] and self.media == "video" else None)

    def _sample(self, row: tuple[int, Annotation, Path, bool], metadata: Any) -> fo.Sample:
        assert self.benchmark is not None
        number, annotation, path, there = row
        frames = self.media == "frames"
        first = next(iter(images_in(path)), path) if frames and there else path
        sample = fo.Sample(
            filepath=str(first.absolute()),
            # A video without a caption is not part of the protocol
            tags=[self.split] if annotation.captions or annotation.video_id in self.benchmark.queries else [],
            metadata=metadata,
            video_id=annotation.video_id,
            captions=annotation.captions,
            dataset=self.dataset,
            protocol=self.benchmark.protocol.name,
            gallery_index=number,
            start=annotation.start,
            end=annotation.end,
            duration=annotation.end - annotation.start
            if annotation.end is not None and annotation.start is not None
            else None,
            source_url=annotation.source_url,
        )
        if annotation.raw_captions != annotation.captions:
            sample["captions_raw"] = annotation.raw_captions
        if annotation.caption_ids:
            sample["caption_ids"] = annotation.caption_ids
        if annotation.captions_zh:
            sample["captions_zh"] = annotation.captions_zh
        if annotation.category is not None:
            sample["category"] = fo.Classification(label=annotation.category)
        if annotation.video_id in self.benchmark.queries:
            sample["query"] = self.benchmark.queries[annotation.video_id]
        if frames:
            sample["frames_dir"] = str(path.absolute())
        return sample


class MSRVTTImporter(BenchmarkImporter):
    dataset = "msrvtt"


class MSVDImporter(BenchmarkImporter):
    dataset = "msvd"


class VATEXImporter(BenchmarkImporter):
    dataset = "vatex"


class MSRVTTDataset(fot.UnlabeledVideoDataset):  # type: ignore[misc]
    """MSR-VTT: ``fo.Dataset.from_dir(dataset_dir=..., dataset_type=MSRVTTDataset, protocol="1k-a", split="test")``."""

    def get_dataset_importer_cls(self) -> type[MSRVTTImporter]:
        return MSRVTTImporter


class MSVDDataset(fot.UnlabeledVideoDataset):  # type: ignore[misc]
    """MSVD (YouTube2Text), as ``MSRVTTDataset``."""

    def get_dataset_importer_cls(self) -> type[MSVDImporter]:
        return MSVDImporter


class VATEXDataset(fot.UnlabeledVideoDataset):  # type: ignore[misc]
    """VATEX in English, as ``MSRVTTDataset``; protocols "vatex-1k5" and "vatex-hgr"."""

    def get_dataset_importer_cls(self) -> type[VATEXImporter]:
        return VATEXImporter


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else expanded(value)
