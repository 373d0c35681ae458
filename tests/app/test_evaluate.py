"""Evaluation of a run on its dataset's captions: the numbers, the fields, the exit codes."""

import json
from types import SimpleNamespace

import fiftyone as fo
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video, evaluate
from clip2video_plugin.app.evaluate import worst_failures
from clip2video_plugin.app.operators.data import EvaluateRetrieval
from clip2video_plugin.app.videos import captions_in
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError, NotComparableError
from clip2video_plugin.evaluation import retrieval_metrics
from clip2video_plugin.evaluation.report import bootstrap, markdown


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, name="to-evaluate")
    dataset.persistent = True
    compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path_factory.mktemp("ev"), progress=False)
    yield dataset
    dataset.delete_brain_run("c2v")
    dataset.delete()


def scores_of(dataset, model):
    """Scores [T, V] and the column of each caption, made without the code under test."""
    vectors, ids, _ = dataset.load_brain_results("c2v").get_embeddings()
    rows = dict(zip(ids.tolist(), vectors, strict=True))
    order, texts = dataset.values(["id", "captions"])
    column = np.repeat(np.arange(len(order)), [len(t) for t in texts])
    queries = model.encode_captions([c for t in texts for c in t]).vector.numpy()
    return queries @ np.stack([rows[i] for i in order]).T, column


@pytest.mark.parametrize("ties", ["strict", "reference"])
def test_the_metrics_are_those_of_the_score_matrix(dataset, model, ties):
    result = evaluate(dataset, brain_key="c2v", ties=ties, progress=False)
    expected = retrieval_metrics(*scores_of(dataset, model), ties=ties)
    for direction in ("t2v", "v2t"):
        assert getattr(result, direction) == pytest.approx(expected[direction], abs=1e-6)
    assert (result.videos, result.captions, result.model) == (24, 72, "shapes")
    assert result.t2v["R@1"] > 60
    for direction in ("t2v", "v2t"):
        low, high = result.intervals[direction]["R@1"]
        assert 0 <= low <= high <= 100
    if ties == "strict":
        low, high = result.intervals["t2v"]["R@1"]
        assert low <= result.t2v["R@1"] <= high


def test_ranks_and_rivals_become_fields_and_the_worst_failures_a_view(dataset, model):
    evaluate(dataset, brain_key="c2v", progress=False)
    scores, column = scores_of(dataset, model)
    ids = dataset.values("id")
    for n, sample in enumerate(dataset):
        mine = scores[column == n]
        ranks = 1 + (mine > mine[:, [n]]).sum(axis=1)
        assert sample["c2v_ranks"] == ranks.tolist()
        assert sample["c2v_worst_rank"] == ranks.max()
        mine[:, n] = -np.inf
        assert sample["c2v_rivals"] == [ids[i] for i in mine.argmax(axis=1)]
    worst = worst_failures(dataset, "c2v", 5).values("c2v_worst_rank")
    assert worst == sorted(dataset.values("c2v_worst_rank"), reverse=True)[:5]


def test_the_form_evaluates_the_captions_that_the_command_does(dataset, model):
    dataset.add_sample_field("query", fo.StringField)
    dataset.set_values("query", [captions[1] for captions in dataset.values("captions")])
    ctx = SimpleNamespace(dataset=dataset, view=dataset.view(), params={"brain_key": "c2v"}, delegated=True)
    form = EvaluateRetrieval().resolve_input(ctx).type.properties["captions"]
    try:
        assert (form.default, form.invalid) == ("query", False)
        shown = evaluate(dataset, brain_key="c2v", captions_field=form.default, progress=False)
        assert shown == evaluate(dataset, brain_key="c2v", progress=False)
        assert shown.captions == 24
    finally:
        dataset.delete_sample_field("query")


def test_a_value_that_holds_no_captions_has_none():
    assert captions_in("one") == captions_in(["one", "", None, 3]) == ["one"]
    assert captions_in(None) == captions_in(7) == captions_in({"a": "b"}) == []


def test_a_view_is_a_gallery_of_its_own(dataset):
    result = evaluate(dataset[:6], brain_key="c2v", write_fields=False, progress=False)
    assert (result.videos, result.captions) == (6, 18)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"brain_key": "nope"}, "no brain key 'nope'; there are: c2v"),
        ({"brain_key": "c2v", "captions_field": "nope"}, "no field 'nope'"),
        ({"brain_key": "c2v", "ties": "fair"}, "ties is 'fair'"),
    ],
)
def test_what_cannot_be_evaluated_is_named(dataset, options, message):
    with pytest.raises(Clip2VideoError, match=message):
        evaluate(dataset, progress=False, **options)


