"""Where in a video a sentence fits: the frames' scores, and moments as temporal detections."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video, load_model, read_frames
from clip2video_plugin.app import Clip2VideoModel
from clip2video_plugin.app.moments import Timeline, compute_frames, mark_moments, timeline
from clip2video_plugin.app.panel.parts import picture
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Span, upkeep
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.model.installed import embedded_folder
from clip2video_plugin.video.extract import extract_frames
from clip2video_plugin.video.files import file_stamp

from ..video import clips

QUERY = "a red square moves left"


@pytest.fixture
def three(world, model, tmp_path):
    """Three videos in a folder of their own."""
    (tmp_path / "three").mkdir()
    for path in sorted(world[0].glob("*.mp4"))[:3]:
        shutil.copy(path, tmp_path / "three")
    dataset = fo.Dataset.from_videos_dir(str(tmp_path / "three"))
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    yield dataset, run
    dataset.delete()


def test_the_frames_scores_add_up_to_the_videos(three, model):
    dataset, run = three
    sample = dataset.first()
    query = QUERY
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


def test_frames_and_fiftyones_own_embeddings_are_of_the_models_pictures(tmp_path):
    """Of a model that sees wide videos whole: one that cut them would have other vectors."""
    shutil.copytree(embedded_folder(), tmp_path / "whole")
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    (tmp_path / "whole" / "config.json").write_text(json.dumps(config | {"resize": "squash"}))
    model = load_model(tmp_path / "whole", device="cpu")
    (tmp_path / "videos").mkdir()
    clips.write(tmp_path / "videos" / "wide.mp4", count=30, size=(120, 40))
    dataset = fo.Dataset.from_videos_dir(str(tmp_path / "videos"))
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    sample = dataset.first()
    stored = run.get_embeddings([sample.id])[0][0]
    assert np.allclose(Clip2VideoModel(model).embed(sample.filepath), stored, atol=1e-5)
    compute_frames(run, dataset)
    _, vectors = frames_of(run).read(sample.id)
    mean = vectors.mean(axis=0) / np.linalg.norm(vectors.mean(axis=0))
    assert np.allclose(mean, stored[: len(stored) // 2] * np.sqrt(2), atol=2e-3)  # float16
    pixels = read_frames(sample.filepath, size=model.config.image_size).pixels
    assert model.encode_frames([pixels]).vector[0].numpy() @ stored < 0.99
    dataset.delete()


def test_a_long_video_has_frames_every_second_or_so(model, tmp_path):
    clips.write(tmp_path / "long.mp4", count=300, rate=10)
    dataset = fo.Dataset.from_videos_dir(str(tmp_path))
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    assert compute_frames(run, dataset) == 48  # four windows of twelve
    found = timeline(run, dataset.first(), "a red square")
    assert np.diff(found.times).max() < 1.5
    assert found.times[-1] > 28
    dataset.delete()


@pytest.mark.parametrize("scores", [[0.6, 0.615, 0.61, 0.6, 0.61, 0.2], [0.4444], [-0.2004, -0.2003], [0.1, 0.1]])
def test_the_threshold_that_is_offered_has_a_moment(scores):
    curve = Timeline(np.arange(len(scores), dtype=float), np.asarray(scores, np.float32), float(len(scores)))
    assert curve.moments(curve.threshold())


def test_moments_are_the_stretches_above_the_threshold():
    found = Timeline(np.array([0.0, 1, 2, 3, 4]), np.array([0.1, 0.8, 0.9, 0.2, 0.7], np.float32), 5.0)
    assert found.moments(0.6) == [Span(0.5, 2.5, pytest.approx(0.9)), Span(3.5, 5.0, pytest.approx(0.7))]
    assert found.moments(0.05) == [Span(0.0, 5.0, pytest.approx(0.9))]
    assert found.moments(1.0) == []


def test_moments_become_temporal_detections_and_clips(three):
    dataset, run = three
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


def frames_of(run):
    return FrameIndex.open(run.config.uri, run.frames_table)


def test_frames_of_one_video_leave_those_of_the_others_to_be_computed(three):
    dataset, run = three
    first, second, _ = dataset
    compute_frames(run, dataset.limit(1))
    assert timeline(run, second, QUERY) is None
    with pytest.raises(Clip2VideoError, match="have not been embedded; compute them first"):
        mark_moments(dataset, run, second.id, QUERY, -1.0)
    compute_frames(run, dataset.select(second.id))
    assert [len(timeline(run, sample, QUERY).times) for sample in (first, second)] == [12, 12]
    assert len(mark_moments(dataset, run, second.id, QUERY, -1.0)) == 1


def test_a_reader_sees_the_old_frames_or_the_new_and_never_none(three):
    dataset, run = three
    video = dataset.first().id
    compute_frames(run, dataset)
    times, vectors = frames_of(run).read(video)
    seen, done = [], threading.Event()

    def look():
        while not done.is_set():
            seen.append(len(frames_of(run).read(video)[0]))

    with ThreadPoolExecutor() as pool:
        looking = pool.submit(look)
        for n in range(20):
            frames_of(run).write(video, times[: 12 - n % 2], vectors[: 12 - n % 2], (1, 1.0))
        done.set()
        looking.result()
    assert set(seen) <= {11, 12}
    assert len(seen) > 5


def test_frames_that_are_computed_again_and_again_take_twice_their_room_at_most(three):
    dataset, run = three
    video = dataset.first().id
    compute_frames(run, dataset)
    times, vectors = frames_of(run).read(video)
    index = frames_of(run)
    for n in range(100):
        index.write(f"{video} {n % 30}", times, vectors, (n, 1.0))
    folder = Path(run.config.uri) / f"{run.frames_table}.lance"
    assert len(times) * 33 == index._table.count_rows()
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    assert (
        size < 2 * index._table.stats()["total_bytes"] + upkeep.SLACK
    )  # 100 commits of 71 KB and more are six times that


def test_a_changed_file_has_no_curve_until_its_frames_are_computed_anew(three):
    dataset, run = three
    first, second, _ = dataset
    compute_frames(run, dataset)
    assert timeline(run, first, QUERY) is not None
    shutil.copy(second.filepath, first.filepath)
    assert timeline(run, first, QUERY) is None
    compute_frames(run, dataset.limit(1))
    assert timeline(run, first, QUERY).scores.tolist() == timeline(run, second, QUERY).scores.tolist()
    clips.write(first.filepath, count=50, rate=10)  # of a longer one the metadata are another's, too
    compute_frames(run, dataset.limit(1))
    assert timeline(run, first, QUERY).duration == pytest.approx(5.0, abs=0.3)
    assert mark_moments(dataset, run, first.id, QUERY, -1.0).values("support") == [[1, 50]]
    assert dataset[first.id].metadata.duration == pytest.approx(5.0)


def test_a_table_of_before_the_stamp_is_taken_for_old_and_can_be_written_to(three):
    dataset, run = three
    sample = dataset.first()
    compute_frames(run, dataset.limit(1))
    frames_of(run)._table.drop_columns(["size", "mtime"])
    assert timeline(run, sample, QUERY) is None
    compute_frames(run, dataset.limit(1))
    assert len(timeline(run, sample, QUERY).times) == 12


def test_frames_by_another_model_are_none_and_are_replaced(three):
    dataset, run = three
    other = replace(run.table.provenance, sha256="0" * 64)
    sample = dataset.first()
    old = FrameIndex.create(run.config.uri, 8, other, run.frames_table)
    old.write(sample.id, [0.0], np.zeros((1, 8), np.float32), file_stamp(Path(sample.filepath)))
    assert timeline(run, sample, QUERY) is None
    compute_frames(run, dataset.limit(1))
    assert len(timeline(run, sample, QUERY).times) == 12


def test_a_video_that_cannot_be_read_does_not_keep_the_others_from_theirs(three, caplog):
    dataset, run = three
    bad = dataset.first()
    with open(bad.filepath, "wb") as file:
        file.write(b"no video")
    assert compute_frames(run, dataset) == 24
    assert f"cannot read {bad.filepath}" in caplog.text
    with pytest.raises(Clip2VideoError, match="cannot read"):
        compute_frames(run, dataset.limit(1))


def test_two_at_once_leave_the_frames_once(three):
    dataset, run = three
    with ThreadPoolExecutor() as pool:
        counts = list(pool.map(lambda _: compute_frames(run, dataset), range(3)))
    assert counts == [36, 36, 36]
    assert frames_of(run)._table.count_rows() == 36


def test_a_sample_without_metadata_has_a_curve_and_moments(three):
    dataset, run = three
    dataset.set_values("metadata", [None] * 3)
    compute_frames(run, dataset)
    sample = dataset.first()
    assert timeline(run, sample, QUERY).duration == pytest.approx(3.0, abs=0.13)
    assert mark_moments(dataset, run, sample.id, QUERY, -1.0).values("support") == [[1, 24]]
    dataset.reload()
    assert dataset.first().metadata.total_frame_count == 24


def test_a_deleted_sample_has_no_moments(three):
    dataset, run = three
    compute_frames(run, dataset)
    gone = dataset.first().id
    dataset.delete_samples(gone)
    with pytest.raises(Clip2VideoError, match=f"sample {gone} is no video of dataset .*; select another"):
        mark_moments(dataset, run, gone, QUERY, -1.0)


def test_moments_of_a_folder_of_frames_count_its_images(three, model, tmp_path):
    videos, _ = three
    extract_frames([Path(path) for path in videos.values("filepath")], tmp_path / "frames", fps=4)
    folders = sorted(path for path in (tmp_path / "frames").iterdir() if path.is_dir())
    dataset = fo.Dataset()
    dataset.add_samples(
        [fo.Sample(filepath=str(next(f.glob("*.jpg"))), frames_dir=str(f), captions=["x"]) for f in folders]
    )
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "folders", progress=False)
    compute_frames(run, dataset)
    sample = dataset.first()
    assert len(timeline(run, sample, QUERY).times) == 12
    found = mark_moments(dataset, run, sample.id, QUERY, -1.0)
    assert found.values("id") == [sample.id]
    images = len(list(folders[0].glob("*.jpg")))
    assert found.first()["c2v_moments"].detections[0].support == [1, images]
    os.remove(next(folders[0].glob("*.jpg")))
    assert timeline(run, sample, QUERY) is None
    dataset.delete()


def test_deleting_the_run_drops_its_frames(three):
    dataset, run = three
    compute_frames(run, dataset.limit(1))
    uri, table = run.config.uri, run.frames_table
    dataset.delete_brain_run("c2v")
    assert FrameIndex.open(uri, table) is None


def test_the_picture_of_a_time(world):
    path = sorted(world[0].glob("*.mp4"))[0]
    first, last = (picture(str(path), time) for time in (0.0, 2.9))
    assert first.startswith("data:image/jpeg;base64,")
    assert first != last
