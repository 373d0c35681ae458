"""Folders of frame images: in the order of their numbers, in the depth that the network sees."""

import random

import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import read_frames
from clip2video_plugin.video.image_folder import images_in, read_image

from . import clips


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "3", "9", "10", "11", "100"],
        ["frame_1", "frame_2", "frame_10", "frame_11"],
        ["0001", "0002", "3", "04", "0010"],
        ["a1b2", "a1b10", "a2b1", "a10b1"],
        ["shot1_9", "shot1_10", "shot2_1", "shot10_1"],
        ["0", "1", "9" * 30, "1" + "0" * 30, "1" + "0" * 200],
        ["a", "b1", "b2", "b10"],
    ],
)
def test_images_come_in_the_order_of_their_numbers(tmp_path, names):
    shuffled = random.Random(0).sample(names, len(names))
    for name in shuffled:
        (tmp_path / f"{name}.png").write_bytes(b"x")
    assert [path.stem for path in images_in(tmp_path)] == names


def test_numbers_that_are_equal_or_of_other_alphabets_do_no_harm(tmp_path):
    names = ["1.jpg", "01.png", "1.png", "²³.png", "٣.png", "x²1.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert sorted(path.name for path in images_in(tmp_path)) == sorted(names)
    assert images_in(tmp_path) == images_in(tmp_path)


def test_a_folder_of_unpadded_images_is_read_in_order(tmp_path):
    for i in range(1, 13):
        Image.new("RGB", (40, 40), (20 * i, 20 * i, 20 * i)).save(tmp_path / f"{i}.png")
    assert read_frames(tmp_path, size=16).pixels[:, 8, 8, 0].tolist() == [20 * i for i in range(1, 13)]


def test_the_shared_unpadded_and_grey_folders_are_read_right(shared_videos):
    cases = shared_videos.parent / "cases"
    if not cases.is_dir():
        pytest.skip("no ../shared/cases beside this checkout")
    means = read_frames(cases / "unpadded", size=16).pixels.mean((1, 2, 3))
    assert (np.diff(means) > 0).all()
    ramps = read_frames(cases / "gray16", size=16).pixels
    assert ramps.std((1, 2)).min() > 20
    assert np.ptp(ramps) > 100


DEEP = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)  # a ramp of 16 bits
RAMP = np.round(DEEP / 257.0)


def assert_shows(path, expected):
    shown = np.asarray(read_image(path))
    assert shown.dtype == np.uint8
    assert np.abs(shown.astype(float) - np.broadcast_to(np.atleast_3d(expected), shown.shape)).max() <= 1


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_of_grey_are_a_ramp_and_not_white(tmp_path, ending):
    Image.fromarray(DEEP).save(tmp_path / f"1.{ending}")
    assert_shows(tmp_path / f"1.{ending}", RAMP)
    frames = read_frames(tmp_path, size=48)
    assert frames.pixels.min() < 30
    assert frames.pixels.max() > 225


def test_sixteen_bits_of_grey_in_other_orders_of_bytes(tmp_path):
    (tmp_path / "1.pgm").write_bytes(b"P5 64 48 65535\n" + DEEP.astype(">u2").tobytes())
    assert_shows(tmp_path / "1.pgm", RAMP)
    Image.frombytes("I;16B", (64, 48), DEEP.astype(">u2").tobytes()).save(tmp_path / "2.tif")
    assert_shows(tmp_path / "2.tif", RAMP)
    Image.fromarray(DEEP.astype(np.int32)).save(tmp_path / "3.tif")
    assert_shows(tmp_path / "3.tif", RAMP)


@clips.needs_ffmpeg
@pytest.mark.parametrize(
    "pix_fmt", ["gray16be", "rgb48be", "rgba64be", "ya8", "ya16be", "gray", "monob", "pal8", "rgba"]
)
def test_an_image_shows_what_ffmpeg_shows(tmp_path, pix_fmt):
    path = tmp_path / "1.png"
    clips.ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=1", "-frames:v", 1, "-pix_fmt", pix_fmt, path)
    assert_shows(path, clips.by_ffmpeg(path, 64, 48)[0])


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_floating_point_images_reach_white_at_one_or_at_255(tmp_path, white):
    Image.fromarray((DEEP / 65535 * white).astype(np.float32)).save(tmp_path / "1.tif")
    assert_shows(tmp_path / "1.tif", RAMP)


MODES = ["L.png", "1.png", "P.png", "CMYK.jpg", "CMYK.tif", "LA.png", "RGBA.png", "YCbCr.jpg"]


@pytest.mark.parametrize("name", MODES)
def test_images_of_eight_bits_show_what_pillow_shows(tmp_path, name):
    mode, ending = name.split(".")
    Image.fromarray(clips.picture(3)).convert(mode).save(tmp_path / f"1.{ending}")
    with Image.open(tmp_path / f"1.{ending}") as image:
        assert_shows(tmp_path / f"1.{ending}", np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_an_image_stands_as_its_orientation_says(tmp_path, orientation, ending):
    upright = np.full((8, 16, 3), 10, np.uint8)
    upright[:4, :8] = 250  # bright at the upper left
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
              5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright.transpose(1, 0, 2), 2),
              8: np.rot90(upright, -1)}[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"1.{ending}", exif=exif, **options)
    assert np.abs(np.asarray(read_image(tmp_path / f"1.{ending}")).astype(int) - upright).max() <= 8
    grey = Image.fromarray(np.ascontiguousarray(stored[:, :, 0].astype(np.uint16) * 257))
    if ending != "jpg":
        grey.save(tmp_path / f"2.{ending}", exif=exif)
        assert_shows(tmp_path / f"2.{ending}", upright)


@pytest.mark.parametrize(
    "note",
    [
        '{"policy": "extract", "fps": NaN, "timestamps": [0, 1, 2]}',
        '{"policy": "extract", "fps": 0, "timestamps": [0, 1, 2]}',
        '{"policy": "extract", "fps": 5, "timestamps": [-1, 0, 1]}',
        '{"policy": "extract", "fps": 5, "timestamps": [0, 2, 1]}',
        '{"policy": "extract", "fps": 5, "timestamps": [0, 1e308, 1.7e308], "duration": NaN}',
        '{"policy": "extract", "fps": 5, "timestamps": []}',
        '{"timestamps": [0, 7, 9]}',
        "[]",
    ],
)
@pytest.mark.parametrize("sampling", ["uniform", "reference"])
def test_a_note_that_cannot_be_is_none(tmp_path, note, sampling):
    for i in range(3):
        Image.new("RGB", (20, 20), (80 * i, 0, 0)).save(tmp_path / f"{i}.png")
    bare = read_frames(tmp_path, size=16, policy=sampling)
    (tmp_path / "frames.json").write_text(note)
    noted = read_frames(tmp_path, size=16, policy=sampling)
    assert noted.timestamps.tolist() == bare.timestamps.tolist()
    assert noted.duration == bare.duration == pytest.approx(0.6)
