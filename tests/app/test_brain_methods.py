"""FiftyOne Brain's methods with our index, beside the same with its own index of the same vectors."""

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone.brain.similarity import DuplicatesMixin
from lancedb.background_loop import BackgroundEventLoop

from clip2video_plugin.app.brain import compute_clip2video
from clip2video_plugin.app.neighbours import Neighbours


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    """24 videos of which 3 have a near copy and one an exact one, in two splits."""
    folder = tmp_path_factory.mktemp("dataset")
    dataset = fo.Dataset()
    paths = sorted(world[0].glob("*.mp4"))
    copies = [folder / f"copy{i}.mp4" for i in range(4)]
    for copy, path in zip(copies, paths, strict=False):
        copy.symlink_to(path)
    dataset.add_samples([fo.Sample(filepath=str(path), tags=["train"]) for path in paths])
    dataset.add_samples([fo.Sample(filepath=str(path), tags=["test"]) for path in copies])
    run = compute_clip2video(dataset, model=model, brain_key="k1", index=folder / "index", progress=False)
    vectors, ids, _ = run.get_embeddings(dataset.values("id"))
    noise = np.random.default_rng(0).normal(size=vectors.shape) * 0.02 / np.sqrt(vectors.shape[1])
    for i in (24, 25, 26):
        vectors[i] += noise[i]
        vectors[i] /= np.linalg.norm(vectors[i])
    run.add_to_index(vectors, ids)
    fob.compute_similarity(dataset, brain_key="sk", embeddings=vectors.copy(), backend="sklearn")
    yield dataset
    fo.delete_dataset(dataset.name)


@pytest.fixture
def ours(dataset):
    return dataset.load_brain_results("k1")


def test_adding_asks_lancedb_as_often_for_many_rows_as_for_few(ours, dataset, monkeypatch):
    asked, real = [], BackgroundEventLoop.run  # each question to LanceDB runs here
    monkeypatch.setattr(BackgroundEventLoop, "run", lambda self, future: (asked.append(1), real(self, future))[1])
    counts = []
    for ids in (dataset.values("id")[:2], dataset.values("id")[:24]):
        vectors, found, _ = ours.get_embeddings(ids)
        asked.clear()
        ours.add_to_index(vectors, list(found))
        counts.append(len(asked))
    assert counts[0] == counts[1] < 30


@pytest.fixture
def theirs(dataset):
    # anew each time: FiftyOne's index takes the mean from its vectors in place, and again from those of a view
    return dataset.load_brain_results("sk", cache=False)


def test_exact_copies_are_not_unique_and_all_values_are_those_of_fiftyones_index(dataset, theirs):
    fob.compute_uniqueness(dataset, similarity_index="k1", uniqueness_field="ours")
    fob.compute_uniqueness(dataset, similarity_index=theirs, uniqueness_field="theirs")
    np.testing.assert_allclose(dataset.values("ours"), dataset.values("theirs"), atol=1e-4)
    assert max(dataset[24:].values("ours")) < 1


def test_representativeness_is_that_of_fiftyones_index(dataset, theirs):
    fob.compute_representativeness(dataset, similarity_index="k1", representativeness_field="ours_r")
    fob.compute_representativeness(dataset, similarity_index=theirs, representativeness_field="theirs_r")
    np.testing.assert_allclose(dataset.values("ours_r"), dataset.values("theirs_r"), atol=1e-5)


@pytest.mark.parametrize("thresh", [1e-5, 0.02, 0.2, 0.5, 0.9])
def test_duplicates_within_a_distance_are_those_of_fiftyones_index(dataset, ours, theirs, thresh):
    for index in (ours, theirs):
        index.find_duplicates(thresh=thresh)
    assert sorted(ours.duplicate_ids) == sorted(theirs.duplicate_ids)
    assert sorted(ours.unique_ids) == sorted(theirs.unique_ids)
    ids = dataset.values("id")
    if thresh == 0.02:
        assert sorted(ours.duplicate_ids) == ids[24:]
        nearest = {dup: kept for kept, dups in ours.neighbors_map.items() for dup, _ in dups}
        assert nearest == dict(zip(ids[24:], ids[:4], strict=True))
        view = ours.duplicates_view(type_field="kind", id_field="near", dist_field="dist")
        assert view.values("kind") == ["nearest", "duplicate"] * 4
        assert max(view.values("dist")) < 0.02


