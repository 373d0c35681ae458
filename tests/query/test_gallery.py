"""The nearest videos of a gallery, as wholes and by their best windows, against every product."""

import numpy as np
import pytest

from clip2video_plugin.query import Gallery
from tests.query.tables import make_table, some_units


@pytest.fixture(scope="module")
def drawn():
    """60 videos, of which two thirds have 1 to 9 windows."""
    random = np.random.default_rng(4)
    videos = {f"v{n:02d}": vector for n, vector in enumerate(some_units(random, 60))}
    windows = {
        i: (np.array([[t, t + 2.0] for t in range(count)]), some_units(random, count))
        for n, i in enumerate(videos)
        if n % 3 and (count := 1 + n % 9)
    }
    return videos, windows


@pytest.fixture(scope="module")
def table(drawn, tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("gallery"), *drawn)


def brute_force(drawn, wanted, allowed=lambda i: True):
    videos, windows = drawn
    scores = {}
    for i, vector in videos.items():
        rows = np.vstack([vector[None], windows[i][1]]) if i in windows else vector[None]
        scores[i] = float((rows @ wanted.T).max())
    return sorted(((i, s) for i, s in scores.items() if allowed(i)), key=lambda one: (-one[1], one[0]))


@pytest.mark.parametrize("k", [1, 7, 60, 100])
@pytest.mark.parametrize("alternatives", [1, 2, 5])
def test_a_video_is_as_near_as_its_best_window_is_to_any_alternative(drawn, table, k, alternatives):
    wanted = some_units(np.random.default_rng(alternatives), alternatives)
    hits = Gallery(table).nearest(wanted, k)
    right = brute_force(drawn, wanted)[:k]
    assert [hit.id for hit in hits] == [i for i, _ in right]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in right], abs=1e-6)
    assert [hit.rank for hit in hits] == list(range(1, len(right) + 1))


def test_ids_filters_and_what_is_kept_hold_for_windows_too(drawn, table):
    wanted = some_units(np.random.default_rng(9), 3)
    ids = {i for i in drawn[0] if i[-1] in "0123456"}
    gallery = Gallery(
        table, ids=ids, where="path != '/v01.mp4'", keep=lambda hits: [h for h in hits if h.id[-1] != "2"]
    )
    right = brute_force(drawn, wanted, lambda i: i in ids and i != "v01" and i[-1] != "2")[:10]
    assert [hit.id for hit in gallery.nearest(wanted, 10)] == [i for i, _ in right]


def test_products_are_those_of_the_windows_or_of_the_whole(drawn, table):
    videos, windows = drawn
    wanted = some_units(np.random.default_rng(2), 2)
    found = Gallery(table).products(["v01", "v00", "none", "v05"], wanted)
    assert list(found) == ["v01", "v00", "v05"]
    assert found["v00"].spans.tolist() == [[0, np.inf]]
    np.testing.assert_allclose(found["v00"].scores, videos["v00"][None] @ wanted.T, atol=1e-6)
    np.testing.assert_allclose(found["v05"].spans, windows["v05"][0])
    np.testing.assert_allclose(found["v05"].scores, windows["v05"][1] @ wanted.T, atol=1e-6)


def test_windows_of_videos_of_which_none_has_any(table):
    assert Gallery(table).windows_of(["v00"])["v00"].vectors.shape == (1, 8)
    assert Gallery(table).products([], np.zeros((1, 8), np.float32)) == {}
