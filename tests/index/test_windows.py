"""The table of windows: replaced as a whole, and each video once among the hits however many windows it has."""

import numpy as np
import pytest

from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.windows import VideoWindows
from clip2video_plugin.query import Gallery

from .test_store import DIM, MADE, unit


def windows_of(video, vectors):
    spans = np.stack([np.arange(len(vectors)) * 2.5, np.arange(len(vectors)) * 2.5 + 5], axis=1)
    row = {
        "id": video,
        "path": f"/{video}.mp4",
        "size": 1,
        "mtime": 1.0,
        "duration": 9999.0,
        "start": 0.0,
        "end": 9999.0,
    }
    return VideoWindows(row, "5/2.5", spans, np.asarray(vectors, np.float32))


def near(vector, count, spread, random):
    vectors = vector + spread * random.normal(size=(count, DIM)) / np.sqrt(DIM)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Two films own the first thousands of windows for the vector [1, 0, ...]; sixty short videos have the others."""
    random = np.random.default_rng(0)
    query = np.eye(DIM, dtype=np.float32)[0]
    every = [windows_of(f"film{n}", near(query, 1500, 0.5, random)) for n in range(2)]
    every += [windows_of(f"clip{n:02}", near(query, 5, 2 + n / 10, random)) for n in range(60)]
    index = VideoIndex.create(tmp_path_factory.mktemp("crowded"), DIM, MADE)
    index.write([{**one.row, "vector": unit(1)[0]} for one in every])
    index.create_windows().write_windows(every)
    return index, query, {one.row["id"]: one for one in every}


@pytest.mark.parametrize("k", [1, 2, 3, 20, 62, 100])
def test_each_video_is_a_hit_once_with_its_best_window(crowded, k):
    index, query, every = crowded
    best = sorted(((float((one.vectors @ query).max()), i) for i, one in every.items()), reverse=True)[:k]
    hits = index.windows().search(query, k, each=True)
    assert [hit.id for hit in hits] == [i for _, i in best]
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    for hit, (score, i) in zip(hits, best, strict=True):
        place = int(np.argmax(every[i].vectors @ query))
        assert (hit.start, hit.end) == tuple(every[i].spans[place])
        assert hit.score == pytest.approx(score, abs=1e-5)


def test_those_that_may_not_be_shown_make_room(crowded):
    index, query, every = crowded
    best = sorted(every, key=lambda i: -float((every[i].vectors @ query).max()))
    gallery = Gallery(index, keep=lambda hits: [hit for hit in hits if hit.id not in best[:5]])
    assert [hit.id for hit in gallery.nearest(query[None], 10)] == best[5:15]
    gallery = Gallery(index, ids=best[3:30])
    assert [hit.id for hit in gallery.nearest(query[None], 10)] == best[3:13]
    gallery = Gallery(index, ids=best[:4])
    assert [hit.id for hit in gallery.nearest(query[None], 10)] == best[:4]


def test_windows_of_a_video_are_replaced_as_a_whole(tmp_path):
    random, query = np.random.default_rng(1), np.eye(DIM, dtype=np.float32)[0]
    index = VideoIndex.create(tmp_path, DIM, MADE)
    table = index.create_windows()
    table.write_windows([windows_of("a", near(query, 9, 1, random)), windows_of("b", near(query, 4, 1, random))])
    version = index.windows().state[1]
    new = windows_of("a", near(query, 3, 1, random))
    table.write_windows([new])
    assert index.windows().state[1] == version + 1  # in one step
    found = index.windows().windows_by_video(["a", "b", "c"])
    assert {i: len(spans) for i, (spans, _) in found.items()} == {"a": 3, "b": 4}
    np.testing.assert_array_equal(found["a"][1], new.vectors)
    assert index.windows().windows_made(["a"])["a"].sizes == "5/2.5"


def test_a_large_table_of_windows_gets_indexes(tmp_path):
    random, query = np.random.default_rng(1), np.eye(DIM, dtype=np.float32)[0]
    index = VideoIndex.create(tmp_path, DIM, MADE)
    table = index.create_windows()
    table.write_windows([windows_of(f"v{n}", near(query, 1001, 3, random)) for n in range(10)])
    assert index.needs_indexing()
    index.finish()
    assert not index.needs_indexing()
    assert {"vector_idx", "video_idx"} <= set(next(t for t in index.info().tables if t.name == "windows").indexes)
    hits = Gallery(index).nearest(query[None], 5)
    assert len({hit.id for hit in hits}) == 5
