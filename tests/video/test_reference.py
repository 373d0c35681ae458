"""The policy ``reference`` sees what the paper's pipeline sees; pictures are resized as Pillow resizes them."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import read_frames
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.video import reference_indices
from clip2video_plugin.video.extract import extract_frames
from clip2video_plugin.video.sampling import constant_rate
from clip2video_plugin.video.transform import resize_and_crop

from . import clips


@pytest.mark.parametrize(("count", "rate"), [(8, 2), (3, 1), (40, 10), (100, 25), (9, 3), (1, 25), (30, 4), (7, 5)])
@pytest.mark.parametrize("fps", [5.0, None])
@clips.needs_ffmpeg
def test_reference_frames_equal_those_of_the_papers_pipeline(tmp_path, count, rate, fps):
    path = clips.write(tmp_path / "clip.mp4", count=count, rate=rate)
    files = clips.by_ffmpeg(path, 64, 48, "-r", 5)  # repeats frames of slow videos
    picks = reference_indices(len(files), 1 if fps == 5.0 else 2, 12) or [0]
    frames = read_frames(path, policy="reference", fps=fps, size=32)
    assert len(frames) == len(picks)
    for pixels, i in zip(frames.pixels, picks, strict=True):
        assert np.array_equal(pixels, resize_and_crop(files[i], 32))
    assert frames.timestamps.tolist() == sorted(frames.timestamps)


def test_two_frames_a_second_for_four_seconds_are_twelve_frames(tmp_path):
    path = clips.write(tmp_path / "slow.mp4", count=8, rate=2)
    for reader in ("auto", "decord"):
        assert len(read_frames(path, policy="reference", fps=5, size=16, reader=reader)) == 12
    assert len(set(read_frames(path, policy="reference", fps=5, size=16).timestamps)) <= 8


@pytest.mark.parametrize(("count", "rate"), [(8, 2), (3, 1), (100, 25), (33, 24), (60, 10)])
@pytest.mark.parametrize("fps", [2.5, 5.0])
def test_a_clip_and_its_own_extracted_frames_have_one_vector(model, tmp_path, count, rate, fps):
    path = clips.write(tmp_path / "clip.mp4", count=count, rate=rate)
    extract_frames([path], tmp_path / "out")
    size = model.config.image_size
    direct, folder = (
        read_frames(source, policy="reference", fps=fps, size=size) for source in (path, tmp_path / "out" / "clip")
    )
    np.testing.assert_allclose(folder.timestamps, direct.timestamps)
    assert folder.duration == pytest.approx(direct.duration)
    one, other = model.encode_frames([direct.pixels, folder.pixels]).vector.numpy()
    assert float(one @ other) > 0.999


def test_files_that_another_program_wrote_at_five_a_second_are_taken_as_they_are(tmp_path):
    for i in range(30):
        Image.fromarray(clips.picture(i)).save(tmp_path / f"{i + 1:08d}.png")
    frames = read_frames(tmp_path, policy="reference", size=32)
    assert np.allclose(frames.timestamps * 5, reference_indices(30, 2, 12))


@pytest.mark.parametrize("rate", [1, 2.5, 5, 10, 29.97])
def test_files_of_a_constant_rate_are_not_sampled_once_more(rate):
    assert constant_rate([i / rate for i in range(200)], rate, 200 / rate) == list(range(200))


@pytest.mark.parametrize("fps", [2, 3, 10, 30, 4, 0.7, 6])
def test_a_rate_that_the_reference_cannot_take_is_refused(c2v, tmp_path, fps):
    path = clips.write(tmp_path / "clip.mp4", count=20)
    with pytest.raises(Clip2VideoError, match=f"fps is {fps}; .*allowed are 5, 2.5, 1.667, 1.25, 1"):
        read_frames(path, policy="reference", fps=fps)
    if fps == 3:
        done = c2v("frames", path, "out", "--policy", "reference", "--fps", fps)
        assert done.returncode == 1
        assert "fps is 3" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("fps", "step"), [(5, 1), (2.5, 2), (5 / 3, 3), (1.667, 3), (1.25, 4), (1, 5), (0.5, 10)])
def test_a_rate_that_the_reference_can_take_is_honoured(tmp_path, fps, step):
    path = clips.write(tmp_path / "clip.mp4", count=100, rate=5)
    files = constant_rate([i / 5 for i in range(100)], 5, 20.0)
    frames = read_frames(path, policy="reference", fps=fps, size=16)
    assert np.allclose(frames.timestamps * 5, [files[i] for i in reference_indices(100, step, 12)])


def as_pillow(image, size):
    """Resized whole, then cut."""
    width, height = image.size
    shape = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    whole = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
    return np.asarray(whole.crop((left, top, left + size, top + size)))


SHAPES = [(64, 48), (48, 64), (240, 500), (500, 240), (400, 900), (300, 601), (300, 599), (300, 600), (540, 1200),
          (50, 300), (7, 300), (300, 7), (2, 100), (100, 2), (1, 1), (1, 60), (60, 1), (224, 224), (224, 500),
          (30, 31), (333, 1000), (20, 900), (900, 20)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [32, 224])
def test_the_resize_equals_pillows(shape, size):
    noise = np.random.RandomState(0).randint(0, 256, (shape[1], shape[0], 3)).astype(np.uint8)
    assert np.array_equal(resize_and_crop(noise, size), as_pillow(Image.fromarray(noise), size))


@pytest.mark.parametrize("shape", [(2, 400), (400, 2), (1, 300), (3, 700), (7, 900)])
def test_the_middle_of_a_thin_strip_equals_pillows_to_rounding(shape):
    noise = np.random.RandomState(0).randint(0, 256, (shape[1], shape[0], 3)).astype(np.uint8)
    difference = np.abs(resize_and_crop(noise, 224).astype(int) - as_pillow(Image.fromarray(noise), 224))
    assert difference.max() <= 1


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("shape", ["(2, 4000)", "(4000, 2)", "(1, 1000000)"])
def test_a_thin_strip_takes_little_memory(shape, resize):
    code = f"""if True:
        from pathlib import Path
        from PIL import Image
        from clip2video_plugin.pixels import Preprocessing
        from clip2video_plugin.video.transform import resize_and_crop
        def peak():  # ru_maxrss counts the parent's too
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        how = Preprocessing(224, resize="{resize}")
        resize_and_crop(Image.new("RGB", (64, 48)), how)
        before = peak()
        resize_and_crop(Image.new("RGB", {shape}), how)
        print(peak() - before)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000  # kilobytes
