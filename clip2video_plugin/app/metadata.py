"""Video metadata from the container through PyAV, since ffprobe may be absent."""

from __future__ import annotations

import json
import mimetypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.collections as foc

from clip2video_plugin.app.videos import all_samples
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.isolated import Isolation, Workers
from clip2video_plugin.places import place_of
from clip2video_plugin.video.facts import video_facts
from clip2video_plugin.video.files import file_stamp

FEW = 500  # videos below which starting a process does not pay


def video_metadata(path: str | Path) -> fo.VideoMetadata | None:
    """Size, shape, rate, frames and duration of a video file; None when it cannot be opened."""
    return _metadata(path, video_facts(path))


def metadata_of(paths: Sequence[str | Path]) -> Iterator[fo.VideoMetadata | None]:
    """Metadata of many videos, in order. They are opened in a process of its own, beside what the caller does."""
    if len(paths) < FEW:
        yield from map(video_metadata, paths)
        return
    worker = subprocess.Popen(
        [sys.executable, "-m", "clip2video_plugin.video.facts"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us
    )
    assert worker.stdin is not None
    assert worker.stdout is not None

    def feed(stream: Any) -> None:
        try:
            with stream:
                stream.writelines(json.dumps(str(path)) + "\n" for path in paths)
        except OSError:  # the worker is gone: what it leaves undone is done below
            pass

    threading.Thread(target=feed, args=(worker.stdin,), daemon=True).start()
    try:
        for path in paths:
            line = worker.stdout.readline()
            yield _metadata(path, json.loads(line) if line.endswith("\n") else video_facts(path))
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()


def metadata_apart(paths: Sequence[str], isolation: Isolation) -> Iterator[fo.VideoMetadata | None]:
    """``metadata_of``, in a process apart; None also for a video that crashes the process that opens it."""

    def facts(path: str) -> dict[str, Any] | None:
        place = place_of(path)
        try:
            return workers.facts(place, file_stamp(place)[0])
        except VideoReadError:
            return None

    with Workers(isolation) as workers, ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from map(_metadata, paths, pool.map(facts, paths))


def compute_video_metadata(samples: foc.SampleCollection, isolation: Isolation | None = None) -> None:
    """Fills in ``metadata`` where samples have none; clips stand for their videos."""
    dataset = samples._root_dataset
    if samples._is_clips:
        samples = all_samples(dataset).select(samples.distinct("sample_id"))
    ids, paths = samples.match({"metadata": None}).values(["id", "filepath"])
    read = metadata_apart(paths, isolation) if isolation else metadata_of(paths)
    found = dict(zip(ids, read, strict=True))
    found = {sample: metadata for sample, metadata in found.items() if metadata is not None}
    if found:
        dataset.set_values("metadata", found, key_field="id")


def _metadata(path: str | Path, facts: dict[str, Any] | None) -> fo.VideoMetadata | None:
    return None if facts is None else fo.VideoMetadata(mime_type=mimetypes.guess_type(str(path))[0], **facts)
