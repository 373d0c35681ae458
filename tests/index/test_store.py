"""The LanceDB tables: exact ranking, filters, concurrency, what happens above the exact-scan limit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip2video_plugin.errors import VideoIndexError
from clip2video_plugin.index import Provenance, VideoIndex, default_uri, nearest, open_index, upkeep

MADE = Provenance("test", "a" * 64, "uniform", 12, "0")
DIM = 16


def row(number, vector, **more):
    base = {"id": f"v{number}", "sample_id": None, "path": f"/it's/{number}.mp4", "start": 0.0, "end": 2.0}
    return {**base, "duration": 2.0, "vector": vector, "captions": [], "size": 1, "mtime": 1.5, **more}


def unit(count, seed=0, dim=DIM):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path):
    index = VideoIndex.create(tmp_path, DIM, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(50))])
    return index


@given(seed=st.integers(0, 1000), k=st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_search_is_the_exact_dot_product_ranking(tmp_path_factory, seed, k):
    index = getattr(test_search_is_the_exact_dot_product_ranking, "index", None)
    if index is None:
        index = VideoIndex.create(tmp_path_factory.mktemp("exact"), DIM, MADE)
        index.write([row(i, v) for i, v in enumerate(unit(50))])
        test_search_is_the_exact_dot_product_ranking.index = index
    query = unit(1, seed + 1)[0] * 1.3
    scores = unit(50) @ query
    hits = index.search(query, k)
    assert [hit.id for hit in hits] == [f"v{i}" for i in np.argsort(-scores)[:k]]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:k], atol=1e-5)


def test_furthest_first(index):
    query = unit(1, 9)[0]
    hits = index.search(query, 5, furthest=True)
    scores = unit(50) @ query
    assert [hit.id for hit in hits] == [f"v{i}" for i in np.argsort(scores)[:5]]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[:5], atol=1e-5)


def test_ids_restrict_the_search(index):
    query = unit(1, 3)[0]
    hits = index.search(query, 50, ids=["v3", "v7", "it's not there"])
    assert {hit.id for hit in hits} == {"v3", "v7"}
    assert index.search(query, 5, ids=[]) == []


def test_writing_again_replaces(index):
    index.write([row(3, np.eye(DIM)[0].tolist(), captions=["new"])])
    assert index.count() == 50
    assert index.rows(["v3"])["v3"]["captions"] == ["new"]


def test_new_and_known_ids_in_one_write_stand_there_once(index):
    index.write([row(3, unit(1, 4)[0]), row(77, unit(1, 5)[0]), row(77, unit(1, 6)[0])])
    assert index.count() == 51
    np.testing.assert_allclose(index.vectors(["v77"])["v77"], unit(1, 6)[0], atol=1e-6)
    index.write([row(78, unit(1, 5)[0]), row(78, unit(1, 6)[0])])
    assert index.count() == 52


def test_ids_are_indexed_while_a_large_table_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 100)
    monkeypatch.setattr(upkeep, "COMMITS", 3)
    index = VideoIndex.create(tmp_path, DIM, MADE)
    indexed = []
    for start in range(0, 400, 50):
        index.write([row(start + i, v) for i, v in enumerate(unit(50, start))])
        indexed.append(bool(index._table.list_indices()))
    assert indexed == [False, False] + [True] * 6
    assert index.count() == 400
    fragments = index._table.stats()["fragment_stats"]["num_fragments"]
    assert fragments < 8  # folded together on the way


def test_equal_scores_have_a_fixed_order(tmp_path):
    index = VideoIndex.create(tmp_path, DIM, MADE)
    index.write([row(i, np.eye(DIM)[0].tolist()) for i in (5, 2, 9, 1)])
    assert [hit.id for hit in index.search(np.eye(DIM, dtype=np.float32)[0], 4)] == ["v1", "v2", "v5", "v9"]


def test_delete_and_look_up(index):
    index.delete(["v1", "unknown"])
    assert index.count() == 49
    assert index.stamps(["v1", "v2"]) == {"v2": (1, 1.5)}
    assert "v1" not in set(index.ids())
    np.testing.assert_allclose(index.vectors(["v2"])["v2"], unit(50)[2])


def test_another_reader_sees_new_rows(index, tmp_path):
    reader = open_index(tmp_path)
    index.write([row(99, unit(1, 5)[0])])
    assert reader.count() == 51
    assert reader.search(unit(1, 5)[0], 1)[0].id == "v99"


@pytest.mark.parametrize(
    "other",
    [
        Provenance("test", "b" * 64, "uniform", 12, "0"),
        Provenance("test", "a" * 64, "reference", 12, "0"),
        Provenance("test", "a" * 64, "uniform", 8, "0"),
    ],
)
def test_another_provenance_is_refused_and_both_are_named(index, tmp_path, other):
    with pytest.raises(VideoIndexError) as error:
        VideoIndex.create(tmp_path, DIM, other)
    assert str(MADE) in str(error.value)
    assert str(other) in str(error.value)


def test_another_name_or_version_of_the_same_weights_is_welcome(index, tmp_path):
    assert VideoIndex.create(tmp_path, DIM, Provenance("renamed", "a" * 64, "uniform", 12, "9")).count() == 50


def test_a_foreign_table_is_refused(tmp_path):
    import lancedb

    lancedb.connect(tmp_path).create_table("videos", [{"id": "x", "vector": [0.0, 1.0]}])
    with pytest.raises(VideoIndexError, match="does not say which model"):
        open_index(tmp_path)


def test_a_vector_of_another_length_is_refused(index):
    with pytest.raises(VideoIndexError, match="shape"):
        index.search(np.zeros(3, np.float32), 1)


def test_above_the_exact_limit_a_vector_index_keeps_the_ranking(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2000)
    rng = np.random.default_rng(1)
    centres = unit(40, 2, 64)
    vectors = centres[rng.integers(0, 40, 3000)] + 0.6 * unit(3000, 3, 64)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    index = VideoIndex.create(tmp_path, 64, MADE)
    index.write([row(i, v) for i, v in enumerate(vectors)])
    index.finish()
    assert {i.columns[0] for i in index._table.list_indices()} == {"vector", "id"}
    found = 0
    for query in vectors[:50] + 0.3 * unit(50, 4, 64):
        best = {f"v{i}" for i in np.argsort(-(vectors @ query))[:10]}
        found += len(best & {hit.id for hit in index.search(query.astype(np.float32), 10)})
    assert found / 500 >= 0.95
    index.write([row(5000, unit(1, 8, 64)[0])])  # rows that came later are found as well
    assert index.search(unit(1, 8, 64)[0], 1)[0].id == "v5000"
    index.finish()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """12,000 indexed rows of 60 kinds, their vectors and kinds, and 40 queries."""
    kind = np.random.default_rng(1).integers(0, 60, 12_000)
    vectors = unit(60, 2, 256)[kind] + 0.6 * unit(12_000, 3, 256)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    index = VideoIndex.create(tmp_path_factory.mktemp("large"), 256, MADE)
    index.write([row(i, v) for i, v in enumerate(vectors)])
    index.finish()
    queries = [q.astype(np.float32) for q in vectors[:40] + 0.3 * unit(40, 4, 256)]
    return index, vectors, kind, queries


def recall(large, view):
    index, vectors, _, queries = large
    found, ids = 0, {f"v{i}" for i in view}
    for query in queries:
        best = view[np.argsort(-(vectors[view] @ query))[:10]]
        hits = index.search(query, 10, ids=ids)
        exact = [float(vectors[int(hit.id[1:])] @ query) for hit in hits]
        assert [hit.score for hit in hits] == pytest.approx(exact, abs=1e-5)
        found += len({f"v{i}" for i in best} & {hit.id for hit in hits})
    return found / 400


@pytest.mark.parametrize("size", [10, 100, 4000])
def test_views_are_searched_exactly(large, size):
    assert recall(large, np.sort(np.random.default_rng(5).choice(12_000, size, replace=False))) == 1


def test_views_too_large_for_memory_are_searched_through_the_index(large, monkeypatch):
    monkeypatch.setattr(nearest, "VIEW_BYTES", 0)
    scans, scan = [], nearest.Nearest._nearest

    def counted(self, vector, k, ids=None, *, exact):
        scans.append(len(ids))
        return scan(self, vector, k, ids, exact=exact)

    monkeypatch.setattr(nearest.Nearest, "_nearest", counted)
    assert recall(large, np.sort(np.random.default_rng(5).choice(12_000, 4000, replace=False))) >= 0.99
    assert not scans
    # what few queries are about is found by a scan of the view
    assert recall(large, np.flatnonzero(large[2] >= 40)) >= 0.99
    assert max(scans) > 3000


def test_a_view_shows_what_was_written_since(index):
    query = np.eye(DIM, dtype=np.float32)[0]
    ids = [f"v{i}" for i in range(60)]
    assert len(index.search(query, 60, ids=ids)) == 50
    index.write([row(55, query)])
    assert index.search(query, 1, ids=ids)[0].id == "v55"
    index.delete(["v55"])
    assert index.search(query, 1, ids=ids)[0].id != "v55"


def test_failures_are_kept_by_path(index):
    failures = [{"id": c, "path": f"/{c}", "size": 0, "mtime": 0.0, "reason": "empty"} for c in "ba"]
    index.write_failures(failures)
    index.write_failures(failures)
    assert [f["path"] for f in index.failures()] == ["/a", "/b"]
    index.clear_failures(["a"])
    assert [f["path"] for f in index.failures()] == ["/b"]


def test_the_default_index_follows_the_environment(monkeypatch):
    assert default_uri() == "./c2v-index"
    monkeypatch.setenv("C2V_INDEX", "/somewhere")
    assert default_uri() == "/somewhere"


def test_a_filter_that_keeps_few_rows_of_many_reads_their_vectors_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 1000)
    index = VideoIndex.create(tmp_path, 64, MADE)
    vectors = unit(3000, 3, 64)
    index.write([row(i, v, tags=["rare"] if i % 100 == 7 else []) for i, v in enumerate(vectors)])
    index.finish()
    rare, where = np.arange(7, 3000, 100), "array_has(tags, 'rare')"
    read, made = [], type(index._nearest)._read_view
    monkeypatch.setattr(type(index._nearest), "_read_view", lambda *args: read.append(args[2]) or made(*args))
    for seed in (1, 2):
        query = unit(1, seed, 64)[0]
        order = rare[np.argsort(-(vectors[rare] @ query))]
        assert [hit.id for hit in index.search(query, 5, where=where)] == [f"v{i}" for i in order[:5]]
        assert [hit.id for hit in index.search(query, 5, where=where, furthest=True)] == [
            f"v{i}" for i in order[::-1][:5]
        ]
        both = index.search_all(np.stack([query, -query]), 5, where=where)
        assert [[hit.id for hit in hits] for hits in both] == [
            [f"v{i}" for i in order[:5]],
            [f"v{i}" for i in order[::-1][:5]],
        ]
    assert read == [where], "once for all questions"
    some = [f"v{i}" for i in rare[:3]] + ["v8"]
    assert {hit.id for hit in index.search(query, 5, where=where, ids=some)} == set(some[:3])
    index.write([row(8, query, tags=["rare"])])
    assert index.search(query, 1, where=where)[0].id == "v8", "what came since is seen"
