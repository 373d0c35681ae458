"""Captioned video datasets in FiftyOne: files to samples."""

from clip2video_plugin.datasets.captioned_folder import CaptionedVideoFolder

__all__ = ["CaptionedVideoFolder"]
