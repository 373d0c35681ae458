"""Moments as TemporalDetections, and as clips with a thumbnail each."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import fiftyone.core.collections as foc
import fiftyone.core.media as fom
from PIL import Image

from clip2video_plugin.app.metadata import metadata_of
from clip2video_plugin.app.search import find
from clip2video_plugin.app.similarity import Clip2VideoSimilarityIndex
from clip2video_plugin.app.tables import thumbnails_of
from clip2video_plugin.app.videos import items_of, videos_of
from clip2video_plugin.errors import Clip2VideoError, VideoReadError
from clip2video_plugin.index import Span
from clip2video_plugin.index.connection import chunks
from clip2video_plugin.places import Place, place_of
from clip2video_plugin.query import Query, SearchResult
from clip2video_plugin.video.files import NO_STAMP, file_stamp
from clip2video_plugin.video.frames import read_quietly
from clip2video_plugin.video.image_folder import frame_rate

logger = logging.getLogger(__name__)

BATCH = 500  # videos whose moments are written at once
SIDE = 320  # pixels of a thumbnail


def mark_all(
    samples: foc.SampleCollection,
    run: Clip2VideoSimilarityIndex,
    query: str | Query | SearchResult,
    *,
    k: int | None = None,
    thumbnails: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> fo.DatasetView:
    """Writes the moments of all hits to ``<brain_key>_moments`` as TemporalDetections; returns them as clips.

    The clips of the best hit come first. Folders of frames have no clips: these samples themselves are returned then.

    Args:
        samples: the dataset, or a view of it to search in.
        query: what to search for, in words as ``Query.parse`` reads them; or what a search with ``moments=True`` found.
        k: of a query, most hits, instead of its own.
        thumbnails: draw the middle frame of each moment, which the App's grid then shows for the clip.
        progress: called with the videos done and their number.

    Raises:
        Clip2VideoError: the run has no windows, or the result no moments; or as ``find``.
    """
    if run.table.windows() is None:
        raise Clip2VideoError(
            f"brain key {run.key!r} has no windows, which moments are made of; "
            'compute them: compute_clip2video(..., windows="auto")'
        )
    if not isinstance(query, SearchResult):
        asked = query if isinstance(query, Query) else Query.parse(query)
        query = find(samples, replace(asked, moments=True), brain_key=run.key, k=k).result
    moments = {hit.id: hit.moments for hit in query.hits if hit.moments}
    if query.hits and not moments:
        raise Clip2VideoError("these hits have no moments; search with moments=True")
    label = replace(Query.parse(query.query), k=Query.k, moments=False).line()  # what is looked for, and no more
    return mark(samples, run, label, moments, thumbnails=thumbnails, progress=progress)


def picture_field(brain_key: str) -> str:
    """The field in which a view of clips has the pictures of its moments; outside of such a view it is empty."""
    return f"{brain_key}_thumbnail"


def mark(
    samples: foc.SampleCollection,
    run: Clip2VideoSimilarityIndex,
    label: str,
    moments: Mapping[str, Sequence[Span]],
    *,
    thumbnails: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> fo.DatasetView:
    """Writes moments of samples, by their ids, with this label; see ``mark_all``.

    Videos that do not say their frames per second, in which moments are counted, are left out with a warning.
    """
    dataset = samples._root_dataset
    field, shown = f"{run.key}_moments", picture_field(run.key)
    if not dataset.has_sample_field(field):
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.TemporalDetections)
    folder = thumbnails_of(run.config) if thumbnails else None
    done, wrong = list[str](), list[Clip2VideoError]()
    for part in chunks(list(moments), BATCH):
        view = videos_of(dataset).select(part)
        bring_up_to_date(view)
        there, found = {item.id: item.path for item in items_of(view)}, dict[str, fo.TemporalDetections]()
        paths = {one: there[one] for one in part if one in there}
        known = dict(zip(*view.values(["id", "metadata"]), strict=True))
        for one, path in paths.items():
            try:
                rate, count = _rate(path, known[one], moments[one])
            except Clip2VideoError as error:
                wrong.append(error)
                continue
            found[one] = fo.TemporalDetections(
                detections=[_detection(label, span, rate, count) for span in moments[one]]
            )
        if folder is not None:
            _draw(folder, paths, moments, found)
        view.set_values(field, found, key_field="id")
        done += found
        if progress:
            progress(len(done) + len(wrong), len(moments))
    if wrong and not done:
        raise wrong[0]
    for reason in wrong:
        logger.warning("%s", reason)
    view = videos_of(dataset).select(done, ordered=True)
    if view.media_type != fom.VIDEO:
        return view
    if folder is None:
        return view.to_clips(field)
    _show(dataset, shown)
    return view.to_clips(field, other_fields=[shown]).set_field(shown, f"${field}.thumbnail", _allow_missing=True)


def bring_up_to_date(view: foc.SampleCollection) -> None:
    """Gives samples the metadata of their files, where they have none or those of what a file was before."""
    if view.media_type != fom.VIDEO:
        return
    known = zip(*view.values(["id", "filepath", "metadata.size_bytes"]), strict=True)
    old = {one: path for one, path, size in known if file_stamp(place_of(path))[0] not in (NO_STAMP[0], size)}
    new = zip(old, metadata_of(list(old.values())), strict=True)
    if found := {one: metadata for one, metadata in new if metadata is not None}:
        view.set_values("metadata", found, key_field="id")


def _rate(path: Place, known: fo.Metadata | None, moments: Sequence[Span]) -> tuple[float, int]:
    """Frames a second, and how many there are, of a video file or a folder of frames."""
    if isinstance(path, Path) and path.is_dir():
        return frame_rate(path)
    if not isinstance(known, fo.VideoMetadata) or not known.frame_rate:
        raise Clip2VideoError(f"{path} does not say its frames per second, in which moments are counted")
    end = known.duration or max(span.end for span in moments)
    return known.frame_rate, known.total_frame_count or max(round(end * known.frame_rate), 1)


def _detection(label: str, span: Span, rate: float, count: int) -> fo.TemporalDetection:
    first = int(span.start * rate) + 1
    last = max(math.ceil(span.end * rate), first)
    return fo.TemporalDetection(label=label, support=[min(first, count), min(last, count)], confidence=span.score)


def _draw(
    folder: Path,
    paths: Mapping[str, Place],
    moments: Mapping[str, Sequence[Span]],
    found: Mapping[str, fo.TemporalDetections],
) -> None:
    """Writes the middle frame of each moment as a JPEG, and its path to the detection.

    Of files that cannot be read there is none. Those of a video's earlier moments go.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = {name for name in os.listdir(folder) if name.partition("-")[0] in found and name.endswith(".jpg")}
    except OSError as error:
        raise Clip2VideoError(f"cannot keep pictures in {folder}: {error.strerror}; leave out thumbnails") from None
    wanted = [
        (one, span, label) for one in found for span, label in zip(moments[one], found[one].detections, strict=True)
    ]

    def draw(what: tuple[str, Span, fo.TemporalDetection]) -> str:
        one, span, label = what
        middle = (span.start + span.end) / 2
        target = folder / f"{one}-{middle:.3f}.jpg"
        try:
            frames = read_quietly(
                paths[one], policy="uniform", count=1, size=SIDE, start=middle or None, end=middle + 1e-3
            )
        except VideoReadError:
            return ""
        partial = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        Image.fromarray(frames.pixels[0]).save(partial, "JPEG", quality=85)
        partial.replace(target)
        label["thumbnail"] = str(target)
        return target.name

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        now = set(pool.map(draw, wanted))
    for name in before - now:
        (folder / name).unlink(missing_ok=True)


def _show(dataset: fo.Dataset, field: str) -> None:
    """Has the App's grid show this field in place of the video, where a sample has it, unless it shows another one."""
    if not dataset.has_sample_field(field):
        dataset.add_sample_field(field, fo.StringField, description="the picture of a moment; shown with its clip")
    config = dataset.app_config
    if field in config.media_fields:
        return
    config.media_fields.append(field)
    config.media_fallback = True
    if config.grid_media_field == "filepath":
        config.grid_media_field = field
    dataset.save()
