"""A grid over a video: the frames that read_frames gives, in parts, of whatever file."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import read_frames
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.pixels import Preprocessing
from clip2video_plugin.video.grid import LONGEST, PART, Grid, Untrue, Wanted
from clip2video_plugin.video.transform import resize_and_crop

from . import clips

SIDE, RATE = 32, 10.0
WANTED = Wanted(lambda duration: RATE, ("uniform", None), 12, Preprocessing(SIDE))


def frames_of(path, wanted=WANTED, first=0, threads=2):
    """The grid, and its pixels, read as the pipeline reads them: parts in threads, and anew where it was untrue."""
    grid = Grid.open(path, wanted)
    while True:
        try:
            parts = grid.parts(first)
            with ThreadPoolExecutor(threads) as pool:
                pixels = np.concatenate(list(pool.map(grid.read, parts)))
            return grid, pixels
        except Untrue:
            grid.close()
            grid = Grid.anew(path, wanted)


def assert_as_read_frames(path, pictures=True):
    """The frames of the grid and those of the whole video are those of two calls of read_frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every, whole = read_frames(path, policy="fps", fps=RATE, size=SIDE), read_frames(path, size=SIDE)
    grid, pixels = frames_of(path)
    layout = grid.layout
    np.testing.assert_array_equal(grid.timestamps[layout.on_grid], every.timestamps)
    np.testing.assert_array_equal(grid.timestamps[layout.whole], whole.timestamps)
    assert (grid.duration, grid.warning) == (every.duration, every.warning)
    if pictures:
        np.testing.assert_array_equal(pixels[layout.on_grid], every.pixels)
        np.testing.assert_array_equal(pixels[layout.whole], whole.pixels)
    return grid


@pytest.mark.parametrize("name", sorted(clips.KINDS))
def test_every_kind_of_file(name, tmp_path):
    codec, pix_fmt, options = clips.KINDS[name]
    path = clips.write(tmp_path / name, count=130, codec=codec, pix_fmt=pix_fmt, options=options)
    grid = assert_as_read_frames(path)
    assert len(grid.layout.picks) > PART


def test_real_files(shared_videos):
    seen = 0
    for path in sorted(shared_videos.iterdir()):
        if path.suffix != ".md" and path.stat().st_size < 500_000:
            assert_as_read_frames(
                path, pictures=path.name != "decord_corrupted.mp4"
            )  # what a damaged part shows varies
            seen += 1
    assert seen > 15


def test_a_varying_rate_and_a_late_start(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(20, 400, 150)).tolist()
    grid = assert_as_read_frames(clips.write(tmp_path / "varying.mkv", count=150, times=times, options={"g": "10"}))
    shown = grid.timestamps[grid.layout.on_grid]
    assert (grid.layout.due >= shown - 1e-6).all()  # a frame stands for the time when it is on show
    assert (grid.layout.due[:-1] < shown[1:] + 1e-6).all()
    np.testing.assert_allclose(grid.layout.due * RATE, np.round(grid.layout.due * RATE), atol=1e-6)


