"""Runs may share a cache: each gets the frames of its own videos, sampled its own way."""

import hashlib
import itertools
import os
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from clip2video_plugin import __version__, read_frames
from clip2video_plugin.errors import TrainingError
from clip2video_plugin.training.batches import Samples
from clip2video_plugin.training.cache import FrameCache
from clip2video_plugin.training.videos import VideoFile

from ..video import clips


def samples_of(videos, cache, **changes):
    base = {"count": 4, "size": 16, "seed": 0, "jitter": False, "per_caption": True, "cache": cache}
    return Samples(videos, **(base | changes))


@dataclass(frozen=True)
class Plain:
    """A video of one colour, which is read at once."""

    colour: int
    captions: tuple[str, ...] = ("x",)

    @property
    def name(self):
        return f"colour {self.colour}"

    def stamp(self):
        return self.name

    def frames(self, count, size, random):
        return np.full((count, size, size, 3), self.colour, np.uint8)


def test_runs_with_other_videos_at_the_same_time_get_their_own_frames(tmp_path):
    """On other videos, as many, so that each has one in every place of the other's."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def run(colours):
        cache = FrameCache(tmp_path, 1, 48)
        samples = samples_of([Plain(c) for c in colours], cache, size=48, count=8)
        return [set(np.unique(samples.frames(at))) for _ in range(150) for at in range(len(colours))]

    try:
        with ThreadPoolExecutor(4) as pool:
            runs = [(1, 2), (3, 4), (5, 6), (7, 8)]
            for colours, seen in zip(runs, pool.map(run, runs), strict=True):
                assert seen == [{c} for c in colours] * 150
    finally:
        sys.setswitchinterval(before)


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "a.mp4"
    clips.write(path, count=60)
    return VideoFile(path, ["x"])


def test_whatever_changes_the_frames_has_an_entry_of_its_own(video, tmp_path):
    """One cache for all, filled by the first and asked by all others, as two runs with other settings would."""
    videos = [
        video,
        replace(video, start=1.0),
        replace(video, end=2.0),
        replace(video, policy="reference", fps=2.5),
        replace(video, policy="reference", fps=5.0),
    ]
    options = [{}, {"count": 3}, {"size": 24}, {"jitter": True}, {"jitter": True, "seed": 1}]
    options += [{"resize": "squash"}, {"interpolation": "bilinear"}, {"resize": "squash", "interpolation": "bilinear"}]
    for _ in range(2):  # written, then read
        for one, option in itertools.product(videos, options):
            cache = FrameCache(tmp_path / "cache", 2, option.get("size", 16))
            for epoch in (0, 1):
                kept = samples_of([one], cache, **option).frames(0, epoch)
                assert np.array_equal(kept, samples_of([one], None, **option).frames(0, epoch))
    plain = read_frames(video.path, count=4, size=16, start=1.0).pixels  # and not by the code that fills it
    assert np.array_equal(samples_of(videos, FrameCache(tmp_path / "cache", 1, 16)).frames(1), plain)


def test_an_entry_of_the_usual_pictures_has_the_name_that_it_had_before_there_were_others(video, tmp_path):
    samples_of([video], FrameCache(tmp_path / "cache", 1, 16)).frames(0)
    (entry,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    key = repr((__version__, video.stamp(), 4, 16, None))
    assert entry.parent.name + entry.name == hashlib.blake2b(key.encode(), digest_size=20).hexdigest()


def test_a_video_has_one_entry_wherever_it_stands_in_a_run(tmp_path):
    cache = FrameCache(tmp_path, 1, 16)
    samples_of([Plain(1), Plain(2)], cache).frames(1)
    other = samples_of([Plain(2), Plain(3), Plain(1)], cache)
    assert other.uncached() == 2 * 4 * 16 * 16 * 3
    assert set(np.unique(other.frames(0))) == {2}


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:100], lambda data: bytes(len(data))])
def test_an_entry_that_a_power_cut_left_incomplete_is_read_anew(tmp_path, damage):
    samples = samples_of([Plain(9)], FrameCache(tmp_path, 1, 16))
    samples.frames(0)
    (entry,) = (path for path in tmp_path.rglob("*") if path.is_file())
    entry.write_bytes(damage(entry.read_bytes()))
    assert set(np.unique(samples.frames(0))) == {9}
    assert set(np.unique(samples_of([Plain(9)], FrameCache(tmp_path, 1, 16)).frames(0))) == {9}


def test_a_cache_without_room_says_how_much_it_needs(tmp_path):
    samples = samples_of([Plain(i) for i in range(3)], FrameCache(tmp_path, 1, 10**6), size=10**6)
    with pytest.raises(TrainingError, match=r"has no room for 36000\.0 GB of frames, [\d.]+ GB are free; choose"):
        samples.cache.check_room(samples.uncached())
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"cannot be made: (Not a directory|File exists)"):
        FrameCache(tmp_path / "file", 1, 16)


def test_a_disk_that_fills_up_ends_the_keeping_and_not_the_run(tmp_path, capsys):
    samples = samples_of([Plain(i) for i in range(1, 5)], FrameCache(tmp_path, 1, 64), size=64)
    samples.frames(0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # writing fails, as on a full disk
    try:
        read = [set(np.unique(samples.frames(at))) for at in range(4)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read == [{1}, {2}, {3}, {4}]
    assert capsys.readouterr().err == f"c2v: cache {tmp_path} takes no more frames: {os.strerror(27)}\n"
    assert len([path for path in Path(tmp_path).rglob("*") if path.is_file()]) == 1
