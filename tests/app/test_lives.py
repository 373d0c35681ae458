"""Clones, renamed keys, other processes, deleted samples: whose vectors a query reads."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import fiftyone as fo
import numpy as np
import pytest
import torch

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app.moments import compute_frames, timeline
from clip2video_plugin.app.search import find
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import QueryError, VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.checkpoint import load_model
from clip2video_plugin.model.installed import find_checkpoint
from clip2video_plugin.model.saving import save_checkpoint

QUERY = "a red square moves to the left"


@pytest.fixture
def folder(world_index, tmp_path):
    """An index that holds the videos already, so that a run takes their rows."""
    return shutil.copytree(world_index, tmp_path / "index")


@pytest.fixture
def dataset(world, folder, model):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, max_samples=10)
    compute(dataset, folder, model)
    yield dataset
    for name in fo.list_datasets():
        fo.delete_dataset(name)


def compute(samples, folder=None, model=None, key="k1"):
    return compute_clip2video(samples, model=model, brain_key=key, index=folder, progress=False)


def answer(dataset, key="k1", k=None, query=QUERY):
    """Paths in order, with scores."""
    view = dataset.sort_by_similarity(query, k=k, brain_key=key, dist_field="score")
    return list(zip(view.values("filepath"), np.round(view.values("score"), 5).tolist(), strict=True))


def table_of(dataset, key="k1"):
    return dataset.get_brain_info(key).config.table_name


# Whose a table is


def test_the_name_of_a_table_holds_neither_key_nor_dataset(dataset):
    for part in ("k1", dataset.name, str(dataset._doc.id)):
        assert part not in table_of(dataset)


def test_a_clone_reads_the_originals_vectors_and_does_not_delete_them(dataset):
    before, clone = answer(dataset), dataset.clone()
    assert answer(clone) == before
    clone.delete_brain_run("k1")
    assert answer(dataset) == before
    assert dataset.load_brain_results("k1").total_index_size == 10


def test_a_clone_that_writes_gets_a_table_of_its_own(dataset, world, folder, model):
    before, clone = answer(dataset, k=10), dataset.clone()
    clone.add_samples([fo.Sample(filepath=str(path)) for path in sorted(world[0].glob("*.mp4"))[10:]])
    compute(clone, model=model)
    assert len(answer(clone)) == 24
    assert answer(dataset, k=10) == before
    assert table_of(clone) != table_of(dataset)
    clone.load_brain_results("k1").remove_from_index(clone.values("id")[:5])
    clone.delete_brain_run("k1")
    assert answer(dataset, k=10) == before


def test_the_original_deleted_leaves_its_vectors_to_the_clone(dataset):
    before, clone = answer(dataset), dataset.clone()
    dataset.delete_brain_run("k1")
    assert answer(clone) == before


def test_curves_go_with_a_clone_and_are_its_own_once_it_adds_to_them(dataset):
    run, (first, second) = dataset.load_brain_results("k1"), dataset.values("id")[:2]
    compute_frames(run, dataset.select(first))
    curve, clone = timeline(run, dataset[first], QUERY), dataset.clone()
    copy = clone.load_brain_results("k1")
    assert timeline(copy, clone[first], QUERY).scores.tolist() == curve.scores.tolist()
    compute_frames(copy, clone.select(second))
    assert timeline(run, dataset[second], QUERY) is None
    dataset.delete_brain_run("k1")
    assert timeline(copy, clone[first], QUERY).scores.tolist() == curve.scores.tolist()
    assert timeline(copy, clone[second], QUERY) is not None


@pytest.mark.parametrize("kind", [fo.types.FiftyOneDataset, fo.types.LegacyFiftyOneDataset])
def test_an_import_reads_the_originals_vectors_and_does_not_touch_them(dataset, model, tmp_path, kind):
    before = answer(dataset)
    dataset.export(export_dir=str(tmp_path / "out"), dataset_type=kind, export_media=False)
    imported = fo.Dataset.from_dir(dataset_dir=str(tmp_path / "out"), dataset_type=kind)  # Legacy: with other ids
    assert answer(imported) == before
    imported.load_brain_results("k1").remove_from_index(imported.values("id")[:4])
    assert len(answer(imported)) == 6
    imported.delete_brain_run("k1")
    assert answer(dataset) == before


def test_a_renamed_key_and_its_successor_have_a_table_each(dataset, folder, model):
    before = answer(dataset)
    dataset.rename_brain_run("k1", "k2")
    compute(dataset[:4], folder, model)
    assert (len(answer(dataset)), answer(dataset, "k2")) == (4, before)
    dataset.delete_brain_run("k1")
    assert answer(dataset, "k2") == before
    dataset.delete_brain_run("k2")
    assert [name for name in VideoIndex.open(folder)._connection.table_names() if name.startswith("brain_")] == []


def test_a_run_stored_before_tables_had_owners_still_loads_and_its_clone_does_not_delete_it(dataset, folder, model):
    from clip2video_plugin.app.runs import get_db_conn
    from clip2video_plugin.index.tables import copy_table

    before, old = answer(dataset), f"brain_{dataset._doc.id}_k1"
    ids = dataset.values("id")
    copy_table(str(folder), table_of(dataset), old, dict(zip(ids, ids, strict=True)), {})
    get_db_conn().runs.update_one(
        {"_dataset_id": dataset._doc.id}, {"$set": {"config.table_name": old}, "$unset": {"config.owner": 1}}
    )
    dataset.reload()
    dataset.clear_cache()
    clone = dataset.clone()
    assert answer(dataset) == answer(clone) == before
    clone.delete_brain_run("k1")
    assert answer(dataset) == before
    dataset.delete_brain_run("k1")
    with pytest.raises(VideoIndexError):
        VideoIndex.open(folder, table=old)


# Other processes


SERVER = """
import json, sys
import fiftyone as fo
from clip2video_plugin import compute_clip2video
for line in sys.stdin:
    name, query, code = json.loads(line)
    dataset = fo.load_dataset(name)
    try:
        told = eval(code)
        told = told and [told.values("filepath"), told.values("told")]
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    print("ANSWER " + json.dumps(told), flush=True)
"""
ASK = "{}.sort_by_similarity(query, k=3, brain_key='k1', dist_field='told')"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Another process, which stays: what it loaded once it keeps."""
    models = tmp_path_factory.mktemp("models")
    patch = pytest.MonkeyPatch()
    patch.setenv("C2V_MODELS", str(models))
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(dataset, code):
        process.stdin.write(json.dumps([dataset.name, QUERY, code]) + "\n")
        process.stdin.flush()
        return next(json.loads(line[7:]) for line in process.stdout if line.startswith("ANSWER "))

    yield SimpleNamespace(ask=ask, models=models)
    process.stdin.close()
    process.wait(timeout=60)
    patch.undo()


