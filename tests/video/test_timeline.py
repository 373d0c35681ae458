"""Times go on over joined recordings, and a file that was cut off is said to be."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from clip2video_plugin import VideoReadError, read_frames
from clip2video_plugin.training.videos import VideoFile
from clip2video_plugin.video import VideoReadWarning
from clip2video_plugin.video.structure import is_cut_off

from . import clips

RED, BLUE = (220, 30, 30), (30, 30, 220)


def coloured(path, colour, count=20, rate=10, codec="libx264", begin=0.0, options=None):
    """A video of one colour whose timestamps begin at ``begin`` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = options or {}
        picture = np.full((48, 64, 3), colour, np.uint8)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(begin * rate) + i, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def joined(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def colours(frames):
    return "".join("r" if red > blue else "b" for red, _, blue in frames.pixels[:, 8, 8].tolist())


@pytest.mark.parametrize("reader", ["auto", "decord"])
@pytest.mark.parametrize(
    ("ending", "codec", "rate"),
    [("ts", "libx264", 10), ("m2ts", "libx264", 10), ("mpg", "mpeg2video", 25), ("mkv", "libx264", 10),
     ("webm", "libvpx", 10)],
)  # fmt: skip
def test_joined_recordings_follow_one_another(tmp_path, ending, codec, rate, reader):
    parts = [
        coloured(tmp_path / f"{name}.{ending}", colour, codec=codec, rate=rate)
        for name, colour in (("red", RED), ("blue", BLUE))
    ]
    frames = read_frames(joined(tmp_path / f"both.{ending}", *parts), count=100, size=16, reader=reader)
    assert colours(frames) == 20 * "r" + 20 * "b"
    assert frames.duration == pytest.approx(40 / rate, abs=0.01)
    assert frames.timestamps.tolist() == pytest.approx([i / rate for i in range(40)], abs=0.002)
    assert frames.warning is None


@pytest.mark.parametrize(("first", "second"), [(1000, 0), (0, 1000), (50, 51), (5, 3)])
def test_it_matters_not_where_the_clock_of_a_joined_recording_stands(tmp_path, first, second):
    one = coloured(tmp_path / "1.ts", RED, begin=first)
    two = coloured(tmp_path / "2.ts", BLUE, begin=second, options={"bf": "0"})
    frames = read_frames(joined(tmp_path / "both.ts", one, two), count=100, size=16)
    assert colours(frames) == 20 * "r" + 20 * "b"
    assert frames.duration == pytest.approx(4.0, abs=0.31)  # FFmpeg, too, leaves the gap of the reordering
    assert frames.warning is None


def test_three_joined_recordings_are_sampled_in_order_by_every_policy(tmp_path):
    red, blue = coloured(tmp_path / "r.ts", RED), coloured(tmp_path / "b.ts", BLUE)
    path = joined(tmp_path / "three.ts", red, blue, red)
    assert colours(read_frames(path, count=6, size=16)) == "rrbbrr"
    assert colours(read_frames(path, policy="fps", fps=1, size=16)) == "rrbbrr"
    assert colours(read_frames(path, policy="reference", size=16, count=6)) == "rrbbrr"
    assert colours(read_frames(path, start=2.0, end=4.0, count=100, size=16)) == 20 * "b"


def test_a_large_joined_file_is_read_in_two_passes_alike(tmp_path, monkeypatch):
    from clip2video_plugin.video import pyav_reader

    path = joined(tmp_path / "b.ts", coloured(tmp_path / "r.ts", RED), coloured(tmp_path / "b2.ts", BLUE))
    monkeypatch.setattr(pyav_reader, "KEPT_BYTES", 100)
    assert colours(read_frames(path, count=100, size=16)) == 20 * "r" + 20 * "b"


def test_a_pause_in_a_recording_is_no_new_one(tmp_path):
    times = [0, 100, 200, 8000, 8100]
    path = clips.write(tmp_path / "pause.ts", count=5, times=times, options={"bf": "0"})
    np.testing.assert_allclose(read_frames(path, size=16).timestamps, np.array(times) / 1000, atol=1e-3)
    times = [0, 100, 200, 38000, 38100]
    path = clips.write(tmp_path / "pause.mkv", count=5, times=times)
    np.testing.assert_allclose(read_frames(path, size=16).timestamps, np.array(times) / 1000, atol=1e-3)


@clips.needs_ffmpeg
@pytest.mark.parametrize(("ending", "offset"), [("ts", -3), ("ts", 95440), ("nut", 77), ("mp4", 12)])
def test_times_count_from_the_first_frame_wherever_a_file_begins(tmp_path, ending, offset):
    """Also before zero, and where the 33-bit counter of a transport stream wraps."""
    clips.write(tmp_path / "plain.mp4")
    options = ["-c", "copy", "-output_ts_offset", offset, "-avoid_negative_ts", "disabled"]
    clips.ffmpeg("-i", tmp_path / "plain.mp4", *options, tmp_path / f"moved.{ending}")
    frames = read_frames(tmp_path / f"moved.{ending}", size=32)
    plain = read_frames(tmp_path / "plain.mp4", size=32)
    np.testing.assert_allclose(frames.timestamps, plain.timestamps, atol=1e-3)
    assert np.array_equal(frames.pixels, plain.pixels)
    assert frames.warning is None


@clips.needs_ffmpeg
def test_an_edit_list_that_begins_within_a_group_shows_what_ffmpeg_shows(tmp_path):
    clips.write(tmp_path / "long.mp4", count=60)
    clips.ffmpeg("-ss", 2.55, "-i", tmp_path / "long.mp4", "-t", 2, "-c", "copy", tmp_path / "part.mp4")
    shown = clips.by_ffmpeg(tmp_path / "part.mp4", 64, 48, "-fps_mode", "passthrough")
    frames = read_frames(tmp_path / "part.mp4", count=100, size=48)
    assert len(frames) == len(shown)
    assert np.array_equal(frames.pixels[0], shown[0][:, 8:56])
    assert frames.warning is None


EDITS = {  # of an MP4 track: (length in ms, first time in the media in 1/10240 s or -1 for a pause)
    "its middle": [(2000, 4 * 10240)],
    "a part twice": [(1000, 40960), (1000, 40960)],
    "two parts exchanged": [(1000, 6 * 10240), (1000, 2 * 10240)],
    "a late start": [(3000, -1), (2000, 2 * 10240)],
    "a pause within": [(1000, 0), (1000, -1), (1000, 5 * 10240)],
}


def edited(path, edits):
    """Puts another edit list into an MP4 file whose media lie before its ``moov``."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") - 4
    old = int.from_bytes(data[at : at + 4], "big")
    body = b"elst" + struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">IiI", *e, 1 << 16) for e in edits)
    data[at : at + old] = struct.pack(">I", len(body) + 4) + body
    for name in (b"moov", b"trak", b"edts"):
        box = data.index(name) - 4
        length = int.from_bytes(data[box : box + 4], "big") + len(body) + 4 - old
        data[box : box + 4] = length.to_bytes(4, "big")
    path.write_bytes(data)


@clips.needs_ffmpeg
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_list_shows_what_ffmpeg_shows(tmp_path, name):
    path = clips.write(tmp_path / "edited.mp4", count=80, options={"g": "20"})
    edited(path, EDITS[name])
    shown = clips.by_ffmpeg(path, 64, 48, "-fps_mode", "passthrough")
    frames = read_frames(path, count=200, size=48)
    assert np.array_equal(frames.pixels, shown[:, :, 8:56])
    assert frames.timestamps.tolist() == sorted(set(frames.timestamps))
    assert frames.warning is None


def test_the_shared_joined_clip_is_red_then_blue(shared_videos):
    path = shared_videos.parent / "cases" / "concat_two.ts"
    if not path.exists():
        pytest.skip("no ../shared/cases beside this checkout")
    frames = read_frames(path, count=100, size=16)
    assert colours(frames) == 20 * "r" + 20 * "b"
    assert frames.duration == pytest.approx(4.0)


def with_sound(path, seconds=10, sound=10, codec="libx264", audio="aac", options=()):
    clips.ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=s=64x48:r=10:d={seconds}", "-f", "lavfi", "-i", f"sine=d={sound}:r=44100",
        "-c:v", codec, "-g", 10, "-pix_fmt", "yuv420p", "-c:a", audio, "-ar", 48000 if audio == "libopus" else 44100,
        *options, path,
    )  # fmt: skip
    return path


CUT = {
    "a.mkv": {},
    "a.webm": {"codec": "libvpx", "audio": "libopus"},
    "a.mp4": {"options": ["-movflags", "faststart"]},
    "fragments.mp4": {"options": ["-movflags", "frag_keyframe+empty_moov"]},
    "dash.mp4": {"options": ["-movflags", "+dash+global_sidx", "-frag_duration", 1000000]},
    "a.avi": {"codec": "mpeg4", "audio": "mp3"},
    "a.flv": {"codec": "flv", "audio": "mp3"},
    "a.ts": {},
}


@clips.needs_ffmpeg
@pytest.mark.parametrize("name", CUT)
def test_a_file_with_sound_that_was_cut_off_is_read_with_a_warning(tmp_path, name):
    path = with_sound(tmp_path / name, **CUT[name])
    assert read_frames(path, size=16).warning is None
    data = path.read_bytes()
    for share in (0.6, 0.8):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.warns(VideoReadWarning, match="it ends after|it was cut off"):
            frames = read_frames(path, size=16)
        assert len(frames) == 12
        assert frames.duration < 10


@clips.needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "fragments.mp4", "a.avi"])
def test_also_when_only_little_is_missing(tmp_path, name):
    path = with_sound(tmp_path / name, **CUT[name])
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    with pytest.warns(VideoReadWarning, match="it was cut off"):
        read_frames(path, size=16)


@clips.needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.flv", "a.avi"])
def test_a_whole_file_whose_sound_is_longer_or_shorter_has_no_warning(tmp_path, name):
    for seconds, sound in ((1, 4), (4, 1)):
        path = with_sound(tmp_path / name, seconds, sound, **CUT.get(name, {}))
        assert read_frames(path, size=16).warning is None


@clips.needs_ffmpeg
def test_a_recording_that_never_said_its_length_has_no_warning(tmp_path):
    path = with_sound(tmp_path / "live.mkv", options=["-f", "matroska", "-live", "1"])
    assert not is_cut_off(path)
    assert read_frames(path, size=16).warning is None


def test_the_structure_of_any_bytes_is_looked_at_without_an_error(tmp_path):
    random = np.random.RandomState(0)
    heads = [b"\x1a\x45\xdf\xa3", b"RIFF", b"\0\0\0\x20ftypisom", b"\0\0\0\1mdat", b"G", b""]
    for head in heads:
        for length in (0, 1, 5, 200):
            path = tmp_path / "any"
            path.write_bytes(head + random.bytes(length))
            assert is_cut_off(path) in (True, False)


def test_the_shared_cut_clip_is_read_with_a_warning(shared_videos):
    path = shared_videos.parent / "cases" / "cut_mkv_with_audio.mkv"
    if not path.exists():
        pytest.skip("no ../shared/cases beside this checkout")
    with pytest.warns(VideoReadWarning, match=r"ends after 12\.1 of 20\.0 seconds"):
        assert len(read_frames(path, size=16)) == 12


def test_a_start_beyond_the_end_is_a_video_that_cannot_be_read(tmp_path):
    path = clips.write(tmp_path / "short.mp4", count=20, rate=10)
    with pytest.raises(VideoReadError, match=r"start is 5; it ends after 2\.000 seconds") as error:
        read_frames(path, start=5.0)
    assert error.value.path == str(path)
    with pytest.raises(VideoReadError):  # which training passes over
        VideoFile(path, ("a clip",), start=5.0, end=6.0).frames(12, 16, None)
