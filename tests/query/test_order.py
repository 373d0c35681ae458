"""One thing, then another: against every choice of windows."""

import json
from itertools import pairwise, permutations, product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip2video_plugin import Query, embed_videos, search
from clip2video_plugin.query import Gallery
from clip2video_plugin.query.order import Parts, in_order, ordered
from clip2video_plugin.shapes import caption, render, write_video
from clip2video_plugin.shapes.scene import scene_of
from tests.query.tables import DIM, make_table, some_units


def follows(after, before):
    """Whether a window may come after another: the middle half of one ends before that of the other begins."""
    (start, end), (first, last) = after, before
    return first + 0.75 * (last - first) <= start + 0.25 * (end - start) + 1e-6


def brute_force(spans, scores):
    """The largest sum over all choices of a window for each part, -inf where none is in order."""
    count = scores.shape[1]
    sums = [
        sum(scores[t, i] for i, t in enumerate(places))
        for places in product(range(len(spans)), repeat=count)
        if all(follows(spans[b], spans[a]) for a, b in pairwise(places))
    ]
    return max(sums, default=-np.inf)


some_spans = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 12)).map(lambda one: (one[0] / 2, (one[0] + one[1]) / 2)),
    min_size=1,
    max_size=6,
    unique=True,
).map(lambda spans: np.array(sorted(spans), np.float64))


@settings(max_examples=300, deadline=None)
@given(spans=some_spans, count=st.integers(2, 4), seed=st.integers(0, 2**16), coarse=st.booleans())
def test_the_programme_finds_the_best_of_all_choices(spans, count, seed, coarse):
    scores = np.random.default_rng(seed).uniform(-1, 1, (len(spans), count)).astype(np.float32)
    scores = scores.round(0 if coarse else 8)  # with many ties
    path, best = in_order(spans, scores), brute_force(spans, scores)
    if path is None:
        assert best == -np.inf
    else:
        assert sum(scores[t, i] for i, t in enumerate(path)) == pytest.approx(best, abs=1e-5)
        assert all(follows(spans[b], spans[a]) for a, b in pairwise(path))


def test_windows_of_one_length_follow_by_half_a_window():
    spans = np.array([[t, t + 4.0] for t in (0, 1, 2, 3, 4)])
    scores = np.zeros((5, 2), np.float32)
    scores[0, 0] = scores[1, 1] = 1  # these two are too near to each other
    scores[2, 1] = 0.9
    assert in_order(spans, scores) == [0, 2]


