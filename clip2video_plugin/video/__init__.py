"""Videos to frames: containers, decoding, which frames, pixels. Knows no model and no index."""

import warnings

from clip2video_plugin.video.decord_reader import conflicting_decord
from clip2video_plugin.video.frames import Frames, VideoReadWarning, read_frames
from clip2video_plugin.video.sampling import reference_indices
from clip2video_plugin.video.transform import preprocess

if _conflict := conflicting_decord():
    warnings.warn(_conflict, UserWarning, stacklevel=2)

__all__ = ["Frames", "VideoReadWarning", "preprocess", "read_frames", "reference_indices"]
