"""Frame picks equal the reference loader's and ffmpeg's; pixels equal the reference transform's."""

import json
import shutil
import subprocess
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.video import preprocess, reference_indices
from clip2video_plugin.video.pyav_reader import scan
from clip2video_plugin.video.sampling import constant_rate, rate_indices, uniform_indices

from . import clips

GOLDEN = Path(__file__).parent.parent / "golden"
FRAMES = json.loads((GOLDEN / "frames.json").read_text())


@pytest.mark.parametrize("case", FRAMES["frame_sampling"])
def test_reference_picks_equal_the_golden_ones(case):
    n, r, count = case["n_files"], case["framerate"], case["max_frames"]
    assert reference_indices(n, r, count) == case["eval_indices"]
    if case["train_indices"] is not None:
        rng = np.random.RandomState(case["train_indices_np_seed"])
        assert reference_indices(n, r, count, rng) == case["train_indices"]


@pytest.mark.parametrize("case", FRAMES["preprocess"]["images"])
def test_pixels_equal_the_golden_ones(case):
    seed, k = FRAMES["preprocess"]["seed"], case["index"]
    rng = np.random.RandomState(crc32(f"{seed}:image:{k}".encode()) & 0xFFFFFFFF)
    coarse = rng.randint(0, 256, (*case["coarse"], 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((case["width"], case["height"]), Image.Resampling.NEAREST)
    golden = np.load(GOLDEN / "preprocess.npz")[f"img{k}"]
    np.testing.assert_allclose(preprocess(image, FRAMES["preprocess"]["target"]), golden, atol=1e-6)
    np.testing.assert_allclose(preprocess(np.asarray(image), FRAMES["preprocess"]["target"]), golden, atol=1e-6)


@given(st.integers(1, 5000), st.integers(1, 200))
def test_uniform_picks_are_distinct_ascending_and_spread(n, count):
    picks = uniform_indices(n, count)
    assert len(picks) == min(n, count)
    assert picks == sorted(set(picks))
    assert picks[0] >= 0
    assert picks[-1] < n
    if n > count:
        gaps = np.diff(picks)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@given(st.integers(0, 2000), st.integers(1, 10), st.integers(1, 60))
def test_reference_picks_stay_in_range(n, r, count):
    picks = reference_indices(n, r, count)
    assert len(picks) == min(n // r, count)
    assert all(0 <= i < n for i in picks)


def test_reference_picks_name_a_bad_argument():
    with pytest.raises(Clip2VideoError, match="r 0"):
        reference_indices(10, 0, 12)


def test_rate_picks_are_the_frames_on_show():
    times = [0.0, 0.1, 0.2, 1.0, 1.1]
    assert rate_indices(times, 5) == [0, 2, 3]
    assert rate_indices(times, 1000) == [0, 1, 2, 3, 4]


@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="no ffmpeg to compare with; shown by the recorded picks below"
)
@pytest.mark.parametrize(
    ("count", "rate"), [(40, 10), (77, 30), (7, 3), (1, 25), (50, 25), (33, 24), (12, 4), (9, 2), (40, 7)]
)
def test_extraction_picks_equal_ffmpegs(tmp_path, count, rate):
    path = clips.write(tmp_path / "clip.mp4", count=count, rate=rate)
    grey = ["-f", "image2pipe", "-c:v", "rawvideo", "-pix_fmt", "gray", "-"]
    run = lambda *options: np.frombuffer(  # noqa: E731
        subprocess.run(["ffmpeg", "-v", "error", "-i", path, *options, *grey], capture_output=True).stdout, np.uint8
    ).reshape(-1, 64 * 48)
    written, every = run("-r", "5"), run("-fps_mode", "passthrough")
    picks = constant_rate([i / rate for i in range(count)], 5, count / rate)
    assert len(picks) == len(written)
    assert all(np.array_equal(written[k], every[i]) for k, i in enumerate(picks))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg to compare with: apt-get install ffmpeg")
def test_extraction_picks_of_real_clips_equal_ffmpegs(shared_videos):
    for path in sorted(shared_videos.iterdir()):
        if path.suffix == ".md" or "corrupted" in path.name:
            continue
        plan, _, _ = scan(path)
        picks = constant_rate(plan.times, 5, plan.duration)
        hashes = [
            [line.rsplit(" ", 1)[1] for line in done.stdout.splitlines() if not line.startswith("#")]
            for rate in (["-r", "5", "-fps_mode", "cfr"], ["-fps_mode", "passthrough"])
            for done in [
                subprocess.run(
                    ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", *rate, "-f", "framemd5", "-"],
                    capture_output=True,
                    text=True,
                )
            ]
        ]
        written, every = hashes
        assert written == [every[i] for i in picks], path.name


def test_extraction_picks_as_recorded_from_ffmpeg_5_1():
    assert constant_rate([i / 25 for i in range(25)], 5, 1.0)[:4] == [0, 1, 4, 9]
    assert len(constant_rate([i / 25 for i in range(250)], 5, 10.0)) == 52


def test_frames_at_a_rate_are_those_on_show_at_each_moment():
    random = Random(4)
    for _ in range(300):
        times = [0.0 if random.random() < 0.7 else random.random() * 3]
        for _ in range(random.randrange(40)):
            times.append(times[-1] + random.choice((0.0, 1 / 30, 0.04, 1e-7, random.random() * 9)))
        fps = random.choice((1.0, 2.5, 0.3, 29.97, random.random() * 60 + 0.01))
        moments = [times[0] + k / fps for k in range(int(times[-1] * fps + 1e-6) + 1)]
        shown = [max(i for i, time in enumerate(times) if time <= moment + 1e-6) for moment in moments]
        assert rate_indices(times, fps) == sorted(set(shown))
    assert rate_indices([0.0, 1.0, 1e14, 1e14 + 1], 30.0) == [0, 1, 2, 3]
