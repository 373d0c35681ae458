"""``import_dataset``: a benchmark, or a folder of captioned videos, into a FiftyOne dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import fiftyone as fo

from clip2video_plugin.bounds import check_choice
from clip2video_plugin.datasets.captioned_folder import CaptionedVideoFolder
from clip2video_plugin.datasets.importer import MSRVTTDataset, MSVDDataset, VATEXDataset
from clip2video_plugin.datasets.protocols import Split
from clip2video_plugin.errors import AnnotationError
from clip2video_plugin.paths import expanded
from clip2video_plugin.progress import Tell, bar

DatasetKind = Literal["msrvtt", "msvd", "vatex", "folder"]
"""What is imported: a benchmark, or a folder of captioned videos."""
TYPES: dict[DatasetKind, Any] = {
    "msrvtt": MSRVTTDataset,
    "msvd": MSVDDataset,
    "vatex": VATEXDataset,
    "folder": CaptionedVideoFolder,
}


def import_dataset(
    kind: DatasetKind,
    dataset_dir: str | Path,
    *,
    name: str | None = None,
    splits: list[Split] | None = None,
    persistent: bool = True,
    progress: bool | Tell = True,
    **options: Any,
) -> fo.Dataset:
    """Imports ``msrvtt``, ``msvd``, ``vatex`` or a captioned ``folder``.

    Args:
        kind: one of those four words.
        dataset_dir: folder with annotations and videos.
        name: of the new dataset; must not exist yet.
        splits: of a benchmark, several of which go into one dataset, told apart by their tags; test by default.
        persistent: whether FiftyOne keeps it when the session ends.
        progress: whether to show a progress bar, or what to call with the number done and the total instead.
        options: of ``BenchmarkImporter``, such as ``protocol`` and ``on_missing``.

    Raises:
        AnnotationError: the kind or the name cannot be used, or files are missing or wrong. Nothing is left behind.
    """
    check_choice("kind", kind, DatasetKind, AnnotationError)
    folder = expanded(dataset_dir)
    if not os.path.isdir(folder):
        raise AnnotationError(f"no such folder: {dataset_dir}")
    if name is not None and fo.dataset_exists(name):
        raise AnnotationError(f"a dataset named {name!r} exists; choose another name, or delete it first")
    try:
        dataset = fo.Dataset(name)
    except ValueError as error:
        raise AnnotationError(f"name is {name!r}; FiftyOne cannot take it: {error}") from None
    try:
        infos = []
        for split in [None] if kind == "folder" else splits or ["test"]:
            extra = options if split is None else {**options, "split": split}
            # FiftyOne's own bar goes to standard output, where results belong.
            with bar(f"Importing {split or kind}", quiet=progress is not True) as shown:
                tell = progress if callable(progress) else shown
                dataset.add_dir(
                    dataset_dir=str(folder),
                    dataset_type=TYPES[kind],
                    progress=lambda at, tell=tell: tell(at.iteration, total=at.total),
                    add_info=True,
                    **extra,
                )
            infos.append(dict(dataset.info))
        if len(infos) > 1:
            dataset.info = {**infos[0], "splits": infos, "split": [info["split"] for info in infos]}
            dataset.info["complete"] = all(info["complete"] for info in infos)
            dataset.info |= {name: [one for info in infos for one in info[name]] for name in ("missing", "ambiguous")}
        dataset.persistent = persistent
        dataset.save()
    except BaseException:
        dataset.delete()
        raise
    return dataset
