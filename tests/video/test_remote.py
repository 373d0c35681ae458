"""Videos in a store: the frames of the local file, and of an MP4 no more bytes than the picks need."""

import dataclasses
import os
import threading
from functools import partial

import numpy as np
import pytest

from benchmarks.remote_video import needed
from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.pixels import Preprocessing
from clip2video_plugin.places import place_of
from clip2video_plugin.stores import ranges
from clip2video_plugin.video import hollow, pyav_reader
from clip2video_plugin.video.fingerprint import fingerprint
from clip2video_plugin.video.frames import read_frames
from clip2video_plugin.video.grid import Grid, Wanted

from ..standin import StandIn
from . import clips


@pytest.fixture(scope="module")
def server():
    found = StandIn()
    yield found
    found.close()


@pytest.fixture
def small_ranges(monkeypatch):
    """Ranges as much smaller as the clips of tests are smaller than videos."""
    for module, name, size in (
        (ranges, "FIRST", 4096),
        (ranges, "SMALL", 0),
        (ranges, "PIECE", 2048),
        (hollow, "HEADER", 2048),
        (hollow, "TAIL", 4096),
    ):
        monkeypatch.setattr(module, name, size)


def put(server, file):
    return place_of(server.put(f"/{file.name}", file.read_bytes()))


def seen(place, **how):
    """All that reading gives, or why it gives nothing."""
    try:
        return read_frames(place, size=32, **how)
    except VideoReadError as error:
        return error.reason


def same(place, file, **how):
    remote, local = seen(place, **how), seen(file, **how)
    if isinstance(local, str):
        assert remote == local
        return
    np.testing.assert_array_equal(remote.pixels, local.pixels)
    np.testing.assert_array_equal(remote.timestamps, local.timestamps)
    for name in ("width", "height", "duration", "warning", "reader"):
        assert getattr(remote, name) == getattr(local, name)


def plan_of(place):
    """The presentation that picks are made of."""
    plans = []

    def pick(plan):
        plans.append(plan)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pyav_reader.decode(place, pick, lambda image: image)
    return {f.name: getattr(plans[0], f.name) for f in dataclasses.fields(plans[0]) if f.name != "spans"}


@pytest.mark.filterwarnings("ignore::clip2video_plugin.video.frames.VideoReadWarning")
def test_real_clips_good_and_broken_are_as_their_files(server, shared_videos, small_ranges):
    for file in sorted(shared_videos.iterdir()):
        if file.suffix != ".md" and file.stat().st_size < 300_000:
            same(put(server, file), file)


MP4 = {
    "tail.mp4": {},
    "head.mp4": {"movflags": "faststart"},
    "parts.mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    "tail.mov": {},
}


@pytest.mark.parametrize("name", [*MP4, *clips.KINDS])
def test_generated_clips_are_as_their_files(server, name, tmp_path, small_ranges):
    if name in MP4:
        file = clips.write(tmp_path / name, options={"g": "8", "bf": "2"}, container_options=MP4[name])
    elif (file := clips.make(tmp_path, name)) is None:
        pytest.skip("this FFmpeg cannot write it")
    place = put(server, file)
    for how in (
        {},
        {"start": 1.3, "end": 2.2, "count": 3},
        {"policy": "fps", "fps": 3},
        {"policy": "keyframes", "count": 1},
    ):
        same(place, file, **how)
    assert plan_of(place) == plan_of(file)


@clips.needs_ffmpeg
@pytest.mark.parametrize("flags", ["faststart", "empty_moov+frag_keyframe+default_base_moof", "write_colr"])
def test_an_mp4_costs_what_its_picks_need(server, flags, tmp_path, small_ranges):
    file = tmp_path / f"{flags}.mp4"
    picture = "testsrc2=s=320x240:r=25:d=40,noise=alls=6:allf=t"
    sound = ["-f", "lavfi", "-i", "sine=d=40", "-c:a", "aac"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "50", "-pix_fmt", "yuv420p", "-b:v", "600k"]
    clips.ffmpeg("-f", "lavfi", "-i", picture, *sound, *coded, "-movflags", flags, file)
    place, local = put(server, file), read_frames(file, size=32)
    with stores.held(place):
        remote = read_frames(place, size=32)
        fetched = stores.fetched(place)
    np.testing.assert_array_equal(remote.pixels, local.pixels)
    assert fetched.bytes < 1.3 * needed(file, local.timestamps) < file.stat().st_size / 2