def other_weights(model, name, folder):
    """A checkpoint of that name whose vectors are others."""
    loaded = load_model(model.name, device="cpu", precision="float32")
    with torch.no_grad():
        loaded.network.text.positional_embedding.mul_(0.2)
        loaded.network.image.positional_embedding.mul_(0.2)
    save_checkpoint(folder / name, loaded.network, loaded.tokenizer)
    return folder / name


def brute_force(dataset, model, samples, k=3):
    """Paths and scores of the best by the vectors of a model, made one by one."""
    from clip2video_plugin.app import Clip2VideoModel

    embed = Clip2VideoModel(model)
    query = embed.embed_prompt(QUERY)
    scores = {path: float(embed.embed(path) @ query) for path in samples.values("filepath")}
    best = sorted(scores, key=lambda path: -scores[path])[:k]
    return best, [scores[path] for path in best]


def agrees(told, expected):
    assert told[0] == expected[0], told
    np.testing.assert_allclose(told[1], expected[1], atol=2e-3)


def test_a_process_that_had_the_run_cached_notices_that_another_computed_it_anew(dataset, server, model, tmp_path):
    dataset.persistent = True
    everywhere, view = ASK.format("dataset"), ASK.format("dataset[:6]")
    agrees(server.ask(dataset, everywhere), brute_force(dataset, model, dataset))
    agrees(server.ask(dataset, view), brute_force(dataset, model, dataset[:6]))
    dataset.delete_brain_run("k1")
    assert "VideoIndexError: " in server.ask(dataset, everywhere)
    other = load_model(other_weights(model, "other", server.models))
    compute(dataset, tmp_path / "elsewhere", server.models / "other")
    agrees(server.ask(dataset, everywhere), brute_force(dataset, other, dataset))
    agrees(server.ask(dataset, view), brute_force(dataset, other, dataset[:6]))


