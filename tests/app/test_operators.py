"""Operators from Python, as the App and delegated runs execute them: what they do, and what they refuse."""

import shutil
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionError

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app import plugin
from clip2video_plugin.app.operators.forms import URI
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.shapes import caption


@pytest.fixture(scope="module", autouse=True)
def _installed():
    plugin.install()
    yield
    plugin.uninstall()


@pytest.fixture
def dataset(world, tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_INDEX", str(tmp_path / "index"))
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder)
    yield dataset
    dataset.delete()


@pytest.fixture
def indexed(dataset, model, tmp_path):
    compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    return dataset


def operator(name):
    return foo.get_operator(f"{URI}/{name}")


def test_compute_embeddings_indexes_and_lists_what_it_could_not_read(dataset, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    dataset.add_sample(fo.Sample(filepath=str(broken)))
    result = operator("compute_embeddings")(dataset, brain_key="made", model="shapes", device="cpu")
    assert (result["brain_key"], result["indexed"], result["failed"]) == ("made", 24, 1)
    assert result["failures"].startswith(f"{broken}: ")
    view = dataset.limit(3)
    assert operator("compute_embeddings")(view, brain_key="part")["indexed"] == 3


def test_search_videos_orders_and_scores(indexed, world):
    sentence = caption(world[1][5])
    result = operator("search_videos")(indexed, sentence, brain_key="c2v", k=7)
    expected = indexed.sort_by_similarity(sentence, k=7, brain_key="c2v")
    assert result["ids"] == expected.values("id")
    assert (result["shown"], result["searched"]) == (7, 24)


def test_a_search_keeps_its_scores_while_another_is_made(indexed, world):
    first, second = (find(indexed, caption(world[1][n]), k=k) for n, k in ((5, 7), (6, 3)))
    again = find(indexed, caption(world[1][5]), k=2)
    for found in (first, second, again):
        assert found.view.values("id") == found.ids
        assert found.view.values(found.score_field) == found.scores
        assert found.view.bounds(found.score_field) == (found.scores[-1], found.scores[0])
    assert indexed.count("c2v_score") == 0  # nothing of a search stays in the dataset
    assert (first.new_field, second.new_field) == (True, False)


def test_w_shifts_a_search_from_alignment_to_appearance(indexed, world, model):
    sentence = caption(world[1][2])
    text = model.encode_captions([sentence])
    rows = dict(zip(*indexed.load_brain_results("c2v").get_embeddings()[:2][::-1], strict=True))
    for weight in (0.0, 0.3, 1.0):
        found = find(indexed, sentence, weight=weight, k=5)
        query = text.at_weight(weight)[0].numpy()
        assert found.scores == pytest.approx([float(query @ rows[i]) for i in found.ids], abs=1e-5)
        assert found.scores == sorted(found.scores, reverse=True)


def test_find_similar_videos_leaves_out_those_asked_with(indexed):
    ids = indexed.values("id")[:2]
    result = operator("find_similar_videos")(indexed, ids, brain_key="c2v", k=4)
    assert len(result["ids"]) == 4
    assert not set(ids) & set(result["ids"])


def test_evaluate_retrieval_gives_the_metrics_and_writes_fields(indexed):
    result = operator("evaluate_retrieval")(indexed, "c2v")
    assert result["t2v_R_at_1"] > 60
    assert result["v2t_MdR"] >= 1
    indexed.reload()
    assert indexed.count("c2v_worst_rank") == 24


def test_sample_frames_writes_a_folder_for_each_video(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_ROOTS", str(tmp_path))
    result = operator("sample_frames")(dataset.limit(3), tmp_path / "frames", fps=2)
    assert (result["videos"], result["failed"]) == (3, 0)
    assert len(list((tmp_path / "frames").glob("*/*.jpg"))) >= 15


def test_import_videos_makes_a_dataset(world, monkeypatch):
    monkeypatch.setenv("C2V_ROOTS", str(world[0]))
    result = operator("import_videos")("folder", world[0], "from-operator")
    assert (result["dataset"], result["videos"]) == ("from-operator", 24)
    assert fo.load_dataset("from-operator").persistent
    fo.delete_dataset("from-operator")


def test_index_info_and_delete_index(indexed, tmp_path):
    operator("search_videos")(indexed, "a red square", brain_key="c2v")
    facts = operator("index_info")(indexed, "c2v")
    assert (facts["videos"], facts["model"], facts["frames"]) == ("24 of 24", "shapes", "12, uniform")
    assert facts["place"] == str(tmp_path / "index")
    assert operator("delete_index")(indexed, "c2v") == {"deleted": "c2v"}
    indexed.reload()
    assert indexed.list_brain_runs() == []
    assert not indexed.has_field("c2v_score")
    assert len(indexed) == 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": " "}, "type what happens in the video"),
        ({"query": "x", "k": 0}, "k is 0; it must be a whole number that lies between 1 and 10000"),
        ({"query": "x", "weight": 2}, r"weight is 2; it must be a number that lies in \[0, 1\]"),
        ({"query": "x", "brain_key": "nope"}, "no brain key 'nope'; there are: c2v"),
        ({"like": ["0" * 24]}, "not in the index|1 ids are not"),
    ],
)
def test_searches_that_cannot_be_answered(indexed, arguments, message):
    with pytest.raises(Clip2VideoError, match=message):
        find(indexed, **{"query": None, **arguments})