@pytest.mark.parametrize("name", ["tail.mkv", "tail.ts", "tail.avi"])
def test_a_file_that_was_cut_off(name, tmp_path):
    path = clips.write(tmp_path / name, count=200, options={"g": "10", "bf": "0"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    grid = assert_as_read_frames(path)
    assert grid.warning
    assert len(grid.layout.picks) > PART


def test_frames_that_the_packets_promise_in_vain(tmp_path):
    codec, pix_fmt, options = clips.KINDS["vp9.webm"]
    path = clips.write(tmp_path / "torn.webm", count=200, codec=codec, pix_fmt=pix_fmt, options=options)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    grid = Grid.open(path, WANTED)
    with pytest.raises(Untrue):
        list(map(grid.read, grid.parts()))
    assert_as_read_frames(path, pictures=False)


def folder_of(tmp_path, count=120):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(count):
        Image.fromarray(clips.picture(i)).save(folder / f"{i:04d}.png")
    return folder


def test_a_folder_of_images_one_of_them_broken(tmp_path):
    folder = folder_of(tmp_path)
    assert len(assert_as_read_frames(folder).parts()) > 1
    (folder / "0075.png").write_bytes(b"no image")
    assert "0075.png" in assert_as_read_frames(folder).warning


def test_key_frames_begin_parts_that_threads_read_in_any_order(tmp_path):
    path = clips.write(tmp_path / "a.mp4", count=400, options={"g": "20", "x264-params": "scenecut=0"})
    grid = Grid.open(path, WANTED)
    parts = grid.parts()
    assert all(part[0] % 20 == 0 for part in parts)
    assert max(map(len, parts)) <= LONGEST
    late, early = grid.read(parts[-1]), grid.read(parts[0])
    every = read_frames(path, policy="fps", fps=RATE, size=SIDE).pixels
    np.testing.assert_array_equal(early, every[parts[0]])
    np.testing.assert_array_equal(late, every[parts[-1]])


def test_without_key_frames_parts_wait_for_each_other(tmp_path):
    path = clips.write(tmp_path / "a.mp4", count=400, options={"g": "1000", "x264-params": "scenecut=0"})
    grid = Grid.open(path, WANTED)
    parts, found = grid.parts(), {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: grid.read(parts[n])})) for n in (1, 0)]
    threads[0].start()
    threads[0].join(0.3)
    assert not found  # the second waits for the first
    threads[1].start()
    for thread in threads:
        thread.join(30)
    every = read_frames(path, policy="fps", fps=RATE, size=SIDE).pixels
    np.testing.assert_array_equal(found[1], every[parts[1]])
    grid.close()


@pytest.mark.parametrize("gop", [20, 1000])
def test_reading_goes_on_from_any_frame(gop, tmp_path):
    path = clips.write(tmp_path / "a.mp4", count=300, options={"g": str(gop), "x264-params": "scenecut=0"})
    grid, pixels = frames_of(path, first=133)
    every, whole = read_frames(path, policy="fps", fps=RATE, size=SIDE), read_frames(path, size=SIDE)
    before = grid.layout.whole[grid.layout.whole < 133]
    np.testing.assert_array_equal(pixels[: len(before)], whole.pixels[: len(before)])
    np.testing.assert_array_equal(pixels[len(before) :], every.pixels[133:])
    assert sum(len(part) for part in grid.parts(133, whole=False)) == 300 - 133


@pytest.mark.parametrize("rate", [0.3, RATE])
def test_of_the_policy_keyframes_the_grid_is_of_key_frames_where_they_are_dense(rate, tmp_path):
    path = clips.write(tmp_path / "a.mp4", count=1000, options={"g": "8", "x264-params": "scenecut=0"})
    policy = ("keyframes", None)
    grid, pixels = frames_of(path, Wanted(lambda duration: rate, policy, 12, Preprocessing(SIDE)))
    places = [grid.layout.picks[place] for place in grid.layout.on_grid]
    shown = grid.timestamps[grid.layout.on_grid]
    whole = read_frames(path, policy="keyframes", size=SIDE)
    np.testing.assert_array_equal(pixels[grid.layout.whole], whole.pixels)
    np.testing.assert_array_equal(grid.timestamps[grid.layout.whole], whole.timestamps)
    if rate == RATE:  # a grid of all frames
        assert places == list(range(1000))
        return
    due = np.arange(len(places)) / rate
    nearest = 8 * np.clip(np.round(np.floor(due * 10 + 1e-6) / 8 - 1e-9), 0, 124)
    np.testing.assert_array_equal(places, nearest)
    np.testing.assert_array_equal(grid.layout.due, shown)
    truth = clips.sequential(path)
    for place, picture in zip(grid.layout.on_grid, places, strict=True):
        np.testing.assert_array_equal(pixels[place], resize_and_crop(truth[picture][1], SIDE))


def test_no_grid_where_none_is_wanted(tmp_path):
    path = clips.write(tmp_path / "a.mp4", count=200)
    grid, pixels = frames_of(path, Wanted(lambda duration: 0.0, ("uniform", None), 12, Preprocessing(SIDE)))
    assert not len(grid.layout.on_grid)
    np.testing.assert_array_equal(pixels, read_frames(path, size=SIDE).pixels)


def test_what_is_no_video_is_refused_as_ever(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("no video")
    with pytest.raises(VideoReadError, match="not a video"):
        Grid.open(path, WANTED)
