"""Moments of all hits at once: where in each video, as temporal detections, clips and pictures."""

import os
import shutil
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from PIL import Image

from benchmarks.stories import set_c
from clip2video_plugin import Query, compute_clip2video
from clip2video_plugin.app import plugin
from clip2video_plugin.app.marking import mark_all
from clip2video_plugin.app.moments import mark_moments, timeline, timelines
from clip2video_plugin.app.operators.forms import URI
from clip2video_plugin.app.search import find
from clip2video_plugin.errors import Clip2VideoError

from .told import dataset_of, write_all

RATE = 6


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Three stories of five scenes each, as files."""
    folder, stories = tmp_path_factory.mktemp("told") / "videos", set_c(3, seed=8)
    write_all(stories, folder)
    return folder, stories


@pytest.fixture
def dataset(told, model, tmp_path):
    """A dataset of them, with windows beside the run's vectors."""
    shutil.copytree(told[0], tmp_path / "videos")
    dataset = dataset_of(tmp_path / "videos", model, tmp_path / "index")
    yield dataset
    dataset.delete()


@pytest.fixture
def run(dataset):
    return dataset.load_brain_results("c2v")


def story_of(dataset, sample_id, told):
    return told[1][int(Path(dataset[sample_id].filepath).stem)]


def test_the_curves_of_the_best_hits_are_read_at_once_and_reach_their_scores(dataset, run, told):
    found = find(dataset, Query(told[1][0].captions[2], k=3, moments=True), brain_key="c2v")
    curves = timelines(run, told[1][0].captions[2], found.ids)
    assert list(curves) == found.ids
    for hit in found.result:
        curve = curves[hit.id]
        assert curve.scores.max() == pytest.approx(hit.moments[0].score, abs=1e-5)
        assert curve.duration == pytest.approx(told[1][0].duration if hit.rank == 1 else curve.times[-1], abs=1)
        assert tuple(curve.moments(curve.curve.threshold)) == hit.moments
        assert curve.moments(curve.threshold())[0] == hit.moments[0]
    assert timelines(run, "a red square", []) == {}
    assert timelines(run, "a red square", ["0" * 24]) == {}
    alternatives = Query((told[1][0].captions[2], "a thing moves"), how="max")
    assert (
        timelines(run, alternatives, found.ids[:1])[found.ids[0]].scores >= curves[found.ids[0]].scores - 1e-6
    ).all()


def test_of_a_query_like_a_video_the_curve_says_where_it_is_like_it(dataset, run):
    first, second = list(dataset)[:2]
    curves = timelines(run, Query(like=first.id), [first.id, second.id])
    vector = run.get_embeddings([first.id])[0][0]
    for one in (first.id, second.id):
        _, windows = run.table.windows().windows_by_video([one])[one]
        assert curves[one].scores.max() == pytest.approx((windows @ vector).max(), abs=1e-5)


def test_a_changed_file_has_no_curve(dataset, run):
    first, second = list(dataset)[:2]
    assert timeline(run, first, "a red square") is not None
    shutil.copy(second.filepath, first.filepath)
    assert timeline(run, first, "a red square") is None
    assert list(timelines(run, "a red square", [first.id, second.id])) == [second.id]


def test_the_moments_of_all_hits_are_detections_and_clips_with_a_picture_each(dataset, run, told):
    story = told[1][1]
    clips = mark_all(dataset, run, story.captions[2], k=3)
    best = next(s for s in dataset if s.filepath.endswith("1.mp4"))
    assert clips.first().sample_id == best.id
    start, end = story.spans[2]
    first, last = clips.first().support
    assert abs(first - (start * RATE + 1)) <= RATE
    assert abs(last - end * RATE) <= RATE
    marked = {s.id: s["c2v_moments"].detections for s in dataset if s["c2v_moments"]}
    assert len(marked) == 3
    assert len(clips) == sum(map(len, marked.values()))
    assert {d.label for found in marked.values() for d in found} == {story.captions[2]}
    # in the grid each clip has the picture of its own middle, and no sample of the dataset is changed by it
    pictures = clips.values("c2v_thumbnail")
    assert len(set(pictures)) == len(clips)
    assert dataset.values("c2v_thumbnail") == [None] * 3
    assert dataset.app_config.grid_media_field == "c2v_thumbnail"
    shown = np.asarray(Image.open(pictures[0]), float)
    frame, _ = story.frames(96)
    middles = [np.abs(np.asarray(Image.fromarray(f).resize(shown.shape[1::-1])) - shown).mean() for f in frame]
    assert first - 1 <= int(np.argmin(middles)) < last
    again = (
        fo.load_dataset(dataset.name).view()._build(dataset, clips._serialize())
    )  # as the App makes it of its stages
    assert again.values("c2v_thumbnail") == pictures


