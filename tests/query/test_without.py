"""What a video must not show: dropped from a threshold that is shown, by best windows, with k hits left."""

import numpy as np
import pytest

from clip2video_plugin import Query, search
from clip2video_plugin.index import Hit
from clip2video_plugin.index.calibration import write_fit
from clip2video_plugin.query import Gallery
from clip2video_plugin.query.confidence import Calibration
from clip2video_plugin.query.logistic import Logistic
from clip2video_plugin.query.vectors import Vectors
from clip2video_plugin.query.without import Negative, Without, usual_thresholds, without
from clip2video_plugin.shapes import caption
from tests.query.tables import make_table, some_units, unit


@pytest.fixture(scope="module")
def drawn():
    """200 videos, half of which have 1 to 5 windows."""
    random = np.random.default_rng(8)
    videos = {f"v{n:03d}": vector for n, vector in enumerate(some_units(random, 200))}
    windows = {
        i: (np.array([[t, t + 2.0] for t in range(1 + n % 5)]), some_units(random, 1 + n % 5))
        for n, i in enumerate(videos)
        if n % 2
    }
    return videos, windows


@pytest.fixture(scope="module")
def table(drawn, tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("without"), *drawn)


def best(drawn, i, vectors):
    """The scores of a video's best windows, or of all of it where it has none."""
    videos, windows = drawn
    return ((windows[i][1] if i in windows else videos[i][None]) @ vectors.T).max(axis=0)


@pytest.mark.parametrize("k", [1, 10, 40])
def test_k_hits_remain_that_fit_no_negative(drawn, table, k):
    random = np.random.default_rng(k)
    wanted, vectors, thresholds = some_units(random, 2), some_units(random, 2), np.array([0.4, 0.2])
    left_out = {i for i in drawn[0] if (best(drawn, i, vectors) >= thresholds).any()}
    everything = Gallery(table).nearest(wanted, 200)
    assert 60 < len(left_out) < 160
    negatives = Without(("a", "b"), vectors, thresholds, Gallery(table))
    hits = negatives.gallery.nearest(wanted, k)
    assert [hit.id for hit in hits] == [hit.id for hit in everything if hit.id not in left_out][:k]
    assert [hit.rank for hit in hits] == list(range(1, k + 1))


def test_what_was_dropped_is_counted_for_each_negative(drawn, table):
    vectors, thresholds = some_units(np.random.default_rng(5), 2), np.array([0.3, 0.5])
    negatives = Without(("a", "b"), vectors, thresholds, Gallery(table))
    assert negatives.dropped == (Negative("a", 0.3, 0, 0), Negative("b", 0.5, 0, 0))
    negatives.gallery.nearest(vectors, 200)
    fits = np.array([best(drawn, i, vectors) >= thresholds for i in drawn[0]]).sum(axis=0)
    assert negatives.dropped == (Negative("a", 0.3, fits[0], 200), Negative("b", 0.5, fits[1], 200))


def test_what_may_not_be_shown_anyway_is_not_looked_at(table):
    gallery = Gallery(table, keep=lambda hits: [hit for hit in hits if hit.id < "v050"])
    negatives = Without(("a",), some_units(np.random.default_rng(5), 1), np.array([0.3]), gallery)
    negatives.gallery.nearest(some_units(np.random.default_rng(6), 1), 200)
    assert negatives.dropped[0].seen == 50


def test_each_video_is_looked_up_once(table, monkeypatch):
    asked = []
    products = Gallery.products
    monkeypatch.setattr(Gallery, "products", lambda self, ids, v: asked.append(list(ids)) or products(self, ids, v))
    negatives = Without(("a",), some_units(np.random.default_rng(5), 1), np.array([0.1]), Gallery(table))
    negatives.gallery.nearest(some_units(np.random.default_rng(6), 3), 30)
    assert len(asked) < 15
    looked_up = [i for ids in asked for i in ids]
    assert len(looked_up) == len(set(looked_up)) > 30


def test_a_row_that_went_away_meanwhile_is_no_hit(table):
    negatives = Without(("a",), some_units(np.random.default_rng(5), 1), np.array([2.0]), Gallery(table))
    gone, there = (Hit(1, i, "/x", 0.5, None, None, None) for i in ("gone", "v001"))
    assert negatives([gone, there]) == [there]


# Thresholds


def gapped(random, count, cosine, spread):
    """Unit vectors [count, 512] whose cosine with the first axis is drawn, as across a modality gap."""
    first = random.normal(cosine, spread, count)[:, None]
    rest = random.standard_normal((count, 511))
    rest *= np.sqrt(1 - first**2) / np.linalg.norm(rest, axis=1, keepdims=True)
    return unit(np.hstack([first, rest]))


@pytest.mark.parametrize(
    ("usual", "match"),
    [((0.05, 0.22), (0.86, 0.03)), ((0.17, 0.03), (0.31, 0.03))],
    ids=["shapes", "CLIP"],
)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_the_threshold_lies_between_what_is_usual_and_a_match(tmp_path, usual, match, share):
    random = np.random.default_rng(0)
    matches = gapped(random, round(1000 * share), *match)
    others = gapped(random, 1000 - len(matches), *usual)
    shuffled = random.permutation(np.vstack([others, matches]))
    table = make_table(tmp_path, {f"v{n:04d}": vector for n, vector in enumerate(shuffled)})
    negative = np.eye(1, 512, dtype=np.float32)
    wanted = 0.9 * gapped(random, 1, match[0], 0.0)  # scores a tenth less with itself than a negative would
    (threshold,) = usual_thresholds(Gallery(table), negative, wanted)
    assert (others @ negative[0] >= threshold).mean() < 0.01
    assert share == 0 or (matches @ negative[0] >= threshold).mean() > 0.7


