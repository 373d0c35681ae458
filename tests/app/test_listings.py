"""Searches in views of every kind, again and again: each answer is the exact scan's of what the view lists now."""

import fiftyone as fo
import numpy as np
import pymongo
import pytest
from fiftyone import ViewField as F
from fiftyone.core.odm import get_db_conn

from clip2video_plugin.app import listings, ranking
from clip2video_plugin.app.similarity import Clip2VideoSimilarityConfig
from clip2video_plugin.index import Provenance, VideoIndex

COUNT, DIM, KEY = 60, 8, "c2v"
QUERIES = np.random.default_rng(5).standard_normal((3, DIM)).astype(np.float32)


def with_run(dataset, folder):
    """A run over all samples of a dataset, with random vectors; gives id -> vector."""
    ids = dataset.values("id")
    drawn = np.random.default_rng(4).standard_normal((len(ids), DIM)).astype(np.float32)
    vectors = dict(zip(ids, drawn / np.linalg.norm(drawn, axis=1, keepdims=True), strict=True))
    table = VideoIndex.create(folder, DIM, Provenance("none", "0" * 64, "uniform", 1, "0"), table="brain_listed")
    table.write([{"id": i, "path": f"/{i}.mp4", "vector": v, "size": 1, "mtime": 1.0} for i, v in vectors.items()])
    method = Clip2VideoSimilarityConfig(uri=str(folder), table_name="brain_listed", checkpoint="shapes").build()
    method.register_run(dataset, KEY, overwrite=False)
    method.save_run_results(dataset, KEY, method.initialize(dataset, KEY))
    return vectors


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A dataset, and id -> vector; what was seen once is remembered at once."""
    monkeypatch.setattr(listings, "SETTLED", 0.0)
    dataset = fo.Dataset()
    dataset.add_samples(
        [
            fo.Sample(
                filepath=f"/{n}.mp4",
                tags=["even"] if n % 2 == 0 else [],
                number=n,
                third=n if n % 3 == 0 else None,
                label=fo.Classification(label="abc"[n % 3]),
                events=fo.TemporalDetections(detections=[fo.TemporalDetection(label="e", support=[1, 2 + n % 2])]),
            )
            for n in range(COUNT)
        ]
    )
    yield dataset, with_run(dataset, tmp_path)
    dataset.delete()


@pytest.fixture
def listed(monkeypatch):
    """Counts the times that a view was listed."""
    times, own = [], ranking._shown_for_videos
    monkeypatch.setattr(ranking, "_shown_for_videos", lambda samples: times.append(1) or own(samples))
    return times


def right(view, vectors, query, k=5):
    inside = view.values("id")
    return sorted(inside, key=lambda i: -float(vectors[i] @ query))[:k]


def found(view, query, k=5):
    return view.sort_by_similarity(query, k=k, brain_key=KEY).values("id")


KINDS = {
    "all": lambda d: d,
    "match": lambda d: d.match(F("number") > 20),
    "match of nothing": lambda d: d.match(F("number") > 1000),
    "tags": lambda d: d.match_tags("even"),
    "labels": lambda d: d.filter_labels("label", F("label") == "b"),
    "labels in lists": lambda d: d.filter_labels("events", F("support")[1] == 3),
    "exists": lambda d: d.exists("third"),
    "limit": lambda d: d.limit(7),
    "skip": lambda d: d.skip(50),
    "slice": lambda d: d[10:30],
    "slice of a match": lambda d: d.match_tags("even")[3:9],
    "shuffle": lambda d: d.shuffle(seed=3).limit(9),
    "shuffle without a seed": lambda d: d.shuffle().limit(9),
    "take": lambda d: d.take(9),
    "sort": lambda d: d.sort_by("number", reverse=True).limit(9),
    "select": lambda d: d.select(d.values("id")[5:25]),
    "select, ordered": lambda d: d.select(d.values("id")[25:5:-1], ordered=True).limit(3),
    "selected of those selected": lambda d: d.select(d.values("id")[5:25]).select(d.values("id")[40:15:-1]),
    "exclude": lambda d: d.exclude(d.values("id")[5:55]),
    "fields": lambda d: d.limit(9).select_fields("number"),
    "two": lambda d: d.limit(4).concat(d.skip(56)),
    "grouped by a field": lambda d: d.group_by("number", order_by="number").limit(5),
    "mongo": lambda d: d.mongo([{"$match": {"number": {"$lt": 9}}}]),
    "frames": lambda d: d.match_frames(F("frame_number") > 5, omit_empty=False).limit(9),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_in_a_view_gives_the_exact_best_of_it(made, kind):
    dataset, vectors = made
    view = KINDS[kind](dataset)
    for query in [*QUERIES, QUERIES[0]]:
        assert found(view, query) == right(view, vectors, query)
        assert found(view, query, k=100) == right(view, vectors, query, k=100)


def test_an_unchanged_view_is_listed_twice_and_then_remembered(made, listed):
    dataset, vectors = made
    views = [dataset.match_tags("even"), dataset[5:9]]
    for _ in range(4):
        for view in views:
            assert found(view, QUERIES[0]) == right(view, vectors, QUERIES[0])
    assert len(listed) == 3  # the second view's state was known from the first


@pytest.mark.parametrize("kind", ["of random numbers", "of now", "mongo"])
def test_a_view_that_may_be_another_each_time_is_listed_each_time(made, listed, kind):
    dataset, _ = made
    view = {
        "of random numbers": dataset.match(F.rand() < 2),
        "of now": dataset.match({"$expr": {"$lt": ["$created_at", "$$NOW"]}}),
        "mongo": KINDS["mongo"](dataset),
    }[kind]
    for _ in range(4):
        found(view, QUERIES[0])
    assert len(listed) == 4


def merge_of(dataset):
    """What FiftyOne does when a view is saved: MongoDB counts it among no writes that it was asked for."""
    dataset.match(F("number") < 30).set_field("number", F("number") + 40).save("number")


CHANGES = {
    "a tag": lambda d: d.match(F("number") < 9).tag_samples("even"),
    "a value": lambda d: d.set_values("number", [100 - n for n in range(COUNT)]),
    "a saved view": merge_of,
    "a deleted sample": lambda d: d.delete_samples(d.values("id")[30]),
    "a client of its own": lambda d: own_collection(d).update_many({}, {"$inc": {"number": 7}}),
    "one deleted by it": lambda d: own_collection(d).delete_one({"number": 40}),
    "one merged by it": lambda d: list(
        own_collection(d).aggregate(
            [{"$project": {"number": {"$subtract": [70, "$number"]}}}, {"$merge": d._sample_collection_name}]
        )
    ),
}


def own_collection(dataset):
    client = pymongo.MongoClient(fo.config.database_uri)
    return client[get_db_conn().name][dataset._sample_collection_name]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["match", "tags", "slice", "sort", "select"])
def test_what_changes_under_a_remembered_view_is_noticed(made, change, kind):
    dataset, vectors = made
    view = KINDS[kind](dataset)
    for _ in range(3):
        assert found(view, QUERIES[0], k=20) == right(view, vectors, QUERIES[0], k=20)
    CHANGES[change](dataset)
    for _ in range(3):
        assert found(view, QUERIES[0], k=20) == right(view, vectors, QUERIES[0], k=20)


def test_added_samples_and_rows_are_found(made):
    dataset, vectors = made
    view = dataset.match(F("number") > 20)
    for _ in range(3):
        found(view, QUERIES[0])
    vector = QUERIES[0] / np.linalg.norm(QUERIES[0])
    new = dataset.add_sample(fo.Sample(filepath="/new.mp4", number=99))
    dataset.load_brain_results(KEY).add_to_index(vector[None], [new])
    assert found(view, QUERIES[0], k=1) == [new]
    assert found(view, QUERIES[0], k=4) == right(view, vectors | {new: vector}, QUERIES[0], k=4)


def test_clips_are_remembered_with_their_videos(made, listed):
    dataset, vectors = made
    clips = dataset.match_tags("even").to_clips("events")
    best = right(dataset.match_tags("even"), vectors, QUERIES[0])
    for _ in range(4):
        assert clips.sort_by_similarity(QUERIES[0], k=5, brain_key=KEY).values("sample_id") == best
    assert len(listed) == 2


def test_pictures_of_groups_follow_their_active_slice(tmp_path, monkeypatch):
    monkeypatch.setattr(listings, "SETTLED", 0.0)
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="video")
    for n in range(6):
        group = fo.Group()
        names = {"video": f"/{n}.mp4", "other": f"/o{n}.mp4", "picture": f"/{n}.png"}
        dataset.add_samples([fo.Sample(filepath=path, group=group.element(name), n=n) for name, path in names.items()])
    vectors = with_run(dataset.select_group_slices(_allow_mixed=True)._root_dataset, tmp_path)
    for _ in range(3):
        for name in ("video", "other", "video"):
            dataset.group_slice = name
            for view in (dataset, dataset.match(F("n") > 1), dataset.limit(2)):
                known = {i: vectors.get(i, np.zeros(DIM, np.float32)) for i in view.values("id")}
                expected = [i for i in right(view, known, QUERIES[0]) if i in vectors]
                assert found(view, QUERIES[0]) == expected
    dataset.delete()


def test_a_listing_is_kept_only_once_writes_have_stood_still(made, listed, monkeypatch):
    monkeypatch.setattr(listings, "SETTLED", 100.0)
    clock = [1000.0]
    monkeypatch.setattr(listings.time, "monotonic", lambda: clock[0])
    dataset, _ = made
    view = dataset.match_tags("even")
    for wait, times in ((0, 1), (99, 2), (2, 3), (0, 3), (50, 3)):
        clock[0] += wait
        found(view, QUERIES[0])
        assert len(listed) == times
    view.tag_samples("more")
    for wait, times in ((0, 4), (99, 5), (2, 6), (0, 6)):
        clock[0] += wait
        found(view, QUERIES[0])
        assert len(listed) == times


def test_where_mongodb_does_not_count_each_search_lists(made, listed, monkeypatch):
    monkeypatch.setattr(listings, "COUNTED", ("no such count",))
    dataset, vectors = made
    for _ in range(3):
        assert found(dataset[5:9], QUERIES[0]) == right(dataset[5:9], vectors, QUERIES[0])
    assert len(listed) == 3


def test_the_views_asked_last_are_remembered_up_to_so_many_ids(made, listed, monkeypatch):
    monkeypatch.setattr(listings, "MOST", 25)
    dataset, _ = made
    views = [dataset[:10], dataset[10:20], dataset[20:30]]
    for view in (views[0], views[0], views[0], views[1], views[2]):
        found(view, QUERIES[0])
    assert len(listed) == 4
    found(views[1], QUERIES[0])
    found(views[2], QUERIES[0])
    assert len(listed) == 4
    found(views[0], QUERIES[0])
    assert len(listed) == 5