def test_a_checkpoint_replaced_on_disk_is_refused_until_it_is_put_right(dataset, server, model, tmp_path):
    other = other_weights(model, "replaced", server.models)
    compute(dataset, tmp_path / "elsewhere", other, key="k2")
    run = dataset.load_brain_results("k2", cache=False)
    kept = shutil.move(other, tmp_path / "kept")
    shutil.copytree(find_checkpoint(model.name)[1], other)
    for _ in range(2):
        with pytest.raises(VideoIndexError, match="was made with"):
            run.sort_by_similarity(QUERY, k=3)
    shutil.rmtree(other)
    shutil.move(kept, other)
    view = run.sort_by_similarity(QUERY, k=3, dist_field="told")
    agrees((view.values("filepath"), view.values("told")), brute_force(dataset, load_model(other), dataset))


def test_a_key_that_another_process_renamed_is_not_taken_for_its_successor(dataset, server, folder, model):
    held, before = dataset.load_brain_results("k1"), answer(dataset)
    dataset.persistent = True
    assert server.ask(dataset, "dataset.rename_brain_run('k1', 'k2')") is None
    assert held.total_index_size == 10  # it follows
    compute_again = f"compute_clip2video(dataset[:4], brain_key='k1', index={str(folder)!r}, progress=False) and None"
    assert server.ask(dataset, compute_again) is None
    assert len(dataset.load_brain_results("k1").sample_ids) == 4
    dataset.reload()
    assert answer(dataset, "k2") == before
    compute(dataset, folder, model)
    assert len(answer(dataset)) == 10


# Deleted samples


def test_k_hits_come_as_long_as_k_samples_remain(dataset):
    order = [path for path, _ in answer(dataset)]
    dataset.delete_samples(dataset.match(fo.ViewField("filepath").is_in(order[:3])))
    run = dataset.load_brain_results("k1")
    assert [path for path, _ in answer(dataset, k=3)] == order[3:6]
    assert [path for path, _ in answer(dataset)] == order[3:]
    backward = dataset.sort_by_similarity(QUERY, k=7, reverse=True, brain_key="k1")
    assert backward.values("filepath") == order[:2:-1]
    view = dataset.match(fo.ViewField("filepath").is_in(order[4:9]))
    assert [path for path, _ in answer(view, k=5)] == order[4:9]
    found = find(dataset, QUERY, k=3)
    assert (found.view.values("filepath"), found.searched) == (order[3:6], 7)
    assert (run.total_index_size, run.index_size, len(run.sample_ids), len(run.get_embeddings()[0])) == (7, 7, 7, 7)
    with run.use_view(view):
        assert run.index_size == 5


def test_most_samples_deleted_leave_their_rows_out_of_every_answer(dataset, monkeypatch):
    from clip2video_plugin.app import ranking

    order = [path for path, _ in answer(dataset)]
    dataset.delete_samples(dataset.match(fo.ViewField("filepath").is_in(order[:8])))
    monkeypatch.setattr(ranking, "MAX_K", 4)  # of what may be asked for, more are dead
    assert [path for path, _ in answer(dataset, k=2)] == order[8:]


