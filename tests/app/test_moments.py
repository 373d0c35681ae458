"""Where in a video a sentence fits: the frames' scores, and moments as temporal detections."""

import fiftyone as fo
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app.moments import Timeline, compute_frames, mark_moments, timeline
from clip2video_plugin.app.panel_parts import picture
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index.frames import FrameIndex

from ..video import clips


@pytest.fixture
def indexed(world, model, tmp_path):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder)
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    yield dataset, run
    dataset.delete()


def test_the_frames_scores_add_up_to_the_videos(indexed, model):
    dataset, run = indexed
    sample = dataset.first()
    query = sample.captions[0]
    assert timeline(run, sample, query) is None
    assert compute_frames(run, dataset.limit(2)) == 24
    found = timeline(run, sample, query)
    assert (len(found.times), found.duration) == (12, pytest.approx(3.0))
    assert (np.diff(found.times) > 0).all()
    # s.g = mean(s.f_i) / |mean f_i|
    _, vectors = FrameIndex.open(run.config.uri, run.frames_table).read(sample.id)
    stored = run.get_embeddings([sample.id])[0][0]
    sentence = model.encode_captions([query]).global_vector[0].numpy()
    whole = float(sentence @ stored[: len(stored) // 2] * np.sqrt(2))
    assert found.scores.mean() / np.linalg.norm(vectors.mean(axis=0)) == pytest.approx(whole, abs=2e-3)  # float16
    compute_frames(run, dataset.limit(1))  # again replaces them
    assert len(timeline(run, sample, query).times) == 12


def test_a_long_video_has_frames_every_second_or_so(model, tmp_path):
    clips.write(tmp_path / "long.mp4", count=300, rate=10)
    dataset = fo.Dataset.from_videos_dir(str(tmp_path))
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    assert compute_frames(run, dataset) == 48  # four windows of twelve
    found = timeline(run, dataset.first(), "a red square")
    assert np.diff(found.times).max() < 1.5
    assert found.times[-1] > 28
    dataset.delete()


def test_moments_are_the_stretches_above_the_threshold():
    found = Timeline(np.array([0.0, 1, 2, 3, 4]), np.array([0.1, 0.8, 0.9, 0.2, 0.7], np.float32), 5.0)
    assert found.moments(0.6) == [(0.5, 2.5, pytest.approx(0.9)), (3.5, 5.0, pytest.approx(0.7))]
    assert found.moments(0.05) == [(0.0, 5.0, pytest.approx(0.9))]
    assert found.moments(1.0) == []


def test_moments_become_temporal_detections_and_clips(indexed):
    dataset, run = indexed
    sample = dataset.first()
    with pytest.raises(Clip2VideoError, match="have not been embedded; compute them first"):
        mark_moments(dataset, run, sample.id, "a red square", 0.0)
    compute_frames(run, dataset.limit(1))
    view = mark_moments(dataset, run, sample.id, "a red square", -1.0)
    assert view.values("support") == [[1, 24]]
    detection = dataset[sample.id]["c2v_moments"].detections[0]
    assert (detection.label, detection.support) == ("a red square", [1, 24])
    with pytest.raises(Clip2VideoError, match=r"no frame scores 2\.000 or more; the best has"):
        mark_moments(dataset, run, sample.id, "a red square", 2.0)


def test_deleting_the_run_drops_its_frames(indexed):
    dataset, run = indexed
    compute_frames(run, dataset.limit(1))
    uri, table = run.config.uri, run.frames_table
    dataset.delete_brain_run("c2v")
    assert FrameIndex.open(uri, table) is None


def test_the_picture_of_a_time(world):
    path = sorted(world[0].glob("*.mp4"))[0]
    first, last = (picture(str(path), time) for time in (0.0, 2.9))
    assert first.startswith("data:image/jpeg;base64,")
    assert first != last
