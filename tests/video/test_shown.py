"""Pictures are shown as a player shows them: turned, mirrored, in the colours and the shape that the file says."""

from fractions import Fraction

import av
import numpy as np
import pytest

from clip2video_plugin import read_frames
from clip2video_plugin.video.facts import video_facts
from clip2video_plugin.video.frames import decode
from clip2video_plugin.video.transform import resize_and_crop, turned

from . import clips

ONE = 1 << 16
MATRICES = {  # a, b, c, d: where the x axis of the picture goes, and its y axis
    "plain": (1, 0, 0, 1),
    "hflip": (-1, 0, 0, 1),
    "vflip": (1, 0, 0, -1),
    "half turn": (-1, 0, 0, -1),
    "quarter turn": (0, 1, -1, 0),
    "three quarters": (0, -1, 1, 0),
    "transpose": (0, 1, 1, 0),
    "transverse": (0, -1, -1, 0),
}


def written(path, matrix=None, count=4, size=(64, 48), aspect=None, codec="libx264"):
    """A video whose display matrix has the given a, b, c, d."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix:
            a, b, c, d = (round(x * ONE) for x in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for i in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(clips.picture(i, *size), format="rgb24")))
        container.mux(stream.encode())
    return path


def whole(path, reader="auto"):
    """Every picture, upright, uncut."""
    decoded, _ = decode(path, lambda video: list(range(len(video.times))), np.asarray, reader)
    return np.stack([decoded.pictures[i] for i in sorted(decoded.pictures)])


def moved(picture, a, b, c, d):
    """Each pixel where the matrix puts it, one by one."""
    height, width = picture.shape[:2]
    places = {(x, y): (a * x + c * y, b * x + d * y) for x in range(width) for y in range(height)}
    left, top = min(x for x, _ in places.values()), min(y for _, y in places.values())
    out = np.zeros((width, height, 3) if b else (height, width, 3), np.uint8)
    for (x, y), (right, down) in places.items():
        out[down - top, right - left] = picture[y, x]
    return out


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("reader", ["auto", "decord"])
def test_a_display_matrix_turns_and_mirrors_every_picture(tmp_path, name, reader):
    plain = whole(written(tmp_path / "plain.mp4"))
    path = written(tmp_path / "turned.mp4", MATRICES[name])
    shown = whole(path, reader)
    assert np.array_equal(shown[0], moved(plain[0], *MATRICES[name]))
    frames = read_frames(path, size=16, reader=reader)
    assert (frames.height, frames.width) == shown.shape[1:3]


@clips.needs_ffmpeg
@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_shows_what_ffmpeg_shows(tmp_path, name):
    path = written(tmp_path / "turned.mp4", MATRICES[name])
    width, height = (48, 64) if MATRICES[name][1] else (64, 48)
    assert np.array_equal(whole(path), clips.by_ffmpeg(path, width, height))


@clips.needs_ffmpeg
@pytest.mark.parametrize("degrees", [45, 30, -20, 200])
def test_any_other_angle_turns_within_the_frame_as_ffmpeg_does(tmp_path, degrees):
    turn = np.radians(degrees)
    matrix = np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)
    path = written(tmp_path / "turned.mp4", matrix)
    shown, truth = whole(path)[0].astype(int), clips.by_ffmpeg(path, 64, 48)[0].astype(int)
    assert np.abs(shown - truth).mean() < 8  # another interpolation; untouched or turned the other way: over 50


def test_a_matrix_that_shows_nothing_leaves_the_picture_as_it_is():
    picture = clips.picture(0)
    assert np.array_equal(turned(picture, np.zeros((3, 3), np.int32))[0], picture)


def test_the_shared_mirrored_clips_show_the_plain_one_mirrored(shared_videos):
    cases = shared_videos.parent / "cases"
    if not cases.is_dir():
        pytest.skip("no ../shared/cases beside this checkout")
    plain = whole(cases / "plain.mp4")
    assert np.array_equal(whole(cases / "matrix_hflip.mp4"), plain[:, :, ::-1])
    assert np.array_equal(whole(cases / "matrix_transpose.mp4"), plain.transpose(0, 2, 1, 3))
    assert np.array_equal(whole(cases / "matrix_rot90.mp4"), np.rot90(plain, -1, (1, 2)))


@clips.needs_ffmpeg
@pytest.mark.parametrize("colour_range", ["tv", "pc"])
@pytest.mark.parametrize("space", ["bt709", "smpte170m", "bt2020nc", None])
@pytest.mark.parametrize("reader", ["auto", "decord"])
def test_colours_equal_an_independent_decode(tmp_path, space, colour_range, reader):
    path = tmp_path / "colours.mp4"
    colours = ["-color_range", colour_range, *(["-colorspace", space] if space else [])]
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1"]
    clips.ffmpeg(*source, "-pix_fmt", "yuv420p", *colours, "-c:v", "libx264", "-qp", 5, path)
    truth = clips.by_ffmpeg(path, 64, 48)
    frames = read_frames(path, size=48, reader=reader)
    expected = np.stack([resize_and_crop(picture, 48) for picture in truth])
    assert np.abs(frames.pixels.astype(int) - expected).max() <= 2


@clips.needs_ffmpeg
def test_the_colour_space_and_range_that_a_file_names_are_what_tell_such_files_apart(tmp_path):
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-qp", 5]
    for name, space in ("sd", "smpte170m"), ("hd", "bt709"):
        clips.ffmpeg(*source, "-bsf:v", f"h264_metadata=matrix_coefficients={6 if space == 'smpte170m' else 1}",
                     tmp_path / f"{name}.mp4")  # fmt: skip
    clips.ffmpeg(*source, "-bsf:v", "h264_metadata=video_full_range_flag=1", tmp_path / "full.mp4")
    sd, hd, full = (whole(tmp_path / f"{name}.mp4").astype(int) for name in ("sd", "hd", "full"))
    assert np.abs(sd - hd).mean() > 3  # the same bytes of brightness and colour, read in two ways
    assert np.abs(sd - full).mean() > 3


@clips.needs_ffmpeg
@pytest.mark.parametrize("pix_fmt", ["gray16le", "gray10le", "yuv422p10le", "rgb48le", "gbrp"])
def test_deep_and_grey_videos_equal_an_independent_decode(tmp_path, pix_fmt):
    path = tmp_path / "deep.mkv"
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=1", "-pix_fmt", pix_fmt, "-c:v", "ffv1", path)
    assert np.abs(whole(path).astype(int) - clips.by_ffmpeg(path, 64, 48)).max() <= 2


@pytest.mark.parametrize(
    ("aspect", "matrix", "shape"),
    [
        (Fraction(4, 3), None, (85, 48)),
        (Fraction(64, 45), None, (91, 48)),
        (Fraction(8, 9), None, (57, 48)),
        (Fraction(4, 3), MATRICES["quarter turn"], (48, 85)),
        (None, None, (64, 48)),
    ],
)
@pytest.mark.parametrize("reader", ["auto", "decord"])
def test_width_and_height_are_those_of_square_pixels(tmp_path, aspect, matrix, shape, reader):
    path = written(tmp_path / "wide.mp4", matrix, aspect=aspect)
    frames = read_frames(path, size=32, reader=reader)
    assert (frames.width, frames.height) == shape


@clips.needs_ffmpeg
def test_pixels_are_cut_from_the_stored_picture_as_the_papers_pipeline_does(tmp_path):
    path = written(tmp_path / "wide.mp4", aspect=Fraction(4, 3))
    clips.ffmpeg("-i", path, "-r", 5, tmp_path / "%08d.png")  # the paper's command, without the loss of JPEG
    stored = clips.by_ffmpeg(path, 64, 48)  # unscaled: 64 wide, though shown 85 wide
    frames = read_frames(path, size=32)
    assert np.abs(frames.pixels[0].astype(int) - resize_and_crop(stored[0], 32)).max() <= 2
    folder = read_frames(tmp_path, size=32)
    assert np.abs(frames.pixels[0].astype(int) - folder.pixels[0]).max() <= 2


def two_streams(path, flagged, first=(32, 24), second=(64, 48)):
    with av.open(str(path), "w") as container:
        streams = []
        for number, size in enumerate([first, second]):
            stream = container.add_stream("libx264", rate=5)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.disposition = av.stream.Disposition.default if number == flagged else av.stream.Disposition(0)
            streams.append((stream, size))
        for i in range(5):
            for stream, size in streams:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(clips.picture(i, *size), format="rgb24")))
        for stream, _ in streams:
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("reader", ["auto", "decord"])
@pytest.mark.parametrize(("flagged", "width"), [(0, 32), (1, 64), (None, 32)])
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_of_several_streams_the_default_one_is_read(tmp_path, ending, flagged, width, reader):
    path = two_streams(tmp_path / f"two.{ending}", flagged)
    if ending == "mp4" and flagged is None:
        pytest.skip("MP4 has no file without a default stream")
    frames = read_frames(path, size=16, reader=reader)
    assert frames.width == width
    assert video_facts(path)["frame_width"] == width


def test_of_several_streams_the_default_one_is_read_when_every_frame_must_be_decoded(tmp_path, monkeypatch):
    from clip2video_plugin.video import pyav_reader

    path = two_streams(tmp_path / "two.mkv", 1)
    expected = read_frames(path, size=16).pixels
    monkeypatch.setattr(pyav_reader, "_scan", lambda *_: None)  # as of a file whose packets do not tell the times
    frames = read_frames(path, size=16)
    assert frames.width == 64
    assert np.array_equal(frames.pixels, expected)


@clips.needs_ffmpeg
def test_a_cover_picture_is_no_video(tmp_path):
    from clip2video_plugin.errors import VideoReadError

    video, cover, sound = written(tmp_path / "v.mp4"), tmp_path / "cover.png", ["-f", "lavfi", "-i", "sine=d=1"]
    clips.ffmpeg("-f", "lavfi", "-i", "color=red:s=100x100:d=1", "-frames:v", 1, cover)
    clips.ffmpeg("-i", cover, "-i", video, "-map", 0, "-map", 1, "-c", "copy", "-disposition:v:0", "attached_pic",
                 tmp_path / "covered.mp4")  # fmt: skip
    assert read_frames(tmp_path / "covered.mp4", size=16).width == 64
    clips.ffmpeg(*sound, "-i", cover, "-map", 0, "-map", 1, "-c:v", "copy", "-disposition:v:0", "attached_pic",
                 tmp_path / "song.m4a")  # fmt: skip
    with pytest.raises(VideoReadError, match="no video stream \\(only a cover picture\\)"):
        read_frames(tmp_path / "song.m4a")


def test_the_shared_clip_of_two_streams_shows_the_default_one(shared_videos):
    path = shared_videos.parent / "cases" / "two_streams_second_default.mkv"
    if not path.exists():
        pytest.skip("no ../shared/cases beside this checkout")
    assert (read_frames(path, size=16).width, read_frames(path, size=16).height) == (64, 48)
