"""Where in a video a sentence fits: scores of its frames over time, and moments above a threshold."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.collections as foc
import fiftyone.core.media as fom
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.app.metadata import video_metadata
from clip2video_plugin.app.similarity import Clip2VideoSimilarityIndex
from clip2video_plugin.app.videos import items_of, path_of, video_of, videos_of
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.video.files import file_stamp
from clip2video_plugin.video.frames import read_quietly
from clip2video_plugin.video.image_folder import frame_rate

logger = logging.getLogger(__name__)

WINDOW = 8.0  # seconds that are encoded at once, so that a long video has frames enough


@dataclass(frozen=True)
class Timeline:
    """Scores (cosines, -1 to 1) of a video's frames, at ``times`` in seconds, and the length of the video."""

    times: NDArray[np.float64]
    scores: NDArray[np.float32]
    duration: float

    def threshold(self) -> float:
        """One standard deviation above the mean, which most frames of a video that shows it once lie below.

        At most the best score, to three places down: a curve that stays high is nowhere a deviation above its mean.
        """
        return math.floor(1000 * min(float(self.scores.mean() + self.scores.std()), float(self.scores.max()))) / 1000

    def moments(self, threshold: float) -> list[tuple[float, float, float]]:
        """(start, end, best score) of the stretches whose frames score at least ``threshold``.

        A frame stands for the time up to half way to its neighbours.
        """
        middles = (self.times[1:] + self.times[:-1]) / 2
        edges = np.concatenate([[0.0], middles, [self.duration]])
        out = list[tuple[float, float, float]]()
        for i in np.flatnonzero(self.scores >= threshold).tolist():
            start, end, score = float(edges[i]), float(edges[i + 1]), float(self.scores[i])
            if out and out[-1][1] == start:
                start, score = out[-1][0], max(out.pop()[2], score)
            out.append((start, end, score))
        return out


def compute_frames(run: Clip2VideoSimilarityIndex, samples: foc.SampleCollection) -> int:
    """Embeds single frames of videos, of long ones in windows of 8 seconds; returns the number of frames.

    Videos that cannot be read are left out with a warning.

    Raises:
        VideoReadError: none of them can be read.
    """
    model = run.get_model().model
    made = run.rows.own_table().provenance
    index = FrameIndex.create(run.config.uri, model.config.embed_dim, made, run.frames_table)
    count, unread = 0, list[Clip2VideoError]()
    for item in items_of(videos_of(samples)):
        stamp = file_stamp(item.path)
        try:
            times, vectors = _frames(item.path, model)
        except Clip2VideoError as error:
            unread.append(error)
            continue
        index.write(item.id, times, vectors, stamp)
        count += len(times)
    if unread and not count:
        raise unread[0]
    for reason in unread:
        logger.warning("%s", reason)
    return count


def _frames(path: Path, model: Any) -> tuple[list[float], NDArray[np.float32]]:
    most, how = model.config.max_frames, model.config.preprocessing

    def read(start: float | None, end: float | None) -> Any:
        return read_quietly(path, policy="uniform", count=most, start=start, end=end, **how.options)

    whole = read(None, None)
    windows = max(math.ceil(whole.duration / WINDOW - 1e-6), 1)
    parts = [whole]
    if windows > 1:
        length = whole.duration / windows
        parts = [read(i * length or None, (i + 1) * length if i + 1 < windows else None) for i in range(windows)]
    times, vectors = list[float](), list[NDArray[np.float32]]()
    for part in parts:
        encoded = model.encode_frames([part.pixels]).frame_vectors[0, : len(part)].numpy()
        new = [i for i, time in enumerate(part.timestamps) if not times or time > times[-1]]
        times += [float(part.timestamps[i]) for i in new]
        vectors.append(encoded[new])
    return times, np.concatenate(vectors)


def timeline(run: Clip2VideoSimilarityIndex, sample: fo.Sample, query: str) -> Timeline | None:
    """Scores of a sample's frames for a sentence; None when its frames, as the file is now, have not been embedded.

    A frame's score is its cosine with the sentence, whose mean over the frames is, up to a factor, the global part
    of the video's score.
    """
    index = FrameIndex.open(run.config.uri, run.frames_table)
    if index is None or not index.made_by(run.table.provenance):
        return None
    stamp = file_stamp(path_of(sample))
    times, vectors = index.read(str(sample.id), stamp)
    if not len(times):
        return None
    sentence = run.get_model().model.encode_captions([query]).global_vector[0].numpy()
    return Timeline(times, vectors @ sentence, _duration(sample, stamp[0], times))


def _duration(sample: fo.Sample, size: int, times: NDArray[np.float64]) -> float:
    """Of the sample's metadata where they are of this very file, else by the distance of the last two frames."""
    known = sample.metadata
    if isinstance(known, fo.VideoMetadata) and known.size_bytes == size and known.duration:
        return float(max(known.duration, times[-1]))
    return float(times[-1] + (times[-1] - times[-2]) / 2 if len(times) > 1 else times[-1])


def mark_moments(
    samples: foc.SampleCollection, run: Clip2VideoSimilarityIndex, sample_id: str, query: str, threshold: float
) -> fo.DatasetView:
    """Writes the moments above a threshold to ``<brain_key>_moments`` as TemporalDetections; returns them as clips.

    Those of a folder of frames count its images, and are returned as the sample itself, which has no clips.

    Raises:
        Clip2VideoError: there is no such video, its frames have not been embedded, or none scores that much.
    """
    sample = video_of(samples, sample_id)
    _bring_up_to_date(sample)
    found = timeline(run, sample, query)
    if found is None:
        raise Clip2VideoError(
            "the frames of this video, as its file is now, have not been embedded; compute them first"
        )
    moments = found.moments(threshold)
    if not moments:
        raise Clip2VideoError(f"no frame scores {threshold:.3f} or more; the best has {found.scores.max():.3f}")
    rate, last = _rate(sample, found)
    field = f"{run.key}_moments"
    sample[field] = fo.TemporalDetections(
        detections=[
            fo.TemporalDetection(
                label=query,
                support=[
                    min(int(start * rate) + 1, last),
                    min(max(math.ceil(end * rate), int(start * rate) + 1), last),
                ],
                confidence=score,
            )
            for start, end, score in moments
        ]
    )
    sample.save()
    shown = videos_of(samples._root_dataset).select(sample_id)
    return shown.to_clips(field) if shown.media_type == fom.VIDEO else shown


def _bring_up_to_date(sample: fo.Sample) -> None:
    """Gives a sample the metadata of its file, where it has none or those of what the file was before."""
    path, known = path_of(sample), sample.metadata
    if path.is_file() and (known is None or known.size_bytes != path.stat().st_size):
        sample.metadata = video_metadata(path) or known


def _rate(sample: fo.Sample, found: Timeline) -> tuple[float, int]:
    """Frames a second, and how many there are, of a video file or a folder of frames."""
    path, known = path_of(sample), sample.metadata
    if path.is_dir():
        return frame_rate(path)
    if not isinstance(known, fo.VideoMetadata) or not known.frame_rate:
        raise Clip2VideoError(f"{path} does not say its frames per second, in which moments are counted")
    return known.frame_rate, known.total_frame_count or max(round(found.duration * known.frame_rate), 1)
