"""A folder of videos with a table of captions, as a FiftyOne dataset type."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.types as fot
import fiftyone.utils.data as foud

from clip2video_plugin.app.metadata import video_metadata
from clip2video_plugin.errors import Clip2VideoError

CAPTIONS = ("captions.csv", "captions.tsv")


class CaptionedVideoFolder(fot.UnlabeledVideoDataset):  # type: ignore[misc]
    """Videos and ``captions.csv`` (or .tsv) with the columns ``filename`` and ``caption``, a row per caption.

    ``fo.Dataset.from_dir(dataset_dir=..., dataset_type=CaptionedVideoFolder)`` gives a sample per
    video that the table names, with its captions in the list field ``captions``.
    """

    def get_dataset_importer_cls(self) -> type[CaptionedVideoFolderImporter]:
        return CaptionedVideoFolderImporter


class CaptionedVideoFolderImporter(foud.GenericSampleDatasetImporter):  # type: ignore[misc]
    """Importer of ``CaptionedVideoFolder``.

    Raises:
        Clip2VideoError: the folder has no table of captions, or it lacks a column, or it names a file
            outside the folder.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        shuffle: bool = False,
        seed: int | None = None,
        max_samples: int | None = None,
    ) -> None:
        super().__init__(dataset_dir=dataset_dir, shuffle=shuffle, seed=seed, max_samples=max_samples)
        self._rows: list[tuple[Path, list[str]]] = []
        self._iterator: Iterator[tuple[Path, list[str]]] = iter(())

    @property
    def has_dataset_info(self) -> bool:
        return False

    @property
    def has_sample_field_schema(self) -> bool:
        return False

    def setup(self) -> None:
        self._rows = list(self._preprocess_list(list(read_captions(Path(self.dataset_dir or ".")).items())))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> CaptionedVideoFolderImporter:
        self._iterator = iter(self._rows)
        return self

    def __next__(self) -> Any:
        path, captions = next(self._iterator)
        return fo.Sample(filepath=str(path), captions=captions, metadata=video_metadata(path))


def read_captions(folder: Path) -> dict[Path, list[str]]:
    """video path -> captions, from the folder's table, in the table's order."""
    table = next((folder / name for name in CAPTIONS if (folder / name).is_file()), None)
    if table is None:
        raise Clip2VideoError(f"{folder} has no {' or '.join(CAPTIONS)}")
    out: dict[Path, list[str]] = {}
    base = os.path.abspath(folder)
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t" if table.suffix == ".tsv" else ",")
            if lacking := {"filename", "caption"} - set(reader.fieldnames or ()):
                raise Clip2VideoError(f"{table} lacks the column {' and '.join(sorted(lacking))}")
            for row in reader:
                name, caption = row["filename"] or "", (row["caption"] or "").strip()
                path = os.path.abspath(os.path.join(base, name))
                if not name or os.path.commonpath([base, path]) != base:
                    raise Clip2VideoError(f"{table}, line {reader.line_num}: {name!r} is no file inside the folder")
                captions = out.setdefault(Path(path), [])
                if caption:
                    captions.append(caption)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Clip2VideoError(f"{table} cannot be read: {error}") from None
    return out
