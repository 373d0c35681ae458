"""Pictures become what each family of models was trained on, as processors that nobody here wrote make it.

Which is the reference for what: of CLIP, torchvision's Resize and CenterCrop, which OpenAI's code has and which
tests/golden/preprocess.npz holds; transformers' processor cuts the same resized picture, but half a pixel always goes
right and below. Of SigLIP, transformers' processor by Pillow: both sides resized at once.
"""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import read_frames
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.pixels import Preprocessing
from clip2video_plugin.video import preprocess
from clip2video_plugin.video.transform import resize_and_crop

from . import clips
from .test_shown import MATRICES, written

SQUASHED = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "squash")
SHAPES = [(37, 53), (53, 37), (64, 48), (33, 32), (101, 77), (640, 361), (5, 9), (1, 1), (32, 32), (300, 31), (31, 300)]
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def noise(shape):
    width, height = shape
    return Image.fromarray(np.random.RandomState(width * height).randint(0, 256, (height, width, 3)).astype(np.uint8))


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("shape", [*SHAPES, (3, 700), (700, 3)])
def test_a_squashed_picture_equals_that_of_siglips_processor(shape, interpolation):
    siglip = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip")
    size = {"height": 32, "width": 32}
    processor = siglip.SiglipImageProcessorPil(size=size, resample=FILTERS[interpolation])
    how = Preprocessing(32, SQUASHED.mean, SQUASHED.std, "squash", interpolation)
    image = noise(shape)
    whole = processor(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(preprocess(image, how), whole, atol=1e-6)
    raw = processor(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    assert np.array_equal(resize_and_crop(image, how), raw.transpose(1, 2, 0))


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cropped_picture_is_cut_by_torchvisions_rule_from_what_clips_processor_resizes(shape, interpolation):
    clip = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    size = {"shortest_edge": 32}, {"height": 32, "width": 32}
    processor = clip.CLIPImageProcessorPil(size=size[0], crop_size=size[1], resample=FILTERS[interpolation])
    how, image = Preprocessing(32, interpolation=interpolation), noise(shape)
    resized = processor(image, do_center_crop=False, return_tensors="np")["pixel_values"][0]
    over = [resized.shape[1] - 32, resized.shape[2] - 32]
    top, left = (round(o / 2) for o in over)  # CenterCrop's: halves to even
    expected = resized[:, top : top + 32, left : left + 32]
    np.testing.assert_allclose(preprocess(image, how), expected, atol=2e-6)
    if all(round(o / 2) == o // 2 for o in over):
        theirs = processor(image, return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(preprocess(image, how), theirs, atol=2e-6)


def test_a_number_stands_for_clips_preprocessing():
    image = noise((53, 37))
    assert np.array_equal(preprocess(image, 32), preprocess(image, Preprocessing(32)))


@pytest.mark.parametrize("reader", ["auto", "decord"])
@pytest.mark.parametrize("interpolation", FILTERS)
def test_a_squashed_video_shows_its_whole_picture(tmp_path, reader, interpolation):
    path = clips.write(tmp_path / "wide.mp4", count=3, size=(96, 32))
    frames = read_frames(path, size=24, resize="squash", interpolation=interpolation, reader=reader)
    for pixels, (_, picture) in zip(frames.pixels, clips.sequential(path), strict=True):
        whole = Image.fromarray(np.ascontiguousarray(picture)).resize((24, 24), FILTERS[interpolation])
        assert np.array_equal(pixels, np.asarray(whole))
    assert (frames.width, frames.height) == (96, 32)
    assert not np.array_equal(frames.pixels, read_frames(path, size=24).pixels)


def test_a_squashed_folder_of_images_shows_them_whole(tmp_path):
    clips_picture = clips.picture(0, 96, 32)
    Image.fromarray(clips_picture).save(tmp_path / "1.png")
    (pixels,) = read_frames(tmp_path, size=24, resize="squash").pixels
    assert np.array_equal(pixels, np.asarray(Image.fromarray(clips_picture).resize((24, 24), Image.Resampling.BICUBIC)))


def test_a_turned_video_is_squashed_upright(tmp_path):
    plain = read_frames(written(tmp_path / "plain.mp4"), size=200, resize="squash").pixels
    turned = read_frames(written(tmp_path / "turned.mp4", MATRICES["quarter turn"]), size=200, resize="squash").pixels
    difference = np.abs(turned.astype(int) - np.rot90(plain, -1, (1, 2)))
    assert difference.mean() < 1
    assert difference.max() < 40  # rows and columns are resized in another order


def test_pixels_that_are_not_square_are_nothing_to_a_squashed_picture(tmp_path):
    """Stretched to what a player shows and then squashed, it is the stored picture squashed."""
    path = written(tmp_path / "wide.mp4", aspect=Fraction(4, 3))
    frames = read_frames(path, size=32, resize="squash")
    assert frames.width == 85
    shown = Image.fromarray(np.ascontiguousarray(clips.sequential(path)[0][1])).resize((85, 48), FILTERS["bicubic"])
    expected = np.asarray(shown.resize((32, 32), FILTERS["bicubic"]))
    difference = np.abs(frames.pixels[0].astype(int) - expected)
    assert difference.mean() < 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"resize": "fit"}, "resize is 'fit'; allowed are crop, squash"),
        ({"interpolation": "nearest"}, "interpolation is 'nearest'; allowed are bicubic, bilinear"),
        ({"size": 0}, "size is 0; it must be at least 1 pixel"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(tmp_path, option, message):
    with pytest.raises(Clip2VideoError, match=f"^{message}$"):
        read_frames(clips.write(tmp_path / "a.mp4", count=2), **option)