def in_turn(order, random):
    """Windows of 4 s every 2 s over parts of 4 s each, which show the unit vectors ``order`` in turn, and noise."""
    spans = np.array([[t, t + 4.0] for t in range(0, 4 * len(order) - 3, 2)])
    shown = [np.mean([order[int(s // 4)], order[min(int((s + 3.9) // 4), len(order) - 1)]], axis=0) for s, _ in spans]
    vectors = np.array(shown) + 0.02 * random.standard_normal((len(spans), DIM))
    return spans, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def parts(vectors):
    return Parts([v[None] for v in vectors], vectors.mean(axis=0, keepdims=True))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_right_order_comes_first_and_its_spans_are_said(tmp_path, count):
    random, basis = np.random.default_rng(count), np.eye(DIM, dtype=np.float32)[:count]
    orders = {"".join(map(str, p)): basis[list(p)] for p in permutations(range(count))}
    windows = {i: in_turn(order, random) for i, order in orders.items()}
    table = make_table(tmp_path, {i: order.mean(axis=0) for i, order in orders.items()}, windows)
    right, reverse = "01234"[:count], "43210"[-count:]
    hits = ordered(parts(basis), Gallery(table), len(orders))
    assert hits[0].id == right
    assert [(moment.start, moment.end) for moment in hits[0].moments] == [(4.0 * n, 4.0 * n + 4) for n in range(count)]
    assert (hits[0].start, hits[0].end) == (0, 4 * count)
    assert hits[0].score == pytest.approx(np.mean([moment.score for moment in hits[0].moments]))
    assert hits[0].score > 0.99 > next(hit.score for hit in hits if hit.id == reverse) + 0.2


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """700 videos: every third without windows, the others with 1 to 8 of two lengths."""
    random = np.random.default_rng(1)
    videos = {f"v{n:03d}": vector for n, vector in enumerate(some_units(random, 700))}
    windows = {}
    for n, i in enumerate(videos):
        if n % 3:
            spans = [(2.0 * t, 2.0 * t + 4) for t in range(1 + n % 5)] + [(4.0 * t, 4.0 * t + 8) for t in range(n % 4)]
            windows[i] = np.array(sorted(spans)), some_units(random, len(spans))
    return videos, windows, make_table(tmp_path_factory.mktemp("many"), videos, windows)


def all_scores(asked, videos, windows):
    out = {}
    for i, vector in videos.items():
        spans, vectors = windows.get(i, (np.zeros((1, 2)), vector[None]))
        scores = np.stack([(vectors @ part.T).max(axis=1) for part in asked.parts], axis=1)
        best = brute_force(spans, scores) / scores.shape[1] if len(spans) > 1 else -np.inf
        out[i] = best if best > -np.inf else float((asked.sentence @ vector).max())
    return out


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_candidates_are_enough_for_what_every_video_would_give(many, count, k):
    videos, windows, table = many
    random = np.random.default_rng(10 * count + k)
    alternatives = [some_units(random, n) for n in (2, *[1] * (count - 1))]
    asked = Parts(alternatives, some_units(random, 2))
    scores = all_scores(asked, videos, windows)
    right = sorted(scores, key=lambda i: (-scores[i], i))[:k]
    hits = ordered(asked, Gallery(table), k)
    assert [hit.id for hit in hits] == right
    assert [hit.score for hit in hits] == pytest.approx([scores[i] for i in right], abs=1e-5)
    assert [hit.rank for hit in hits] == list(range(1, k + 1))


def test_ids_filters_and_what_is_kept_hold(many):
    videos, windows, table = many
    asked = parts(some_units(np.random.default_rng(3), 2))
    ids = {i for i in videos if i[-1] in "01234567"}
    keep = lambda hits: [hit for hit in hits if hit.id[-1] != "4"]  # noqa: E731
    gallery = Gallery(table, ids=ids, where="path != '/v001.mp4'", keep=keep)
    scores = {
        i: score for i, score in all_scores(asked, videos, windows).items() if i in ids and i[-1] != "4" and i != "v001"
    }
    assert [hit.id for hit in ordered(asked, gallery, 20)] == sorted(scores, key=lambda i: (-scores[i], i))[:20]


def test_more_parts_than_windows_and_a_single_window_are_asked_for_the_sentence(tmp_path):
    random = np.random.default_rng(0)
    vectors = some_units(random, 3)
    spans = np.array([[0.0, 4.0], [4.0, 8.0]])
    table = make_table(
        tmp_path,
        dict(zip("abc", vectors, strict=True)),
        {"a": (spans, some_units(random, 2)), "b": (spans[:1], some_units(random, 1))},
    )
    asked = Parts([some_units(random, 1) for _ in range(5)], some_units(random, 1))
    hits = ordered(asked, Gallery(table), 10)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(
        {i: float(asked.sentence[0] @ v) for i, v in zip("abc", vectors, strict=True)}, abs=1e-6
    )
    assert all(hit.moments == () and (hit.start, hit.end) == (0, None) for hit in hits)


def test_an_empty_index_and_an_empty_view_have_nothing(tmp_path, many):
    asked = parts(some_units(np.random.default_rng(0), 2))
    assert ordered(asked, Gallery(make_table(tmp_path, {}, {})), 5) == []
    assert ordered(asked, Gallery(many[2], ids=[]), 5) == []


def test_a_query_of_clips_is_its_sentence(world_index, model):
    query = Query("a red square moves left.", then=("it grows",), k=24)
    said = search("a red square moves left, then it grows", index=world_index, model=model, k=24)
    got = search(query, index=world_index, model=model)
    assert [hit.id for hit in got] == [hit.id for hit in said]
    assert [hit.score for hit in got] == pytest.approx([hit.score for hit in said], abs=1e-5)


def test_after_captions_or_an_example_nothing_says_it_in_one_sentence(world, world_index, model):
    then = caption(world[1][4])
    seen = search(then, index=world_index, model=model, k=24)
    only = search(Query(captions="no such words", then=(then,), k=24), index=world_index, model=model)
    assert [hit.id for hit in only] == [hit.id for hit in seen]
    like = search(Query(like=world[0] / "00002.mp4", then=(then,), k=24), index=world_index, model=model)
    alike = {
        hit.id: hit.score for hit in search(Query(like=world[0] / "00002.mp4", k=24), index=world_index, model=model)
    }
    scores = {hit.id: hit.score for hit in seen}
    assert {hit.id: hit.score for hit in like} == pytest.approx(
        {i: (score + scores[i]) / 2 for i, score in alike.items()}, abs=1e-5
    )


def test_files_are_found_in_the_order_of_their_scenes(c2v_here, model, tmp_path):
    random, size, seconds = Random(3), 96, 3
    things = (("red", "square"), "left"), (("green", "circle"), "grow"), (("white", "star"), "up")
    alone = [scene_of((thing,), (((0, action),),), random) for thing, action in things]
    for name, order in (("forth", (0, 1, 2)), ("back", (2, 1, 0)), ("other", (1, 1, 1))):
        times = [n / (6 * seconds) for n in range(6 * seconds)]
        frames = np.concatenate([render(alone[n], times, size) for n in order])
        write_video(tmp_path / f"{name}.mp4", frames, 6)
    index = tmp_path / "index"
    embed_videos([tmp_path], index=index, model=model, windows="3/1.5")
    first, _, last = map(caption, alone)

    def asked(*line):
        code, out, _ = c2v_here("search", *line, "--index", index, "--json")
        assert code == 0
        return json.loads(out)

    for line, right in ((f'{first} --then "{last}"', "forth"), (f'{last} --then "{first}"', "back")):
        (hit, *_) = asked(line)["hits"]
        assert hit["path"].endswith(f"{right}.mp4")
        assert [(moment["start"], moment["end"]) for moment in hit["moments"]] == [(0, 3), (6, 9)]
    result = asked(caption(alone[1]), "--not", last)
    assert [hit["path"].endswith("other.mp4") for hit in result["hits"]] == [True]
    assert [(one["text"], one["dropped"], one["seen"]) for one in result["dropped"]] == [(last, 2, 3)]