def test_fractions_and_counts_are_met_by_the_samples_that_fiftyones_index_takes(ours, theirs):
    for index in (ours, theirs):
        index.find_duplicates(fraction=0.25)
    assert (len(ours.duplicate_ids), sorted(ours.duplicate_ids)) == (7, sorted(theirs.duplicate_ids))
    for index in (ours, theirs):
        index.find_unique(9)
    assert (len(ours.unique_ids), sorted(ours.unique_ids)) == (9, sorted(theirs.unique_ids))
    assert ours.thresh == theirs.thresh
    assert len(ours.unique_view()) == 9


def test_near_duplicates_and_leaks_between_splits_are_found(dataset, ours):
    ids = dataset.values("id")
    assert isinstance(ours, DuplicatesMixin)
    found = fob.compute_near_duplicates(dataset, threshold=0.02, similarity_index="k1")
    assert sorted(found.duplicate_ids) == ids[24:]
    leaks = fob.compute_leaky_splits(dataset, splits=["train", "test"], threshold=0.02, similarity_index="k1")
    assert sorted(leaks.leaks_view().values("id")) == sorted(ids[:4] + ids[24:])
    assert len(leaks.no_leaks_view()) == 20


def test_a_view_is_compared_within_itself(dataset, ours, theirs):
    view = dataset[2:26]
    for index in (ours, theirs):
        with index.use_view(view):
            index.find_duplicates(thresh=0.3)
    assert sorted(ours.duplicate_ids) == sorted(theirs.duplicate_ids)
    assert set(ours.duplicate_ids + ours.unique_ids) == set(view.values("id"))


def test_neighbours_of_all_and_of_ids_are_those_of_fiftyones_index(dataset, ours, theirs):
    for k in (1, 5):
        (found, near), (expected, distances) = (index._kneighbors(k=k, return_dists=True) for index in (ours, theirs))
        np.testing.assert_allclose(np.array(near), np.array(distances), atol=1e-5)
        assert np.mean([set(a) == set(b) for a, b in zip(found, expected, strict=True)]) > 0.9  # ties
    ids = dataset.values("id")[5:8]
    found, _, near = ours._kneighbors(query=ids, k=4, return_dists=True)
    expected, _, distances = theirs._kneighbors(query=ids, k=4, return_dists=True)
    assert found == expected
    np.testing.assert_allclose(near, distances, atol=1e-5)
    one, _, near = ours._kneighbors(query=ids[0], k=4, return_dists=True)
    assert (one, near == sorted(near)) == (found[0], True)
    assert {len(some) for some in ours._kneighbors()} == {27}


def test_distances_of_an_aggregate_are_cosine_distances_and_the_field_of_a_query_holds_scores(dataset, ours):
    vectors = ours.get_embeddings()[0]
    query = np.random.default_rng(1).normal(size=(3, vectors.shape[1])).astype(np.float32)
    mean = query.mean(axis=0)
    cosine = vectors @ mean / np.linalg.norm(mean)
    found, _, distances = ours._kneighbors(query=query, k=28, aggregation="mean", return_dists=True)
    np.testing.assert_allclose(distances, np.sort(1 - cosine), atol=1e-5)
    view = ours.sort_by_similarity(query, k=28, dist_field="told")
    np.testing.assert_allclose(view.values("told"), np.sort(vectors @ mean)[::-1], atol=1e-5)
    assert view.values("id") == found


def test_the_plot_of_distances_is_drawn(ours):
    assert sum(ours.plot_distances(bins=5).data[0].y) == 28


def test_deleted_samples_are_compared_with_nothing(dataset):
    clone = dataset.clone()
    run = clone.load_brain_results("k1")
    clone.delete_samples(clone[24:].values("id"))
    run.find_duplicates(thresh=0.02)
    assert (run.duplicate_ids, len(run.unique_ids)) == ([], 24)
    clone.delete_samples(clone[4:].values("id"))
    fob.compute_uniqueness(clone, similarity_index="k1", uniqueness_field="few")
    assert max(clone.values("few")) == 1
    fo.delete_dataset(clone.name)


def test_videos_that_are_all_alike_are_copies():
    of = Neighbours.of(np.array(["a", "b"]), np.ones((2, 4), np.float32))
    (first, _) = of.between(np.arange(2), np.arange(2))
    assert (np.isnan(first[0]), first[1]) == (True, 0)
