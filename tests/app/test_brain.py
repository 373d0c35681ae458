"""The brain method and its similarity backend, on a real mongod and a real LanceDB."""

import os
import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video, embed_videos
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError, VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.shapes import caption

KEY = "c2v"
# Runs in the processes that decode.
CRASHES = """
import av, ctypes

def opening(source, *args, _open=av.open, **kwargs):
    if str(source).endswith("/crashes.mp4"):
        ctypes.string_at(8)
    return _open(source, *args, **kwargs)

av.open = opening
"""


@pytest.fixture
def dataset(world):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder)
    yield dataset
    dataset.delete()


@pytest.fixture
def indexed(dataset, model, tmp_path):
    compute_clip2video(dataset, model=model, brain_key=KEY, index=tmp_path / "index", progress=False)
    return dataset


def names(view):
    return [path.rsplit("/", 1)[1] for path in view.values("filepath")]


def test_a_sentence_finds_its_video(indexed, world):
    found = 0
    for number, scene in enumerate(world[1]):
        view = indexed.sort_by_similarity(caption(scene), k=5, brain_key=KEY)
        assert len(view) == 5
        found += names(view)[0] == f"{number:05d}.mp4"
    assert found >= 18


def test_the_distance_field_shows_the_scores(indexed, world):
    view = indexed.sort_by_similarity(caption(world[1][0]), k=4, brain_key=KEY, dist_field="score")
    scores = view.values("score")
    assert scores == sorted(scores, reverse=True)
    assert -1.01 <= min(scores) <= max(scores) <= 1.01
    assert indexed.exists("score").count() == 4


def test_least_similar_first_when_reversed(indexed, world):
    query = caption(world[1][0])
    forward = names(indexed.sort_by_similarity(query, brain_key=KEY))
    backward = names(indexed.sort_by_similarity(query, brain_key=KEY, reverse=True))
    assert len(forward) == 24
    assert backward == forward[::-1]


def test_a_video_is_most_similar_to_itself(indexed):
    sample = indexed.skip(5).first()
    view = indexed.sort_by_similarity(sample.id, k=3, brain_key=KEY)
    assert view.first().id == sample.id


def test_a_view_restricts_the_search(indexed, world):
    view = indexed[3:9]
    found = view.sort_by_similarity(caption(world[1][0]), k=25, brain_key=KEY)
    assert sorted(found.values("id")) == sorted(view.values("id"))


def test_a_clips_view_is_ranked_by_its_videos(indexed, world):
    for sample in indexed:
        sample["events"] = fo.TemporalDetections(
            detections=[
                fo.TemporalDetection(label="half", support=[1, 12]),
                fo.TemporalDetection(label="half", support=[13, 24]),
            ]
        )
        sample.save()
    clips = indexed.to_clips("events")
    query = caption(world[1][4])
    found = clips.sort_by_similarity(query, k=6, brain_key=KEY)
    best = indexed.sort_by_similarity(query, k=3, brain_key=KEY).values("id")
    assert found.values("sample_id") == [i for i in best for _ in (0, 1)]


def test_metadata_comes_from_the_container(indexed):
    indexed.clear_sample_field("metadata")
    from clip2video_plugin.app import compute_video_metadata

    compute_video_metadata(indexed)
    metadata = indexed.first().metadata
    assert (metadata.frame_width, metadata.frame_height, metadata.frame_rate) == (96, 96, 8.0)
    assert (metadata.total_frame_count, metadata.duration) == (24, 3.0)


def test_samples_are_removed_and_added_again(indexed, world):
    results = indexed.load_brain_results(KEY)
    query = caption(world[1][0])
    sample = indexed.first()
    results.remove_from_index([sample.id])
    assert results.total_index_size == 23
    assert sample.id not in indexed.sort_by_similarity(query, brain_key=KEY).values("id")
    vectors, ids, _ = results.compute_embeddings(indexed, skip_existing=True)
    assert ids.tolist() == [sample.id]
    results.add_to_index(vectors, ids)
    results.add_to_index(vectors, ids)
    assert results.total_index_size == 24
    assert sample.id in indexed.sort_by_similarity(query, brain_key=KEY).values("id")


def test_calling_again_embeds_only_what_is_new(dataset, model, tmp_path):
    compute_clip2video(dataset[:10], model=model, brain_key=KEY, index=tmp_path / "index", progress=False)
    results = compute_clip2video(dataset, model=model, brain_key=KEY, index=tmp_path / "index", progress=False)
    assert results.total_index_size == 24
    before = results.get_embeddings()[0]
    compute_clip2video(dataset, model=model, brain_key=KEY, progress=False)
    np.testing.assert_array_equal(before, dataset.load_brain_results(KEY).get_embeddings()[0])


