"""The metrics equal the reference's, and the strict ones cannot be gamed."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.evaluation import rank_blocks, retrieval_metrics

GOLDEN = Path(__file__).parent.parent / "golden"
SPEC = json.loads((GOLDEN / "metrics.json").read_text())
MATRICES = np.load(GOLDEN / "metrics.npz")
NAMES = {"R@1": "R1", "R@5": "R5", "R@10": "R10", "MdR": "MedianR", "MnR": "MeanR"}


def columns_of(name):
    cuts = SPEC[name].get("cut_off_points")
    if cuts is None:
        return np.arange(MATRICES[name].shape[1])
    return np.repeat(np.arange(len(cuts)), np.diff([0, *cuts]))


@pytest.mark.parametrize("name", SPEC)
def test_reference_arithmetic_equals_the_golden_metrics(name):
    found = retrieval_metrics(MATRICES[name], columns_of(name), ties="reference")
    for direction in ("t2v", "v2t"):
        golden = SPEC[name][direction]
        for ours, theirs in NAMES.items():
            assert found[direction][ours] == pytest.approx(golden[theirs], rel=1e-6), (direction, ours)
        if "cols" in golden:
            assert found[direction]["n"] == len(golden["cols"])


def test_strict_counts_every_query_once():
    for name in SPEC:
        found = retrieval_metrics(MATRICES[name], columns_of(name))
        assert found["t2v"]["n"] == len(MATRICES[name])
        assert found["v2t"]["n"] == MATRICES[name].shape[1]


def test_constant_scores_earn_nothing():
    found = retrieval_metrics(np.zeros((100, 100)), np.arange(100))
    for direction in ("t2v", "v2t"):
        assert found[direction]["R@10"] == 0
        assert found[direction]["MdR"] == 50.5


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 12), st.integers(1, 40))
def test_blocks_of_any_size_give_the_same(seed, captions, videos, block):
    rng = np.random.default_rng(seed)
    scores, columns = rng.integers(0, 6, (captions, videos)).astype(float), rng.integers(0, videos, captions)
    for ties in ("strict", "reference"):
        blocks = (scores[i : i + block] for i in range(0, captions, block))
        assert rank_blocks(blocks, columns, videos).metrics(ties) == retrieval_metrics(scores, columns, ties=ties)


@given(st.integers(0, 10_000))
def test_a_rank_is_one_plus_better_plus_half_the_ties(seed):
    rng = np.random.default_rng(seed)
    scores, columns = rng.integers(0, 4, (9, 7)), rng.integers(0, 7, 9)
    for row, column, rank in zip(scores, columns, rank_blocks([scores], columns, 7).t2v, strict=True):
        assert rank == 1 + (row > row[column]).sum() + ((row == row[column]).sum() - 1) / 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    scores = np.eye(4)
    scores[1, 2] = value
    with pytest.raises(Clip2VideoError, match="NaN or infinity"):
        retrieval_metrics(scores, np.arange(4))


@pytest.mark.parametrize(
    ("scores", "columns", "message"),
    [
        (np.zeros(4), [0], "expected"),
        (np.zeros((2, 2)), [0, 2], "there are 2 videos"),
        (np.zeros((2, 2)), [0], "more rows"),
        (np.zeros((2, 2)), [0, 1, 1], "3 captions"),
        (np.zeros((2, 2)), [0.5, 1], "column number"),
        (np.zeros((0, 2)), np.array([], int), "column number"),
    ],
)
def test_shapes_that_do_not_fit_are_named(scores, columns, message):
    with pytest.raises(Clip2VideoError, match=message):
        retrieval_metrics(scores, columns)
    with pytest.raises(Clip2VideoError, match="ties is 'fair'"):
        retrieval_metrics(np.eye(2), [0, 1], ties="fair")
