"""Where in a video a query fits."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.stories import set_c, twice
from clip2video_plugin import Query, open_index
from clip2video_plugin.index import Span, VideoIndex
from clip2video_plugin.query import Gallery, Windows, answer
from clip2video_plugin.query.moments import Curve, spans
from clip2video_plugin.video.windows import parse_windows

SIZES = parse_windows("2/0.5,3/0.5,4/0.5,6/0.5,8/0.5")


def windows(*rows):
    """Windows (start, end, score) whose product with [1, 0] is their score."""
    vectors = [[score, np.sqrt(1 - score**2)] for *_, score in rows]
    return Windows(np.array([row[:2] for row in rows], float), np.array(vectors, np.float32))


QUERY = np.array([1, 0], np.float32)


def test_a_time_is_as_good_as_the_best_window_over_it():
    random = np.random.default_rng(0)
    starts = random.uniform(0, 50, 60).round(1)
    some = windows(*zip(starts, starts + random.uniform(1, 9, 60).round(1), random.uniform(-0.9, 0.9, 60), strict=True))
    curve = Curve.of(some, QUERY)
    scores = some.vectors @ QUERY
    for low, high, score in zip(curve.edges, curve.edges[1:], curve.scores, strict=False):
        over = (some.spans[:, 0] <= low) & (some.spans[:, 1] >= high)
        assert score == (scores[over].max() if over.any() else scores.min())


def test_moments_are_the_stretches_near_the_best_and_the_best_come_first():
    some = windows((0, 4, 0.1), (4, 8, 0.8), (6, 10, 0.82), (8, 12, 0.2), (12, 16, 0.9), (14, 18, 0.3), (18, 30, 0.1))
    # The mean over 30 s is .36: from .68 on a peak is a moment, and that of .82 reaches down to .73.
    assert spans(some, QUERY) == (Span(12, 16, pytest.approx(0.9)), Span(4, 10, pytest.approx(0.82)))
    assert spans(some, QUERY, threshold=0.85) == (Span(12, 16, pytest.approx(0.9)),)
    assert spans(some, QUERY, threshold=0.95) == ()


def test_a_moment_that_is_less_good_than_the_best_has_ends_of_its_own():
    some = windows((0, 4, 0.7), (4, 8, 0.65), (8, 20, 0.1), (20, 24, 0.8), (24, 28, 0.9), (28, 60, 0.1))
    # The mean is .25; .65 is near .7 as .8 is near .9, and .7 is not near .9
    assert [(span.start, span.end) for span in spans(some, QUERY)] == [(20, 28), (0, 8)]
    other = windows((0, 4, 0.9), (4, 8, 0.7), (8, 12, 0.75), (12, 60, 0.1))
    # 4 to 8 s are too low for the peak of .9, and near enough to the one of .75, which is its shoulder
    assert [(span.start, span.end) for span in spans(other, QUERY)] == [(0, 4)]


def test_of_alternatives_each_may_have_its_moments():
    some = windows((0, 4, 0.9), (4, 8, 0.7), (8, 12, -0.9))
    other = np.array([-1, 0], np.float32)
    assert [(span.start, span.end) for span in spans(some, np.stack([QUERY, other]))] == [(0, 4), (8, 12)]


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5, 0.5], [0.2, 0.9, 0.9, 0.9, 0.9], [-0.3, -0.2], [0.1, 0.1000001]])
def test_the_threshold_never_lies_above_the_best(scores):
    """As mean and deviation do where an event fills more than half of a video."""
    some = windows(*((4 * n, 4 * n + 4, score) for n, score in enumerate(scores)))
    curve = Curve.of(some, QUERY)
    assert curve.threshold <= curve.scores.max()
    assert len(spans(some, QUERY)) == 1


def test_a_video_of_one_frame_is_a_moment():
    assert spans(windows((0, 0, 0.4)), QUERY) == (Span(0, 0, pytest.approx(0.4)),)


def overlap(found, true):
    inside = max(min(found.end, true[1]) - max(found.start, true[0]), 0)
    return inside / (max(found.end, true[1]) - min(found.start, true[0]))


def test_events_of_two_to_six_seconds_are_found(model):
    right = []
    for story in set_c(4, seed=3):
        mine, sentences = story.windows(model, SIZES), model.encode_captions(story.captions).vector.numpy()
        right += [overlap(spans(mine, s)[0], true) for s, true in zip(sentences, story.spans, strict=True)]
    assert sum(iou >= 0.5 for iou in right) >= 19


def test_what_happens_twice_is_found_twice(model):
    for story in twice(3, seed=3):
        sentence = model.encode_captions(story.captions[1:2]).vector.numpy()
        first, second = sorted(spans(story.windows(model, SIZES), sentence)[:2], key=lambda span: span.start)
        assert min(overlap(first, story.spans[1]), overlap(second, story.spans[3])) >= 0.5


@pytest.fixture
def stories(model, tmp_path):
    """An index of three videos: two with windows, and a short one without."""
    from clip2video_plugin.provenance import provenance

    index = VideoIndex.create(tmp_path / "index", model.config.vector_dim, provenance(model, "uniform"))
    told = set_c(3, seed=5)
    rows, parts = [], []
    for n, story in enumerate(told):
        mine = story.windows(model, SIZES)
        whole = mine.vectors.mean(axis=0)
        row = {"id": f"v{n}", "path": f"/v{n}.mp4", "duration": story.duration, "size": 1, "mtime": 1.0}
        rows.append({**row, "vector": whole / np.linalg.norm(whole)})
        for (start, end), vector in zip(mine.spans.tolist(), mine.vectors, strict=True):
            span = {"id": f"v{n}/{start:.3f}-{end:.3f}", "video": f"v{n}", "start": start, "end": end}
            parts.append({**row, **span, "vector": vector})
    index.write(rows)
    index.create_windows().write([part for part in parts if part["video"] != "v2"])
    return told, open_index(tmp_path / "index")


def test_a_search_gives_the_moments_of_its_hits_where_asked(stories, model):
    told, index = stories
    query = Query(told[0].captions[2], moments=True)
    hits = answer(query, Gallery(index), model)
    assert hits[0].id == "v0"
    assert overlap(hits[0].moments[0], told[0].spans[2]) >= 0.5
    assert hits[0].moments[0].score == pytest.approx(hits[0].score, abs=1e-5)
    whole = next(hit for hit in hits if hit.id == "v2")
    assert whole.moments == (Span(0, told[2].duration, pytest.approx(whole.score, abs=1e-5)),)
    assert all(hit.moments == () for hit in answer(replace(query, moments=False), Gallery(index), model))


def test_the_command_shows_the_moments_below_each_hit(stories, c2v_here):
    told, index = stories
    asked = "search", told[1].captions[1], "--index", index.uri, "-k", 2
    code, out, _ = c2v_here(*asked, "--moments", "--json")
    hits = json.loads(out)["hits"]
    assert (code, hits[0]["id"]) == (0, "v1")
    best = Span(**hits[0]["moments"][0])
    assert overlap(best, told[1].spans[1]) >= 0.5
    shown = f"{best.score:.3f} {best.start:.1f} - {best.end:.1f} s"

    def lines(*more):
        return [" ".join(line.split()) for line in c2v_here(*asked, *more)[1].decode().splitlines()]

    assert shown in lines("--moments")
    assert shown not in lines()