@pytest.mark.parametrize("scores", [[0.3], [0.9], [0.9, 0.1], [0.85, 0.9, 0.2, 0.1, 0.3]])
def test_of_a_few_videos_those_go_that_match(tmp_path, scores):
    """Beside them one that is wanted and scores 0.9 for it."""
    vectors = np.zeros((len(scores) + 1, 8), np.float32)
    vectors[:-1, 0], vectors[:-1, 1] = scores, np.sqrt(1 - np.array(scores) ** 2)
    vectors[-1, [2, 3]] = 0.9, np.sqrt(1 - 0.9**2)
    table = make_table(tmp_path, {f"v{n}": vector for n, vector in enumerate(vectors)})
    (threshold,) = usual_thresholds(Gallery(table), np.eye(1, 8, dtype=np.float32), np.eye(3, 8, dtype=np.float32)[2:])
    assert [score >= threshold for score in scores] == [score > 0.5 for score in scores]


def test_of_many_alike_none_goes(tmp_path):
    """A camera that never moves; beside them one video that is wanted."""
    videos = {f"v{n:03d}": unit([0.2, 1, 0, 0, 0, 0, 0, 0]) for n in range(300)} | {"other": np.eye(8)[2]}
    table = make_table(tmp_path, videos)
    negative, wanted = np.eye(1, 8, dtype=np.float32), np.eye(3, 8, dtype=np.float32)[2:]
    assert usual_thresholds(Gallery(table), negative, wanted)[0] > 0.5


def test_an_empty_index_drops_nothing(tmp_path):
    table = make_table(tmp_path, {})
    assert usual_thresholds(
        Gallery(table), np.eye(2, 8, dtype=np.float32), np.eye(1, 8, dtype=np.float32)
    ).tolist() == [
        np.inf,
        np.inf,
    ]


def test_a_calibration_says_the_threshold_and_the_query_before_it(drawn, tmp_path):
    table, vectors = make_table(tmp_path, *drawn), some_units(np.random.default_rng(1), 2)
    asked = Vectors(vectors[:1], vectors[1:], vectors[:0])
    gallery = Gallery(table)
    own = without(Query("a", without="b"), asked, gallery).dropped[0].threshold
    flat = Logistic((0.0,) * 4, 0.0)
    fitted = Calibration("windows", True, "captions", 10, 10, 200, 0.5, 0.4, own / 2, flat, flat)
    write_fit(gallery.windows, fitted.to_json(), 200)
    assert without(Query("a", without="b"), asked, gallery).dropped[0].threshold == own / 2
    assert without(Query("a", without="b", threshold=0.1), asked, gallery).dropped[0].threshold == 0.1
    assert without(Query("a", without="b", weight=0.2), asked, gallery).dropped[0].threshold == own


# The whole of it


def test_a_negative_is_dropped_by_default_and_its_threshold_can_be_moved(world, world_index, model):
    scene, other = world[1][0], world[1][9]
    wanted = (caption(scene), caption(other))
    plain = search(Query(wanted, how="max", k=24), index=world_index, model=model)
    assert {hit.path[-9:-4] for hit in plain[:2]} == {"00000", "00009"}
    assert plain.dropped == ()
    result = search(Query(wanted, how="max", k=20, without=caption(other)), index=world_index, model=model)
    (negative,) = result.dropped
    assert negative.text == caption(other)
    assert 0.5 < negative.threshold < 0.85
    assert 1 <= negative.dropped <= 4
    assert negative.dropped <= negative.seen <= 24
    kept = [hit.path for hit in result]
    assert kept[0].endswith("00000.mp4")
    assert not any(path.endswith("00009.mp4") for path in kept)
    assert [hit.score for hit in result] == [hit.score for hit in plain if hit.path in kept]  # nothing is subtracted
    everything = search(
        Query(wanted, how="max", k=24, without=caption(other), threshold=1.5), index=world_index, model=model
    )
    assert everything.hits == plain.hits
    assert everything.dropped == (Negative(caption(other), 1.5, 0, 24),)
    nothing = search(Query(wanted, without="a", threshold=-2.0), index=world_index, model=model)
    assert nothing.hits == []
    assert everything.to_dict()["dropped"] == [{"text": caption(other), "threshold": 1.5, "dropped": 0, "seen": 24}]


def test_order_and_negatives_go_together(drawn, table):
    from clip2video_plugin.query.order import Parts, ordered

    random = np.random.default_rng(3)
    asked = Parts([some_units(random, 1), some_units(random, 1)], some_units(random, 1))
    negative, everything = some_units(random, 1), ordered(asked, Gallery(table), 200)
    negatives = Without(("a",), negative, np.array([0.2]), Gallery(table))
    right = [hit.id for hit in everything if best(drawn, hit.id, negative)[0] < 0.2][:15]
    assert [hit.id for hit in ordered(asked, negatives.gallery, 15)] == right
    assert negatives.dropped[0].dropped > 0