@clips.needs_ffmpeg
@pytest.mark.parametrize("flags", ["faststart", "write_colr"])
@pytest.mark.parametrize("coder", [["libx264", "-g", "50"], ["libx265", "-x265-params", "keyint=50:log-level=none"]])
def test_of_an_mp4_the_picked_key_frames_alone_are_fetched(server, flags, coder, tmp_path, small_ranges):
    file = tmp_path / f"{flags}-{coder[0]}.mp4"
    picture = "testsrc2=s=320x240:r=25:d=60,noise=alls=6:allf=t"
    sound = ["-f", "lavfi", "-i", "sine=d=60", "-c:a", "aac"]
    coded = ["-c:v", *coder, "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-b:v", "600k"]
    clips.ffmpeg("-f", "lavfi", "-i", picture, *sound, *coded, "-movflags", flags, file)
    place, local = put(server, file), read_frames(file, policy="keyframes", count=4, size=32)
    with stores.held(place):
        remote = read_frames(place, policy="keyframes", count=4, size=32)
        fetched = stores.fetched(place).bytes
    np.testing.assert_array_equal(remote.pixels, local.pixels)
    np.testing.assert_array_equal(remote.timestamps, local.timestamps)
    assert (remote.duration, remote.warning) == (local.duration, local.warning)
    # beside them 2 * 4096 bytes, of the first request and of the tail
    assert fetched < 1.3 * needed(file, local.timestamps) + 8192
    assert fetched < file.stat().st_size / 8


@clips.needs_ffmpeg
def test_a_key_frame_that_is_none_is_not_believed(server, tmp_path, small_ranges):
    file = clips.write(tmp_path / "clip.mp4", count=60, options={"g": "10", "bf": "0"})
    data = bytearray(file.read_bytes())
    table = data.index(b"stss") + 12
    for number in range(1, 6):
        data[table + 4 * number : table + 4 * number + 4] = (10 * number - 4).to_bytes(4)  # not 10 n + 1
    file.write_bytes(data)
    same(put(server, file), file)


def test_in_line_formats_are_fetched_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "FIRST", 4096)
    monkeypatch.setattr(ranges, "SMALL", 0)
    monkeypatch.setattr(pyav_reader, "KEPT_BYTES", 0)  # so that packets are read again
    for name in ("h264-open-gop.mkv", "h264.ts", "mpeg4.avi"):
        file = clips.make(tmp_path, name)
        place = put(server, file)
        with stores.held(place):
            same(place, file)
            assert fingerprint(place) == fingerprint(file)
            assert stores.fetched(place).bytes == file.stat().st_size


def test_parts_of_a_long_video_fetch_nothing_twice(server, tmp_path, small_ranges):
    file = clips.write(tmp_path / "long.mp4", count=400, options={"g": "10"})
    place = put(server, file)
    wanted = Wanted(lambda duration: 4.0, ("uniform", None), 12, Preprocessing(32))
    remote, local = Grid.open(place, wanted), Grid.open(file, wanted)
    assert remote.pixels is None  # it is read in parts
    parts = remote.parts()
    threads = [threading.Thread(target=partial(remote.read, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part, same_part in zip(parts, local.parts(), strict=True):
        np.testing.assert_array_equal(remote.read(part), local.read(same_part))
    assert stores.fetched(place).bytes <= file.stat().st_size
    remote.close()


def test_nothing_stays_behind(server, tmp_path, monkeypatch):
    file = clips.write(tmp_path / "clip.mp4")
    place = put(server, file)
    read_frames(place, size=32)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_frames(place, size=32)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert not list(stores._open)
    monkeypatch.setattr(ranges.tempfile, "TemporaryFile", lambda **k: (_ for _ in ()).throw(OSError(28, "No space")))
    assert "set TMPDIR to a folder with room" in seen(place)