def test_marking_again_replaces_moments_and_pictures(dataset, run, told, tmp_path):
    mark_all(dataset, run, told[1][0].captions[0])
    mark_all(dataset, run, told[1][0].captions[4])
    detections = [d for s in dataset for d in s["c2v_moments"].detections]
    assert {d.label for d in detections} == {told[1][0].captions[4]}
    folder = tmp_path / "index" / "thumbnails" / run.config.table_name
    assert sorted(os.listdir(folder)) == sorted(os.path.basename(d["thumbnail"]) for d in detections)
    dataset.delete_brain_run("c2v")
    assert not folder.exists()


def test_pictures_that_cannot_be_kept_are_said_so_in_a_line(dataset, run, tmp_path):
    (tmp_path / "index" / "thumbnails").write_text("no folder")
    with pytest.raises(Clip2VideoError, match=r"cannot keep pictures in .*; leave out thumbnails"):
        mark_all(dataset, run, "a red square")
    assert len(mark_all(dataset, run, "a red square", thumbnails=False)) >= 3


def test_only_the_hits_of_a_view_are_marked(dataset, run, told):
    view = dataset.limit(1)
    mark_all(view, run, Query(told[1][0].captions[0], k=5), thumbnails=False)
    assert [bool(s["c2v_moments"]) for s in dataset] == [True, False, False]
    assert "c2v_thumbnail" not in dataset.get_field_schema()


def test_what_was_found_is_marked_without_another_search(dataset, run, told):
    query = Query(told[1][2].captions[1], k=1, moments=True)
    clips = mark_all(dataset, run, find(dataset, query, brain_key="c2v").result)
    assert set(map(str, clips.values("sample_id"))) == {clips.first().sample_id}
    without = find(dataset, Query("a red square"), brain_key="c2v").result
    with pytest.raises(Clip2VideoError, match="these hits have no moments; search with moments=True"):
        mark_all(dataset, run, without)


def test_a_video_that_is_gone_keeps_no_other_from_its_moments(dataset, run, told, caplog):
    gone = next(s for s in dataset if s.filepath.endswith("2.mp4"))
    os.remove(gone.filepath)
    dataset.clear_sample_field("metadata")
    clips = mark_all(dataset, run, told[1][0].captions[0])
    assert gone.id not in clips.values("sample_id")
    assert len(set(clips.values("sample_id"))) == 2
    assert "does not say its frames per second" in caplog.text


def test_one_video_is_marked_by_its_windows_too(dataset, run, told):
    sample = next(s for s in dataset if s.filepath.endswith("0.mp4"))
    found = timeline(run, sample, told[1][0].captions[1])
    clips = mark_moments(dataset, run, sample.id, told[1][0].captions[1], found.threshold())
    first, last = clips.first().support
    start, end = told[1][0].spans[1]
    assert abs(first - start * RATE) <= RATE
    assert abs(last - end * RATE) <= RATE
    with pytest.raises(Clip2VideoError, match=r"no window scores 2\.000 or more"):
        mark_moments(dataset, run, sample.id, "a red square", 2.0)


def test_a_run_without_windows_says_how_to_get_them(told, model, tmp_path):
    dataset = fo.Dataset.from_videos_dir(str(told[0]))
    run = compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    with pytest.raises(Clip2VideoError, match=r"'c2v' has no windows.*windows=\"auto\""):
        mark_all(dataset, run, "a red square")
    dataset.delete()


def test_the_operator_marks_the_hits_of_a_view(dataset, run, told):
    plugin.install()
    mark, delete = (foo.get_operator(f"{URI}/{name}") for name in ("mark_moments", "delete_index"))
    sentence = told[1][0].captions[2]
    expected = mark_all(dataset.limit(2), run, sentence)
    assert mark(dataset.limit(2), sentence, brain_key="c2v") == {"moments": len(expected), "videos": 2}
    assert mark(dataset, sentence, k=1, thumbnails=False)["videos"] == 1
    delete(dataset, "c2v")
    dataset.reload()
    assert "c2v_thumbnail" not in dataset.get_field_schema()
    assert (dataset.app_config.grid_media_field, dataset.app_config.media_fields) == ("filepath", ["filepath"])
    plugin.uninstall()
