"""Any folder of videos with captions, as a FiftyOne dataset type."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.types as fot
import fiftyone.utils.data as foud

from clip2video_plugin.app.metadata import video_metadata
from clip2video_plugin.bounds import check_choice
from clip2video_plugin.datasets.annotations import OnMissing, Warnings
from clip2video_plugin.datasets.caption_table import read_captions
from clip2video_plugin.datasets.clips import check_missing
from clip2video_plugin.datasets.pairing import pair, split_ending
from clip2video_plugin.datasets.sources import find_sources, is_text, leaves
from clip2video_plugin.errors import AnnotationError
from clip2video_plugin.paths import expanded, printable


class CaptionedVideoFolder(fot.UnlabeledVideoDataset):  # type: ignore[misc]
    """Videos and their captions in ``captions.csv``, ``.tsv``, ``.json`` or ``.jsonl``, or in a .txt beside each video.

    ``fo.Dataset.from_dir(dataset_dir=..., dataset_type=CaptionedVideoFolder)`` gives a sample per
    captioned video, with its captions in the list field ``captions``. A record names its video by path within the
    folder or by file name, with or without ending (see ``pairing.pair``); several records may name one video.
    """

    def get_dataset_importer_cls(self) -> type[CaptionedVideoFolderImporter]:
        return CaptionedVideoFolderImporter


class CaptionedVideoFolderImporter(foud.GenericSampleDatasetImporter):  # type: ignore[misc]
    """Importer of ``CaptionedVideoFolder``.

    Args:
        captions_path: the file of captions, where it is not ``captions.*`` in the folder.
        on_missing: "skip" captions of videos that are not there, "keep" them, or raise an "error".

    Raises:
        AnnotationError: there are no captions, or their file cannot be used as it is.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        captions_path: str | Path | None = None,
        on_missing: OnMissing = "skip",
        shuffle: bool = False,
        seed: int | None = None,
        max_samples: int | None = None,
    ) -> None:
        super().__init__(dataset_dir=dataset_dir, shuffle=shuffle, seed=seed, max_samples=max_samples)
        self.captions_path = expanded(captions_path) if captions_path else None
        self.on_missing = on_missing
        self.info: dict[str, Any] = {}
        self._rows: list[tuple[Path, list[str]]] = []
        self._iterator: Iterator[tuple[Path, list[str]]] = iter(())

    @property
    def has_dataset_info(self) -> bool:
        return True

    def get_dataset_info(self) -> dict[str, Any]:
        """How many videos and captions were found, which videos are missing, and warnings by kind."""
        return self.info

    @property
    def has_sample_field_schema(self) -> bool:
        return False

    def setup(self) -> None:
        check_choice("on_missing", self.on_missing, OnMissing, AnnotationError)
        folder, warnings = Path(os.path.abspath(self.dataset_dir or ".")), Warnings()
        sources = find_sources(folder)
        records = read_captions(folder, sources, warnings, self.captions_path)
        names = list(dict.fromkeys(name for name, _ in records))
        paths = [str(path.relative_to(folder)) for files in sources.media.values() for path in files]
        found = pair(names, [*paths, *_of_other_endings(names, paths, folder)])
        missing = [printable(name) for name in names if name not in found.files]
        by_path: dict[str, list[str]] = {}
        said = defaultdict[str, Counter[str]](Counter)
        for name, texts in records:
            if name not in found.files and (self.on_missing != "keep" or not is_text(name)):
                continue
            captions = by_path.setdefault(found.files.get(name) or _as_video(name), [])
            for text in texts:
                said[name][text] += 1
                # A caption that two names of one video give counts once
                if said[name][text] > captions.count(text):
                    captions.append(text)
        rows = [(folder / path, captions) for path, captions in by_path.items()]
        ambiguous = [printable(f"{name} could be {', '.join(files)}") for name, files in found.ambiguous.items()]
        check_missing(missing, rows, self.on_missing, folder, ambiguous, "captioned videos")
        warnings["names that could mean several videos, and were given none"] += len(ambiguous)
        warnings["names that fit a video but for folder, ending or capitals"] += len(found.loose)
        warnings["videos that no record names"] += len(set(paths) - set(by_path))
        self._rows = list(self._preprocess_list(rows))
        self.info = {
            "dataset": "folder",
            "found": {"videos": len(rows), "captions": sum(len(texts) for _, texts in rows)},
            "missing": missing,
            "ambiguous": ambiguous,
            "warnings": {printable(kind): count for kind, count in (+(warnings + sources.warnings)).items()},
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> CaptionedVideoFolderImporter:
        self._iterator = iter(self._rows)
        return self

    def __next__(self) -> Any:
        path, captions = next(self._iterator)
        return fo.Sample(filepath=os.path.abspath(path), captions=captions, metadata=video_metadata(path))


def _as_video(name: str) -> str:
    """Where a missing video would be; FiftyOne tells by the ending that it is a video."""
    return name if split_ending(name)[1] else f"{name}.mp4"


def _of_other_endings(names: Iterable[str], paths: list[str], folder: Path) -> list[str]:
    """Names that are the exact path of a file which its ending does not show to be a video."""
    known = set(paths)
    return [n for n in names if n not in known and os.path.isfile(folder / n) and not leaves(folder / n, folder)]
