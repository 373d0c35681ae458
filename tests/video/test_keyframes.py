"""The policy ``keyframes``: the key frames near the uniform picks, as ffprobe tells them, or those picks."""

import json
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip2video_plugin import read_frames
from clip2video_plugin.places import place_of
from clip2video_plugin.video import indexed, pyav_reader
from clip2video_plugin.video.frames import picker
from clip2video_plugin.video.sampling import snapped, uniform_indices
from clip2video_plugin.video.transform import resize_and_crop

from . import clips

pytestmark = clips.needs_ffmpeg
COUNT, SIDE = 4, 32
MOVING = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=16")
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "8")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
GENERATED = {
    "h264-closed.mp4": (*MOVING, *X264, "-bf", "3"),
    "h264-faststart.mov": (*MOVING, *X264, "-movflags", "faststart"),
    "h264-fragmented.mp4": (*MOVING, *X264, "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    "h264-sound.mp4": (*MOVING, "-f", "lavfi", "-i", "sine=d=16", *X264, "-c:a", "aac"),
    "h265-open.mp4": (*MOVING, *X265, "-x265-params", "keyint=8:min-keyint=8:open-gop=1:bframes=3:log-level=none"),
    "h265-closed.mp4": (*MOVING, *X265, "-x265-params", "keyint=8:min-keyint=8:open-gop=0:log-level=none"),
    "h265-open.ts": (*MOVING, *X265, "-x265-params", "keyint=8:min-keyint=8:open-gop=1:log-level=none"),
    "varying-b-frames.mp4": (*MOVING, "-vf", "select='not(mod(n,3)*gt(mod(n,7),2))'", "-vsync", "vfr", *X264),
    "varying.mp4": (*MOVING, "-vf", "select='not(mod(n,3)*gt(mod(n,7),2))'", "-vsync", "vfr", *X264, "-bf", "0"),
    "intra-refresh.mp4": (*MOVING, *X264, "-x264-params", "intra-refresh=1"),
    "one-key.mp4": (*MOVING, *X264[:-1], "1000"),
    "motion-jpeg.mov": (*MOVING, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "prores.mov": (*MOVING, "-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"),
    "mpeg2-open.mpg": (*MOVING, "-c:v", "mpeg2video", "-g", "8", "-bf", "2"),
    "vp8.webm": (*MOVING, "-c:v", "libvpx", "-g", "8", "-auto-alt-ref", "1", "-lag-in-frames", "8"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keyframes")


@pytest.fixture(params=[*clips.KINDS, *GENERATED, "edit-list.mp4", "turned.mp4"])
def clip(request, folder):
    path = folder / request.param
    if path.exists():
        return path
    if request.param in GENERATED:
        clips.ffmpeg(*GENERATED[request.param], path)
    elif request.param == "edit-list.mp4":  # begins within a group of pictures
        clips.ffmpeg(*GENERATED["h264-closed.mp4"], folder / "whole.mp4")
        clips.ffmpeg("-ss", "2.35", "-i", folder / "whole.mp4", "-c", "copy", path)
    elif request.param == "turned.mp4":
        clips.ffmpeg(*GENERATED["h264-closed.mp4"], folder / "upright.mp4")
        clips.ffmpeg("-display_rotation", "90", "-i", folder / "upright.mp4", "-c", "copy", path) if newer() else (
            clips.ffmpeg("-i", folder / "upright.mp4", "-c", "copy", "-metadata:s:v:0", "rotate=90", path)
        )
    else:
        codec, pix_fmt, options = clips.KINDS[request.param]
        clips.write(path, count=160, codec=codec, pix_fmt=pix_fmt, options={"g": "8", **options})
    return path


def newer():
    """Whether ffmpeg has the option for turning; before 6.0 it was a tag."""
    shown = subprocess.run(["ffmpeg", "-h", "full"], capture_output=True, text=True).stdout
    return "-display_rotation" in shown


def probed(path):
    """(seconds from the first, whether a key frame) of every frame, as ffprobe decodes them."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_frames", "-of", "json", path]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)["frames"]
    shown, time = [], 0.0
    for frame in told:  # in an MPEG program stream not every frame has a time
        time = float(frame.get("best_effort_timestamp_time", time))
        shown.append((time, bool(frame["key_frame"])))
        time += float(frame.get("pkt_duration_time") or frame.get("duration_time") or 0)
    first = min(time for time, _ in shown)
    return sorted((time - first, key) for time, key in shown)


def expected(times, keys, picks, end):
    """The rule, by trying every key frame; ``keys`` and ``picks`` are indices."""
    out = []
    for pick in picks:
        gap = min([abs(times[other] - times[pick]) for other in picks if other != pick], default=end - times[0])
        before, after = [k for k in keys if k < pick], [k for k in keys if k > pick]
        low, high = times[before[-1]] if before else times[0], times[after[0]] if after else end
        dense = keys and pick not in keys and high - low < gap / 2
        out.append(min(keys, key=lambda k, pick=pick: round(abs(times[k] - times[pick]), 5)) if dense else pick)
    return out


def test_the_frames_are_the_key_frames_near_the_picks(clip):
    frames, truth = read_frames(clip, policy="keyframes", count=COUNT, size=SIDE), probed(clip)
    times, keys = [time for time, _ in truth], [i for i, (_, key) in enumerate(truth) if key]
    exact = uniform_indices(len(times), COUNT)
    picks = expected(times, keys, exact, frames.duration)
    np.testing.assert_allclose(frames.timestamps, [times[i] for i in picks], atol=2e-3)
    by_time = clips.sequential(clip)
    for pixels, timestamp in zip(frames.pixels, frames.timestamps, strict=True):
        assert any(
            np.array_equal(resize_and_crop(picture, SIDE), pixels)
            for time, picture in by_time
            if abs(time - timestamp) < 2e-3
        ), timestamp
    same = read_frames(clip, count=COUNT, size=SIDE)
    assert (frames.width, frames.height, frames.duration) == (same.width, same.height, same.duration)
    if len(keys) in (1, len(times)):
        np.testing.assert_array_equal(frames.timestamps, same.timestamps)


@st.composite
def videos(draw):
    steps = draw(st.lists(st.integers(1, 50), min_size=1, max_size=300))
    times = (np.cumsum(steps) - steps[0]).tolist()
    keys = sorted(draw(st.sets(st.integers(0, len(times) - 1))))
    low = draw(st.integers(0, len(times) - 1))
    high = draw(st.integers(low + 1, len(times)))
    return times, keys, (low, high), draw(st.integers(1, 16))


@given(videos())
def test_no_two_picks_come_to_one_frame_and_none_moves_far(video):
    times, keys, (low, high), count = video
    end = times[high] if high < len(times) else times[-1] + 1
    exact = [low + i for i in uniform_indices(high - low, count)]
    picks = snapped(times, exact, keys, (low, high), end)
    inside = [key for key in keys if low <= key < high]
    assert [i - low for i in picks] == expected(
        times[low:high], [key - low for key in inside], [i - low for i in exact], end
    )
    assert all(low <= i < high for i in picks)
    assert picks == sorted(set(picks))
    gap = min(np.diff([times[i] for i in exact]), default=end - times[low])
    for before, after in zip(exact, picks, strict=True):
        assert after == before or after in inside
    if len(exact) == 1 or len(set(np.diff([times[i] for i in exact]))) == 1:
        assert max(abs(times[a] - times[b]) for a, b in zip(exact, picks, strict=True)) < max(gap / 2, 1e-9)


@pytest.mark.parametrize(
    "name", ["h264-closed.mp4", "h264-sound.mp4", "h265-open.mp4", "varying.mp4", "varying-b-frames.mp4"]
)
def test_of_a_plain_mp4_only_some_packets_are_read(name, folder):
    path = folder / f"long-{name}"
    clips.ffmpeg(*(option.replace("d=16", "d=80") for option in GENERATED[name]), path)
    pick = picker(path, "keyframes", count=COUNT, fps=None, start=None, end=None)
    quick, slow = (reader.decode(place_of(path), pick, np.asarray) for reader in (indexed, pyav_reader))
    assert quick is not None
    assert quick.picks == slow.picks
    assert quick.presentation.times == slow.presentation.times
    assert quick.presentation.duration == slow.presentation.duration
    for i in slow.picks:
        np.testing.assert_array_equal(quick.pictures[i], slow.pictures[i])
    assert len(quick.presentation.keys.packets) < len(slow.presentation.keys) / 2
    exact = picker(path, "uniform", count=COUNT, fps=None, start=None, end=None)
    assert indexed.decode(place_of(path), exact, np.asarray) is None


@pytest.mark.parametrize("name", ["h264-fragmented.mp4", "one-key.mp4", "mpeg2-open.mpg"])
def test_an_index_that_does_not_tell_is_not_believed(name, folder):
    path = folder / name
    if not path.exists():
        clips.ffmpeg(*GENERATED[name], path)
    pick = picker(path, "keyframes", count=COUNT, fps=None, start=None, end=None)
    assert indexed.decode(place_of(path), pick, np.asarray) is None


def test_times_that_the_index_does_not_tell_are_not_believed(folder):
    """Frames are shown otherwise than they were encoded to be: their offsets in the file are changed."""
    path = folder / "changed.mp4"
    clips.ffmpeg(*(option.replace("d=16", "d=80") for option in GENERATED["varying-b-frames.mp4"]), path)
    data = bytearray(path.read_bytes())
    table = data.index(b"ctts") + 4
    count = int.from_bytes(data[table + 4 : table + 8])
    for entry in range(count // 3, count // 2):
        at = table + 8 + 8 * entry + 4
        data[at : at + 4] = (int.from_bytes(data[at : at + 4]) + 10).to_bytes(4)
    path.write_bytes(data)
    pick = picker(path, "keyframes", count=COUNT, fps=None, start=None, end=None)
    assert indexed.decode(place_of(path), pick, np.asarray) is None
    truth = probed(path)
    times, keys = [time for time, _ in truth], [i for i, (_, key) in enumerate(truth) if key]
    frames = read_frames(path, policy="keyframes", count=COUNT, size=SIDE)
    picks = expected(times, keys, uniform_indices(len(times), COUNT), frames.duration)
    np.testing.assert_allclose(frames.timestamps, [times[i] for i in picks], atol=2e-3)


def test_a_part_takes_key_frames_of_the_part(folder):
    path = folder / "h264-closed.mp4"
    if not path.exists():
        clips.ffmpeg(*GENERATED["h264-closed.mp4"], path)
    keys = [time for time, key in probed(path) if key]
    frames = read_frames(path, policy="keyframes", count=2, start=4.1, end=12.3, size=SIDE)
    assert len(frames) == 2
    for time, exact in zip(frames.timestamps, read_frames(path, count=2, start=4.1, end=12.3).timestamps, strict=True):
        assert time == pytest.approx(min(keys, key=lambda key, exact=exact: abs(key - exact)))


def test_a_short_clip_has_its_exact_frames(folder):
    path = folder / "h264-closed.mp4"
    if not path.exists():
        clips.ffmpeg(*GENERATED["h264-closed.mp4"], path)
    frames, exact = (read_frames(path, policy=policy, count=40, size=SIDE) for policy in ("keyframes", "uniform"))
    np.testing.assert_array_equal(frames.timestamps, exact.timestamps)
    np.testing.assert_array_equal(frames.pixels, exact.pixels)
