"""Where in a video a query fits: scores of its windows or frames over time, and the moments that stand out."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import fiftyone as fo
import fiftyone.core.collections as foc
import numpy as np
from numpy.typing import NDArray

from clip2video_plugin import stores
from clip2video_plugin.app.marking import bring_up_to_date, mark
from clip2video_plugin.app.similarity import Clip2VideoSimilarityIndex
from clip2video_plugin.app.videos import items_of, path_of, video_of, videos_of
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Span
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.places import Place, place_of
from clip2video_plugin.query import Gallery, Query, Windows
from clip2video_plugin.query.like import examples_of
from clip2video_plugin.query.moments import LEAST, Curve
from clip2video_plugin.query.vectors import vectors_of
from clip2video_plugin.video.files import file_stamp
from clip2video_plugin.video.frames import read_quietly

logger = logging.getLogger(__name__)

STAMPS = 16  # files whose size and time are asked for at once
WINDOW = 8.0  # seconds that are encoded at once, so that a long video has frames enough


@dataclass(frozen=True)
class Timeline:
    """Scores (cosines, about -1 to 1) of a video at ``times`` in seconds, and the length of the video.

    They are those of its frames, or, where it has windows, of the best window over each time, and ``curve`` is that.
    """

    times: NDArray[np.float64]
    scores: NDArray[np.float32]
    duration: float
    curve: Curve | None = None

    @classmethod
    def of(cls, curve: Curve) -> Timeline:
        """By windows."""
        return cls((curve.edges[1:] + curve.edges[:-1]) / 2, curve.scores, float(curve.edges[-1]), curve)

    def threshold(self) -> float:
        """The score from which something is a moment (``Curve.threshold``), to three places down."""
        mean, best = float(self.scores.mean()), float(self.scores.max())
        least = self.curve.threshold if self.curve else min(mean + LEAST * (best - mean), best)
        return math.floor(1000 * least) / 1000

    def moments(self, threshold: float) -> list[Span]:
        """By windows the moments whose best is ``threshold`` or more, the best first; of frames the stretches that are.

        A frame stands for the time up to half way to its neighbours.
        """
        if self.curve is not None:
            return list(self.curve.spans(threshold))
        middles = (self.times[1:] + self.times[:-1]) / 2
        edges = np.concatenate([[0.0], middles, [self.duration]])
        out = list[Span]()
        for i in np.flatnonzero(self.scores >= threshold).tolist():
            span = Span(float(edges[i]), float(edges[i + 1]), float(self.scores[i]))
            if out and out[-1].end == span.start:
                span = replace(span, start=out[-1].start, score=max(out.pop().score, span.score))
            out.append(span)
        return out


def compute_frames(run: Clip2VideoSimilarityIndex, samples: foc.SampleCollection) -> int:
    """Embeds single frames of videos, of long ones in windows of 8 seconds; returns the number of frames.

    Videos that cannot be read are left out with a warning.

    Raises:
        VideoReadError: none of them can be read.
    """
    model = run.get_model().whole()
    made = run.rows.own_table().provenance
    index = FrameIndex.create(run.config.uri, model.config.embed_dim, made, run.frames_table)
    count, unread = 0, list[Clip2VideoError]()
    for item in items_of(videos_of(samples)):
        stamp = file_stamp(item.path)
        try:
            with stores.held(item.path):
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


def _frames(path: Place, model: Any) -> tuple[list[float], NDArray[np.float32]]:
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


def timeline(run: Clip2VideoSimilarityIndex, sample: fo.Sample, query: str | Query) -> Timeline | None:
    """Scores of a video over time; None where neither its windows nor its frames, as the file is now, were embedded.

    A frame's score is its cosine with the first sentence, whose mean over the frames is, up to a factor, the global
    part of the video's score.
    """
    asked = _query(query)
    if found := timelines(run, asked, [str(sample.id)]):
        return found[str(sample.id)]
    index = FrameIndex.open(run.config.uri, run.frames_table)
    if index is None or not asked.prompts or not index.made_by(run.table.provenance):
        return None
    stamp = file_stamp(path_of(sample))
    times, vectors = index.read(str(sample.id), stamp)
    if not len(times):
        return None
    sentence = run.get_model().model.encode_captions([asked.prompts[0]]).global_vector[0].numpy()
    return Timeline(times, vectors @ sentence, _duration(sample, stamp[0], times))


def timelines(run: Clip2VideoSimilarityIndex, query: str | Query, ids: Sequence[str]) -> dict[str, Timeline]:
    """Id -> scores over time, for those of these videos whose windows, of the file as it is now, were embedded.

    Reads the windows of all of them at once; ids are those of hits. Of alternatives, and of parts in order, a time has
    the score of the one that fits best.
    """
    gallery, asked, model = Gallery(run.table), _query(query), run.get_model().model
    if gallery.windows is None or not ids:
        return {}
    asked_for = vectors_of(asked, model)
    if asked.like:
        asked_for = examples_of(asked, gallery, model).beside(gallery, asked_for)[1]
    vectors = np.concatenate([asked_for.wanted, asked_for.then])
    known = gallery.videos.entries(list(ids)).values()
    with ThreadPoolExecutor(STAMPS) as pool:  # a store takes its time to answer
        stamps = pool.map(file_stamp, [place_of(entry.path) for entry in known])
    fresh = [entry.id for entry, stamp in zip(known, stamps, strict=True) if (entry.size, entry.mtime) == stamp]
    if not len(vectors) or not fresh:
        return {}
    found = gallery.windows.windows_by_video(fresh)
    return {i: Timeline.of(Curve.of(Windows(*found[i]), vectors)) for i in ids if i in found}


def _query(query: str | Query) -> Query:
    return query if isinstance(query, Query) else Query((query,))


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
        Clip2VideoError: there is no such video, neither its windows nor its frames have been embedded, or none scores
            that much.
    """
    sample = video_of(samples, sample_id)
    bring_up_to_date(videos_of(samples._root_dataset).select(sample_id))
    sample.reload()
    found = timeline(run, sample, query)
    if found is None:
        raise Clip2VideoError(
            "the frames of this video, as its file is now, have not been embedded; compute them first"
        )
    moments = found.moments(threshold)
    if not moments:
        what = "window" if found.curve else "frame"
        raise Clip2VideoError(f"no {what} scores {threshold:.3f} or more; the best has {found.scores.max():.3f}")
    return mark(samples, run, query, {sample_id: moments})
