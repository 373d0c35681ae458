"""Thumbnails are the mean grey of 8x8 parts of a frame."""

import numpy as np
import pytest

from clip2video_plugin.video.thumbnails import thumbnails


@pytest.mark.parametrize("side", [48, 224])
def test_each_number_is_the_mean_grey_of_its_part(side):
    pixels = np.random.default_rng(side).integers(0, 256, (3, side, side, 3), np.uint8)
    grey = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    means = grey.reshape(3, 8, side // 8, 8, side // 8).mean(axis=(2, 4)).reshape(3, 64)
    assert np.abs(thumbnails(pixels) - means).max() <= 1


def test_parts_that_are_no_whole_pixels_and_no_frames_at_all():
    pixels = np.zeros((1, 100, 100, 3), np.uint8)
    pixels[:, :50] = 200
    assert thumbnails(pixels).reshape(8, 8).tolist() == [[200] * 8] * 4 + [[0] * 8] * 4
    assert thumbnails(pixels[:0]).shape == (0, 64)