def test_a_run_keeps_to_its_sampling(dataset, model, tmp_path):
    options = {"model": model, "index": tmp_path / "index", "progress": False}
    run = compute_clip2video(dataset.limit(3), brain_key="paper", sampling="reference", **options)
    assert run.table.provenance.policy == "reference"
    again = compute_clip2video(dataset.limit(5), brain_key="paper", **options)  # its own, unasked
    assert (again.table.provenance.policy, again.total_index_size) == ("reference", 5)
    assert len(dataset.sort_by_similarity("a red square", k=2, brain_key="paper")) == 2
    with pytest.raises(VideoIndexError, match=r"brain key 'paper' was made with .* reference frames"):
        compute_clip2video(dataset, brain_key="paper", sampling="uniform", **options)


def test_videos_that_the_index_holds_are_not_embedded_again(dataset, model, world, tmp_path, monkeypatch):
    embed_videos([world[0]], index=tmp_path, model=model)

    def refuse(*args):
        raise AssertionError("encoded again")

    monkeypatch.setattr(type(model), "start_encoding", refuse)
    results = compute_clip2video(dataset, model=model, brain_key=KEY, index=tmp_path, progress=False)
    assert results.total_index_size == 24


def test_another_process_loads_and_queries_without_importing_the_project(indexed, world, tmp_path):
    indexed.persistent = True
    code = (
        "import fiftyone as fo, sys\n"
        "dataset = fo.load_dataset(sys.argv[1])\n"
        "assert not any(name.startswith('clip2video') for name in sys.modules)\n"
        "print(dataset.sort_by_similarity(sys.argv[2], k=1, brain_key='c2v').first().filepath)\n"
    )
    query = caption(world[1][7])
    expected = indexed.sort_by_similarity(query, k=1, brain_key=KEY).first().filepath
    done = subprocess.run(
        [sys.executable, "-c", code, indexed.name, query], capture_output=True, text=True, cwd=tmp_path, timeout=200
    )
    assert done.stdout.strip().endswith(expected), done.stderr


def test_deleting_the_run_drops_its_table(indexed):
    config = indexed.get_brain_info(KEY).config
    indexed.delete_brain_run(KEY)
    with pytest.raises(Clip2VideoError):
        VideoIndex.open(config.uri, table=config.table_name)


def test_a_sample_deleted_from_the_dataset_is_no_hit(indexed, world):
    query = caption(world[1][0])
    best = indexed.sort_by_similarity(query, k=1, brain_key=KEY).first()
    indexed.delete_samples([best.id])
    assert best.id not in indexed.sort_by_similarity(query, k=25, brain_key=KEY).values("id")


def test_a_broken_video_is_left_out(dataset, model, tmp_path, caplog):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    dataset.add_sample(fo.Sample(filepath=str(broken)))
    results = compute_clip2video(dataset, model=model, brain_key=KEY, index=tmp_path / "index", progress=False)
    assert results.total_index_size == 24
    assert "broken.mp4" in caplog.text


def test_images_are_refused(tmp_path, model):
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "a.jpg")))
    with pytest.raises(Clip2VideoError, match="image"):
        compute_clip2video(dataset, model=model, brain_key=KEY, index=tmp_path)


def test_a_key_of_another_kind_of_run_is_refused(dataset, model, tmp_path):
    import fiftyone.brain as fob

    fob.compute_similarity(dataset, brain_key="other", embeddings=np.random.rand(24, 8), backend="sklearn")
    with pytest.raises(Clip2VideoError, match="taken"):
        compute_clip2video(dataset, model=model, brain_key="other", index=tmp_path)


def test_fiftyones_own_calls_take_the_model(dataset, model):
    from clip2video_plugin.app import Clip2VideoModel

    vectors = dataset[:2].compute_embeddings(Clip2VideoModel(model))
    assert np.asarray(vectors).shape == (2, model.config.vector_dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_metadata_of_many_videos_comes_in_order_and_survives_its_worker(world, tmp_path, monkeypatch):
    from clip2video_plugin.app import metadata

    paths = [*sorted(world[0].glob("*.mp4")), tmp_path / "gone \udcff.mp4"]
    expected = [m and m.size_bytes for m in metadata.metadata_of(paths)]
    assert expected[-1] is None
    monkeypatch.setattr(metadata, "FEW", 1)
    assert [m and m.size_bytes for m in metadata.metadata_of(paths)] == expected
    monkeypatch.setattr(metadata.sys, "executable", "/bin/false")
    assert [m and m.size_bytes for m in metadata.metadata_of(paths)] == expected


def test_a_video_that_crashes_its_decoder_is_left_out(dataset, model, tmp_path, monkeypatch, caplog):
    (tmp_path / "sitecustomize.py").write_text(CRASHES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "crashes.mp4").write_bytes(Path(dataset.first().filepath).read_bytes())
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "crashes.mp4")))
    run = compute_clip2video(
        dataset, model=model, brain_key=KEY, index=tmp_path / "index", isolate=True, progress=False
    )
    assert run.total_index_size == len(dataset) - 1
    assert "crashes.mp4: its decoder crashed (SIGSEGV)" in caplog.text
    assert [Path(path).name for path in dataset.match({"metadata": None}).values("filepath")] == ["crashes.mp4"]