def test_computing_again_forgets_deleted_samples(dataset, folder, model):
    dataset.delete_samples(dataset[:4])
    assert VideoIndex.open(folder, table=table_of(dataset)).count() == 10
    run = compute(dataset, folder, model)
    assert VideoIndex.open(folder, table=table_of(dataset)).count() == run.total_index_size == 6


# Empty and impossible questions


def test_a_view_without_indexed_samples_has_an_empty_answer(dataset, world):
    dataset.add_sample(fo.Sample(filepath=str(sorted(world[0].glob("*.mp4"))[20]), tags=["new"]))
    for view in (dataset.match_tags("new"), dataset.match_tags("nowhere")):
        assert len(view.sort_by_similarity(QUERY, k=5, brain_key="k1")) == 0
        assert len(view.sort_by_similarity(QUERY, brain_key="k1", dist_field="first_told")) == 0
        assert find(view, QUERY, k=5).ids == []
    assert dataset.get_field_schema()["first_told"].__class__ is fo.FloatField


@pytest.mark.parametrize("k", [0, -3, 2.7, "2", 10**10, True, float("nan"), [5]])
def test_an_impossible_number_of_hits_is_one_error_everywhere(dataset, k):
    run, vector = dataset.load_brain_results("k1"), np.ones(256, np.float32)
    said = set()
    for ask in (
        lambda: dataset.sort_by_similarity(QUERY, k=k, brain_key="k1").first(),
        lambda: run.sort_by_similarity(QUERY, k=k),
        lambda: run.ranked(dataset, vector, k),
        lambda: run._kneighbors(query=vector, k=k, aggregation="mean"),
        lambda: run._kneighbors(k=k),
        lambda: find(dataset, QUERY, k=k),
        lambda: run.table.search(vector, k),
    ):
        with pytest.raises(QueryError) as refusal:
            ask()
        said.add(str(refusal.value))
    assert len(said) == 1
    assert "lies between 1 and 10000" in said.pop()


@pytest.mark.parametrize("weight", ["0.5", -0.1, 1.5, float("nan"), True])
def test_an_impossible_weight_is_refused(dataset, weight):
    with pytest.raises(QueryError, match=r"^weight is .* lies in \[0, 1\]$"):
        find(dataset, QUERY, weight=weight)


# Clips


@pytest.fixture
def clips(dataset):
    for sample in dataset[:2]:
        sample["events"] = fo.TemporalDetections(
            detections=[fo.TemporalDetection(label=str(i), support=[6 * i + 1, 6 * i + 6]) for i in range(4)]
        )
        sample.save()
    return dataset.to_clips("events")


def test_k_clips_come_of_few_videos(dataset, clips, folder, model):
    compute(dataset[:2], folder, model, key="two")  # fewer rows than clips
    for k in (8, 5, 1):
        found = clips.sort_by_similarity(QUERY, k=k, brain_key="two")
        assert (len(found), len(find(clips, QUERY, brain_key="two", k=k).ids)) == (k, k)
    best = [path for path, _ in answer(dataset[:2]) for _ in range(4)]
    assert clips.sort_by_similarity(QUERY, k=8, brain_key="two").values("filepath") == best


def test_a_clip_is_a_query_as_its_video(dataset, clips):
    clip = clips.skip(5).first()
    found = clips.sort_by_similarity(clip.id, k=8, brain_key="k1")
    assert set(found.values("sample_id")[:4]) == {clip.sample_id}
    others = find(clips, like=[clip.id], k=8)
    assert len(set(others.ids) - {clip.id}) == len(others.ids) == 7
    run = dataset.load_brain_results("k1")
    with run.use_view(clips):
        assert run.index_size == 2


def test_the_weights_of_a_replaced_model_are_not_those_of_the_run(dataset, model):
    run = dataset.load_brain_results("k1")
    run._model = type(run.get_model())(replace(model, sha256="0" * 64))
    assert run.get_model().model.sha256 == model.sha256
