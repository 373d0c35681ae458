"""Videos to frames: containers, decoding, which frames, pixels. Knows no model and no index."""

from clip2video_plugin.video.frames import Frames, VideoReadWarning, read_frames
from clip2video_plugin.video.preprocess import preprocess
from clip2video_plugin.video.sampling import reference_indices

__all__ = ["Frames", "VideoReadWarning", "preprocess", "read_frames", "reference_indices"]
