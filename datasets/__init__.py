"""Captioned video datasets in FiftyOne: files to samples."""

from clip2video_plugin.datasets.captioned_folder import CaptionedVideoFolder
from clip2video_plugin.datasets.importer import MSRVTTDataset, MSVDDataset, VATEXDataset
from clip2video_plugin.datasets.load import import_dataset

__all__ = ["CaptionedVideoFolder", "MSRVTTDataset", "MSVDDataset", "VATEXDataset", "import_dataset"]