@pytest.fixture
def incomplete(dataset):
    dataset.info = {"protocol": "msvd", "split": "test", "expected": {"videos": 670, "captions": 27_763}}
    dataset.save()
    yield dataset
    dataset.info = {}
    dataset.save()


def test_an_incomplete_gallery_is_not_comparable(incomplete):
    with pytest.raises(NotComparableError, match="24 of 670 videos: not comparable"):
        evaluate(incomplete, brain_key="c2v", progress=False)
    result = evaluate(incomplete, brain_key="c2v", allow_incomplete=True, progress=False)
    assert result.not_comparable == "24 of 670 videos: not comparable"
    assert result.published.t2v[0] == 47.0


def test_the_command_exits_with_4_unless_allowed(incomplete, c2v):
    done = c2v("eval", "to-evaluate")
    assert done.returncode == 4
    assert "24 of 670 videos: not comparable" in done.stderr
    assert done.stdout == ""
    done = c2v("eval", "--protocol", "msvd", "--allow-incomplete")
    assert done.returncode == 0, done.stderr
    assert "47" in done.stdout
    assert "not comparable" in done.stdout


def test_the_command_prints_a_table_json_or_markdown(dataset, c2v):
    done = c2v("eval", "to-evaluate", "--brain-key", "c2v", "--brain-key", "c2v")
    assert done.returncode == 0, done.stderr
    assert [done.stdout.count(word) for word in ("text to video", "video to text", " c2v ")] == [1, 1, 4]
    document = json.loads(c2v("eval", "to-evaluate", "--json").stdout)
    assert set(document[0]["t2v"]) == {"R@1", "R@5", "R@10", "MdR", "MnR", "n"}
    lines = c2v("eval", "to-evaluate", "--markdown").stdout.splitlines()
    assert lines[0].startswith("| direction | name | R@1")
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"), [([], "name a dataset"), (["nope"], "no dataset 'nope'"), (["--protocol", "full"], "none")]
)
def test_the_command_says_what_is_missing(c2v, arguments, words):
    done = c2v("eval", *arguments)
    assert done.returncode == 1
    assert words in done.stderr


def test_intervals_narrow_with_more_videos_and_hold_whole_videos_together():
    rng = np.random.default_rng(0)
    few, many = (rng.integers(1, 3, n * 5).astype(float) for n in (20, 2000))
    narrow = bootstrap(many, np.repeat(np.arange(2000), 5))["R@1"]
    wide = bootstrap(few, np.repeat(np.arange(20), 5))["R@1"]
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    together = bootstrap(np.repeat(rng.integers(1, 3, 200), 5).astype(float), np.repeat(np.arange(200), 5))["R@1"]
    apart = bootstrap(rng.integers(1, 3, 1000).astype(float), np.arange(1000))["R@1"]
    assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])


def test_markdown_shows_published_rows_once():
    from dataclasses import replace

    from clip2video_plugin.evaluation.report import Evaluation, Published

    row = {"R@1": 1.0, "R@5": 2.0, "R@10": 3.0, "MdR": 4.0, "MnR": 5.0, "n": 6}
    one = Evaluation("a", "m", 6, 6, "strict", row, row, published=Published("paper", (9, 9, 9, 9, 9), (8, 8, 8, 8, 8)))
    assert markdown([one, replace(one, name="b")]).count("paper") == 2  # once a direction


def test_videos_that_share_their_captions_tie(dataset):
    """Equal captions have equal scores wherever they stand: a matrix product alone gives them other last bits."""
    dataset.add_sample_field("shared", fo.ListField, subfield=fo.StringField)
    everything = sorted({caption for captions in dataset.values("captions") for caption in captions})[:47]
    dataset.set_values("shared", [everything] * len(dataset))
    try:
        options = {"captions_field": "shared", "write_fields": False, "progress": False}
        found = evaluate(dataset, brain_key="c2v", ties="reference", **options)
        assert found.captions == 24 * 47
        assert found.v2t["n"] == 24 * 24
        assert evaluate(dataset, brain_key="c2v", **options).v2t["MdR"] == 12.5
    finally:
        dataset.delete_sample_field("shared")
