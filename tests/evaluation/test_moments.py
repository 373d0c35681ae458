"""R1 and mAP of moments, against a second implementation from the description of moment_detr's metrics."""

import json

import numpy as np
import pytest

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.evaluation import evaluate_moments, read_moments, write_moments
from clip2video_plugin.evaluation.moments import Moments


def iou(a, b):
    shared = max(min(a[1], b[1]) - max(a[0], b[0]), 0)
    return shared / (a[1] - a[0] + b[1] - b[0] - shared)


def precision_area(predicted, true, least):
    """The mean, over the true windows, of the best precision at which so many of them are found."""
    ranked = sorted(predicted[:10], key=lambda window: -window[2])
    taken, found = set(), [0]
    for window in ranked:
        free = [(iou(window, t), n) for n, t in enumerate(true) if n not in taken and iou(window, t) >= least]
        if free:
            taken.add(max(free)[1])
        found.append(len(taken))
    levels = range(1, len(true) + 1)
    return sum(max((f / n for n, f in enumerate(found) if f >= k), default=0) for k in levels) / len(true)


def peer(queries, shortest, longest):
    first, areas = [], []
    for predicted, true in queries:
        true = [t for t in true if shortest < t[1] - t[0] <= longest]
        if true:
            first.append(max((iou(predicted[0], t) for t in true), default=0))
            areas.append([precision_area(predicted, true, n / 100) for n in range(50, 100, 5)])
    first, areas = np.array(first), np.array(areas)
    return [
        len(first),
        *(100 * (first >= 0.5).mean(), 100 * (first >= 0.7).mean(), 100 * first.mean()),
        *(100 * areas.mean(), 100 * areas[:, 0].mean(), 100 * areas[:, 5].mean()),
    ]


def drawn(random):
    """A query of one to five true windows, some of them found more or less well, among others."""
    starts = random.integers(0, 150, random.integers(1, 6))
    true = [[float(s), float(s + random.choice([4, 9, 10, 11, 25, 30, 31, 60]))] for s in starts]
    moved = [[t[0] + d, t[1] + e] for t in true for d, e in random.normal(0, 2, (3, 2))]
    far = [[float(s), float(s) + 7] for s in random.integers(0, 150, 5)]
    windows = [[*w, float(random.random())] for w in moved + far if w[1] > w[0]]
    return sorted(windows, key=lambda w: -w[2]), true


def moments(queries):
    found = [Moments(n, "a dog", "v", tuple(map(tuple, predicted))) for n, (predicted, _) in enumerate(queries)]
    return found, [Moments(n, "a dog", "v", tuple(map(tuple, true))) for n, (_, true) in enumerate(queries)]


def test_the_numbers_are_those_of_a_second_implementation():
    random = np.random.default_rng(4)
    queries = [drawn(random) for _ in range(150)]
    found = evaluate_moments(*moments(queries))
    lengths = {"full": (-1, 1e9), "short": (0, 10), "middle": (10, 30), "long": (30, 1e9)}
    for name, (shortest, longest) in lengths.items():
        assert list(vars(getattr(found, name)).values()) == pytest.approx(peer(queries, shortest, longest))


def test_a_window_of_two_counts_by_hand():
    """Found: one of two true windows, first, and a wrong one; and by a second query nothing."""
    queries = [([[0.0, 10.0, 0.9], [50.0, 60.0, 0.8]], [[0.0, 8.0], [20.0, 28.0]]), ([], [[0.0, 40.0]])]
    found = evaluate_moments(*moments(queries))
    full = found.full
    assert (full.n, full.r1_50, full.r1_70, full.miou) == (2, 50, 50, pytest.approx(40))
    # .5 up to an overlap of .8, which is seven of ten thresholds, and 0 beyond, in one of two queries
    assert (full.map, full.map_50, full.map_75) == (pytest.approx(17.5), 25, 25)
    assert (found.short.n, found.middle, found.long.n) == (1, None, 1)


def test_files_are_read_as_they_were_written(tmp_path):
    found, true = moments([drawn(np.random.default_rng(1))])
    write_moments(tmp_path / "p.jsonl", found, predicted=True)
    write_moments(tmp_path / "t.jsonl", true, predicted=False)
    assert (read_moments(tmp_path / "p.jsonl"), read_moments(tmp_path / "t.jsonl")) == (found, true)
    assert list(json.loads((tmp_path / "p.jsonl").read_text())) == ["qid", "query", "vid", "pred_relevant_windows"]
    more = {"qid": 7, "duration": 150, "relevant_clip_ids": [1], "relevant_windows": [[0, 2]], "query": "é", "vid": "v"}
    (tmp_path / "t.jsonl").write_text(json.dumps(more) + "\n\n")
    assert read_moments(tmp_path / "t.jsonl") == [Moments(7, "é", "v", ((0.0, 2.0),))]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", r"line 1 of .* is no JSON object"),
        ("{", "is no JSON object"),
        ('{"qid": true, "relevant_windows": []}', "has the qid True"),
        ('{"qid": 1}', "neither pred_relevant_windows nor relevant_windows"),
        ('{"qid": 1, "pred_relevant_windows": [[0, 1]]}', r"the window \[0, 1\]; it must be \[start, end, score\]"),
        ('{"qid": 1, "relevant_windows": [[2, 1]]}', r"the window \[2, 1\]; it must be \[start, end\]"),
        ('{"qid": 1, "relevant_windows": [[0, NaN]]}', "the window"),
        ('{"qid": 1, "relevant_windows": [3]}', "the window 3"),
        ('{"qid": 1, "relevant_windows": []}', "no query has a true window"),
        ('{"qid": 2, "relevant_windows": [[0, 1]]}', "no prediction of 1 queries, the first is qid 2"),
        ('{"qid": 1, "relevant_windows": []}\n' * 2, "qid 1 is there twice"),
        ("", "no truth of 1 queries"),
    ],
)
def test_a_file_that_is_not_of_the_format_is_refused_in_one_line(tmp_path, c2v_here, line, words):
    (tmp_path / "t.jsonl").write_text(line)
    (tmp_path / "p.jsonl").write_text('{"qid": 1, "pred_relevant_windows": [[0, 1, 0.5]]}')
    with pytest.raises(Clip2VideoError, match=words):
        evaluate_moments(tmp_path / "p.jsonl", tmp_path / "t.jsonl")
    code, _, err = c2v_here("eval", "--moments", tmp_path / "p.jsonl", "--truth", tmp_path / "t.jsonl")
    assert (code, b"Traceback" in err) == (1, False)


def test_the_command_prints_the_scores(tmp_path, c2v_here):
    found, true = moments([drawn(np.random.default_rng(n)) for n in range(5)])
    write_moments(tmp_path / "p.jsonl", found, predicted=True)
    write_moments(tmp_path / "t.jsonl", true, predicted=False)
    given = "eval", "--moments", tmp_path / "p.jsonl", "--truth", tmp_path / "t.jsonl"
    code, out, _ = c2v_here(*given, "--json")
    assert (code, json.loads(out)) == (0, evaluate_moments(found, true).to_dict())
    code, out, _ = c2v_here(*given)
    assert (code, b"R1@.5" in out, b"over 30 s" in out) == (0, True, True)
    code, _, err = c2v_here(*given, "--tag", "x", "--scores", "s.npy")
    assert (code, b"--moments are evaluated alone; leave out --tag and --scores" in err) == (1, True)
    code, _, err = c2v_here(*given[:3])
    assert (code, b"give both --moments and --truth" in err) == (1, True)
