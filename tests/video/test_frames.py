"""``read_frames`` gives exactly the frames it says it gives, or says why it cannot."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip2video_plugin import VideoReadError, read_frames
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.video import VideoReadWarning
from clip2video_plugin.video.transform import resize_and_crop

from . import clips


def assert_exact(path, frames, size):
    """Every frame equals the sequentially decoded one of its timestamp."""
    truth = clips.sequential(path)
    for pixels, timestamp in zip(frames.pixels, frames.timestamps, strict=True):
        near = [picture for time, picture in truth if abs(time - timestamp) < 1e-6]
        assert near, f"no frame is shown at {timestamp}"
        assert any(np.array_equal(resize_and_crop(picture, size), pixels) for picture in near), timestamp


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(params=clips.KINDS)
def clip(request, folder):
    path = folder / request.param
    if not path.exists() and clips.make(folder, request.param) is None:
        pytest.skip("this build of FFmpeg cannot write it")
    return path


@pytest.mark.parametrize("reader", ["auto", "decord"])
@pytest.mark.parametrize("policy", ["uniform", "reference", "fps"])
def test_frames_equal_a_sequential_decode(clip, policy, reader):
    frames = read_frames(clip, policy=policy, fps=4 if policy == "fps" else None, size=32, reader=reader)
    assert_exact(clip, frames, 32)
    assert (frames.width, frames.height) == (64, 48)
    assert frames.warning is None


@pytest.mark.parametrize("policy", ["uniform", "reference", "fps"])
def test_frames_of_real_clips_equal_a_sequential_decode(shared_videos, policy):
    clip_count = 0
    for path in sorted(shared_videos.iterdir()):
        if path.suffix == ".md" or "corrupted" in path.name:
            continue
        frames = read_frames(path, policy=policy, fps=5 if policy == "fps" else None, size=48)
        assert_exact(path, frames, 48)
        clip_count += 1
    assert clip_count >= 28


def test_rotated_clips_stand_upright(shared_videos):
    sizes = {
        name: read_frames(shared_videos / f"{name}.mov", size=32) for name in ("rot0", "rot90", "rot180", "rot270")
    }
    assert [(f.width, f.height) for f in sizes.values()] == [(568, 320), (320, 568), (568, 320), (320, 568)]


def test_a_damaged_clip_gives_what_can_be_read_and_a_warning(shared_videos):
    with pytest.warns(VideoReadWarning, match="damaged"):
        frames = read_frames(shared_videos / "decord_corrupted.mp4", size=32)
    assert len(frames) == 12
    assert frames.warning


@pytest.mark.parametrize("name", ["faststart.mp4", "plain.mkv"])
def test_a_clip_that_was_cut_off_gives_its_beginning_and_a_warning(tmp_path, name):
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    clips.write(tmp_path / name, count=200, size=(320, 240), container_options=options)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 6 // 10])
    with pytest.warns(VideoReadWarning, match=r"ends after \d+\.\d of 20\.0 seconds"):
        frames = read_frames(tmp_path / name, size=32)
    assert len(frames) == 12
    assert frames.timestamps[-1] < 15


@given(n=st.integers(1, 40), count=st.integers(1, 50))
@settings(max_examples=25, deadline=None)
def test_uniform_gives_distinct_frames_as_many_as_there_are(folder, n, count):
    path = folder / f"{n}.mp4"
    if not path.exists():
        clips.write(path, count=n)
    frames = read_frames(path, count=count, size=16)
    assert len(frames) == len(set(frames.timestamps)) == min(n, count)
    assert frames.pixels.shape == (min(n, count), 16, 16, 3)
    assert frames.pixels.dtype == np.uint8


@given(start=st.floats(0, 3.9), length=st.floats(0.01, 5))
@settings(max_examples=25, deadline=None)
def test_a_span_holds_only_its_own_frames(folder, start, length):
    path = folder / "span.mp4"
    if not path.exists():
        clips.write(path, count=40, rate=10)
    frames = read_frames(path, start=start, end=start + length, count=4, size=16)
    inside = [t for t in np.arange(40) / 10 if start - 1e-9 <= t < start + length - 1e-9]
    if inside:
        assert len(frames) == min(4, len(inside))
        assert set(np.round(frames.timestamps, 6)) <= set(np.round(inside, 6))
    else:  # the one on show at the start
        assert frames.timestamps.tolist() == pytest.approx([int(start * 10 + 1e-6) / 10])


def test_a_varying_rate_keeps_its_times(folder):
    times = [0, 40, 80, 1000, 1040, 3000, 3040, 3080]
    path = clips.write(folder / "vfr.mkv", count=8, times=times)
    frames = read_frames(path, size=32)
    np.testing.assert_allclose(frames.timestamps, np.array(times) / 1000, atol=1e-3)
    assert_exact(path, frames, 32)
    on_show = read_frames(path, policy="fps", fps=2, size=32)
    np.testing.assert_allclose(on_show.timestamps, [0, 0.08, 1.0, 1.04, 3.0], atol=1e-3)


def test_duration_ends_with_the_last_frame(folder):
    assert read_frames(clips.write(folder / "d.mp4", count=25, rate=10), size=16).duration == pytest.approx(2.5)


def test_the_reference_policy_gives_a_short_clip_its_only_frame(folder):
    assert len(read_frames(clips.write(folder / "one.mp4", count=1), policy="reference", size=16)) == 1


def broken(folder):
    good = clips.write(folder / "good.mp4")
    data = good.read_bytes()
    files = {
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"this is no video\n" * 50, "not a video"),
        "notes.txt": (b"just words\n" * 50, "not a video"),
        "cut.mp4": (data[: len(data) // 2], "not a video, or cut off"),
        "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "not a video"),
        "noise.mkv": (np.random.RandomState(0).bytes(5000), "not a video"),
    }
    for name, (content, reason) in files.items():
        (folder / name).write_bytes(content)
        yield folder / name, reason


def test_what_cannot_be_read_is_named_with_its_reason(tmp_path):
    for path, reason in broken(tmp_path):
        with pytest.raises(VideoReadError) as error:
            read_frames(path)
        assert str(path) in str(error.value)
        assert reason in str(error.value)
        assert "\n" not in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(VideoReadError, match=r"/nowhere/at all\.mp4: no such file"):
        read_frames("/nowhere/at all.mp4")


def test_a_file_without_pictures_is_named(tmp_path):
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoReadError, match="no video stream"):
        read_frames(path)


def test_a_pipe_and_an_empty_folder_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoReadError, match="not a regular file"):
        read_frames(tmp_path / "pipe.mp4")
    (tmp_path / "folder").mkdir()
    with pytest.raises(VideoReadError, match="no frame images"):
        read_frames(tmp_path / "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; shown by test_permission_is_reported")
def test_a_file_without_permission_is_named(tmp_path):
    path = clips.write(tmp_path / "locked.mp4")
    path.chmod(0)
    with pytest.raises(VideoReadError, match="permission denied"):
        read_frames(path)


def test_permission_is_reported(tmp_path, monkeypatch):
    path = clips.write(tmp_path / "locked.mp4")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(VideoReadError, match="permission denied"):
        read_frames(path)


@pytest.mark.parametrize(
    "name", ["a b.mp4", 'it\'s "so".mp4', "-dash.mp4", "ünï→✓.mp4", "a:b.mp4", "50%d.mp4", "x;rm -rf.mp4"]
)
def test_any_file_name_can_be_read(tmp_path, name):
    clips.write(tmp_path / name, count=5)
    assert len(read_frames(tmp_path / name, size=16)) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "best"}, "policy is 'best'; allowed are uniform, reference, fps, keyframes"),
        ({"policy": "fps"}, "needs fps"),
        ({"count": 0}, "count is 0"),
        ({"fps": -1.0}, "fps is -1"),
        ({"start": -1.0}, "start is -1"),
        ({"start": 2.0, "end": 1.0}, "end is 1"),
        ({"start": 99.0}, "ends after 4.000 seconds"),
        ({"reader": "vlc"}, "reader is 'vlc'"),
        ({"size": 0}, "size is 0"),
    ],
)
def test_arguments_out_of_range_name_the_value(folder, arguments, message):
    path = folder / "arguments.mp4"
    if not path.exists():
        clips.write(path, count=40, rate=10)
    with pytest.raises(Clip2VideoError, match=message):
        read_frames(path, **arguments)


def test_a_folder_of_images_is_a_video(tmp_path):
    for i in range(20):
        Image.fromarray(clips.picture(i)).save(tmp_path / f"{i + 1:08d}.png")
    frames = read_frames(tmp_path, count=4, size=32)
    assert frames.reader == "images"
    np.testing.assert_allclose(frames.timestamps, np.array([2, 7, 12, 17]) / 5)
    np.testing.assert_array_equal(frames.pixels[0], resize_and_crop(clips.picture(2), 32))


def test_a_broken_image_is_left_out_with_a_warning(tmp_path):
    for i in range(6):
        Image.fromarray(clips.picture(i)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"no picture")
    with pytest.warns(VideoReadWarning, match="3.png"):
        assert len(read_frames(tmp_path, size=16)) == 5


def test_many_threads_read_the_same(folder):
    path = clips.write(folder / "threads.mp4")
    expected, results = read_frames(path, size=32).pixels, []
    threads = [threading.Thread(target=lambda: results.append(read_frames(path, size=32).pixels)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(expected, result) for result in results)
