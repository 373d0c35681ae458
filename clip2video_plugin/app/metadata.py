"""Video metadata from the container through PyAV, since ffprobe may be absent."""

from __future__ import annotations

import mimetypes
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fiftyone as fo
import fiftyone.core.collections as foc

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.video.container import open_video


def video_metadata(path: str | Path) -> fo.VideoMetadata | None:
    """Size, shape, rate, frames and duration of a video file; None when it cannot be opened."""
    try:
        with open_video(Path(path)) as (container, stream):
            rate = float(stream.average_rate or stream.guessed_rate or 0) or None
            duration: float | None = None
            if stream.duration is not None and stream.time_base is not None:
                duration = float(stream.duration * stream.time_base)
            elif container.duration:
                duration = container.duration / 1_000_000
            frames = stream.frames or (round(duration * rate) if duration and rate else None)
            return fo.VideoMetadata(
                size_bytes=os.path.getsize(path),
                mime_type=mimetypes.guess_type(str(path))[0],
                frame_width=stream.width,
                frame_height=stream.height,
                frame_rate=rate,
                total_frame_count=frames,
                duration=duration,
                encoding_str=stream.codec.canonical_name,
            )
    except VideoReadError:
        return None


def compute_video_metadata(samples: foc.SampleCollection, *, workers: int | None = None) -> None:
    """Fills in ``metadata`` where samples have none; clips stand for their videos."""
    dataset = samples._root_dataset
    if samples._is_clips:
        samples = dataset.select(samples.distinct("sample_id"))
    ids, paths = samples.match({"metadata": None}).values(["id", "filepath"])
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        found = dict(zip(ids, pool.map(video_metadata, paths), strict=True))
    found = {sample: metadata for sample, metadata in found.items() if metadata is not None}
    if found:
        dataset.set_values("metadata", found, key_field="id")
