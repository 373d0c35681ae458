"""Captioned video datasets in FiftyOne: files to samples. The names below load FiftyOne on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "CaptionedVideoFolder": "captioned_folder",
    "MSRVTTDataset": "importer",
    "MSVDDataset": "importer",
    "VATEXDataset": "importer",
    "import_dataset": "load",
}
__all__ = ["CaptionedVideoFolder", "MSRVTTDataset", "MSVDDataset", "VATEXDataset", "import_dataset"]

if TYPE_CHECKING:
    from clip2video_plugin.datasets.captioned_folder import CaptionedVideoFolder
    from clip2video_plugin.datasets.importer import MSRVTTDataset, MSVDDataset, VATEXDataset
    from clip2video_plugin.datasets.load import import_dataset


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