@pytest.mark.parametrize("name", ["search_videos", "mark_moments"])
@pytest.mark.parametrize("line", ["--like /etc/passwd", "--like /etc/passwd@1-2", "a red square --bank /etc/passwd"])
def test_no_query_makes_an_operator_read_a_file_elsewhere(indexed, name, line):
    with pytest.raises(ExecutionError, match=r"file /etc/passwd.* is outside of what the App may use"):
        operator(name)(indexed, line)


def test_a_search_without_an_index_says_what_to_do(dataset):
    with pytest.raises(Clip2VideoError, match="has no CLIP2Video index; compute embeddings first"):
        find(dataset, "a red square")


def test_several_keys_must_be_told_apart(indexed, model, tmp_path):
    compute_clip2video(indexed, model=model, brain_key="second", index=tmp_path / "index", progress=False)
    with pytest.raises(Clip2VideoError, match="several brain keys; name one of c2v, second"):
        find(indexed, "a red square")
    assert find(indexed, "a red square", brain_key="second").ids == find(indexed, "a red square", brain_key="c2v").ids


def test_an_index_deleted_under_the_app_is_a_clear_message(indexed, tmp_path):
    find(indexed, "a red square")
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(Clip2VideoError, match="the vectors of brain key 'c2v' are gone"):
        find(indexed, "a red square")


def test_files_that_moved_are_named_and_still_found(indexed, tmp_path):
    first = indexed.first()
    first.filepath = str(tmp_path / "moved.mp4")
    first.save()
    found = find(indexed, first.captions[0], k=24)
    assert found.missing == [str(tmp_path / "moved.mp4")]
    assert len(found.ids) == 24


def test_saved_views_clips_views_and_grouped_slices_are_searched(indexed, world, model, tmp_path):
    indexed.save_view("some", indexed.limit(6))
    assert set(find(indexed.load_saved_view("some"), "a red square").ids) == set(indexed.limit(6).values("id"))
    sample = indexed.first()
    sample["moments"] = fo.TemporalDetections(detections=[fo.TemporalDetection(label="x", support=[1, 4])])
    sample.save()
    clips = indexed.to_clips("moments")
    found = find(clips, "a red square")
    assert found.ids == clips.values("id")
    assert found.view.values("c2v_score") == found.scores

    grouped = fo.Dataset()
    grouped.add_group_field("group", default="video")
    paths = sorted(Path(world[0]).glob("*.mp4"))[:4]
    for path in paths:
        group = fo.Group()
        grouped.add_samples(
            [
                fo.Sample(filepath=str(path), group=group.element("video")),
                fo.Sample(filepath=str(path.with_suffix(".png")), group=group.element("picture")),
            ]
        )
    compute_clip2video(grouped, model=model, brain_key="c2v", index=tmp_path / "index", progress=False)
    found = find(grouped, "a red square")
    assert sorted(found.view.values("filepath")) == [str(path) for path in paths]
    assert found.view.values("c2v_score") == found.scores
    grouped.delete()
