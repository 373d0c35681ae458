"""Views in memory: several at once, as long as there is room and nothing is written."""

import numpy as np
import pytest

from clip2video_plugin.index import VideoIndex, view

from .test_store import DIM, MADE, row, unit


@pytest.fixture
def read(monkeypatch):
    """How often rows were read into memory."""
    times, own = [], view.View.of.__func__
    monkeypatch.setattr(view.View, "of", classmethod(lambda cls, *args: times.append(1) or own(cls, *args)))
    return times


def test_views_asked_in_turn_are_read_once_each_until_something_is_written(tmp_path, read):
    vectors, (query,) = unit(50), unit(1, 9)
    index = VideoIndex.create(tmp_path, DIM, MADE)
    index.write([row(i, v) for i, v in enumerate(vectors)])
    views = [range(0, 20), range(10, 50), range(5)]

    def asked():
        for numbers in views:
            best = sorted(numbers, key=lambda i: -float(vectors[i] @ query))[:3]
            assert [hit.id for hit in index.search(query, 3, ids={f"v{i}" for i in numbers})] == [f"v{i}" for i in best]

    for _ in range(3):
        asked()
    assert len(read) == 3
    vectors[7] = query
    index.write([row(7, query)])
    asked()
    assert len(read) == 6


def test_the_views_asked_last_stay_where_there_is_no_room_for_all(tmp_path, read, monkeypatch):
    monkeypatch.setattr(view, "VIEW_BYTES", 25 * DIM * 4)
    index = VideoIndex.create(tmp_path, DIM, MADE)
    index.write([row(i, v) for i, v in enumerate(unit(50))])
    a, b, c = (frozenset(f"v{i}" for i in range(start, start + 10)) for start in (0, 10, 20))
    query = np.eye(DIM, dtype=np.float32)[0]
    for ids, times in ((a, 1), (b, 2), (a, 2), (c, 3), (a, 3), (b, 4), (c, 5)):
        index.search(query, 3, ids=ids)
        assert len(read) == times
