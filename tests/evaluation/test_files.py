"""Evaluation of scores and vectors in files: the numbers, whose caption is whose, and what is refused."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip2video_plugin.errors import Clip2VideoError, NotComparableError
from clip2video_plugin.evaluation import evaluate_scores, evaluate_vectors, rank_vectors, retrieval_metrics

GOLDEN = Path(__file__).parent.parent / "golden"
SPEC = json.loads((GOLDEN / "metrics.json").read_text())
MATRICES = np.load(GOLDEN / "metrics.npz")
NAMES = {"R@1": "R1", "R@5": "R5", "R@10": "R10", "MdR": "MedianR", "MnR": "MeanR"}


def saved(folder, name, array):
    np.save(folder / f"{name}.npy", array)
    return folder / f"{name}.npy"


def by_hand(scores, column):
    """Recalls, median and mean rank of both directions: a loop over queries, ties counted one half."""
    texts = [1 + (row > row[c]).sum() + ((row == row[c]).sum() - 1) / 2 for row, c in zip(scores, column, strict=True)]
    asked, videos = sorted(set(column.tolist())), []
    for video in asked:
        best = np.array([scores[column == other, video].max() for other in asked])
        mine = best[asked.index(video)]
        videos.append(1 + (best > mine).sum() + ((best == mine).sum() - 1) / 2)
    return {
        way: {
            **{f"R@{k}": 100 * np.mean(np.array(ranks) <= k) for k in (1, 5, 10)},
            "MdR": np.median(ranks),
            "MnR": np.mean(ranks),
            "n": len(ranks),
        }
        for way, ranks in (("t2v", texts), ("v2t", videos))
    }


def cosines(texts, videos):
    """[T, V], one product at a time in double precision."""
    texts, videos = texts.astype(np.float64), videos.astype(np.float64)
    return np.array([[t @ v / np.sqrt((t @ t) * (v @ v)) for v in videos] for t in texts])


def same(found, expected):
    for way in ("t2v", "v2t"):
        assert getattr(found, way) == pytest.approx(expected[way], rel=1e-9), way


@pytest.mark.parametrize("name", SPEC)
@pytest.mark.parametrize("form", ["npy", "npz", "transposed"])
def test_reference_arithmetic_of_a_file_equals_the_golden_metrics(name, form, tmp_path):
    cuts, matrix = SPEC[name].get("cut_off_points"), MATRICES[name]
    column = None if cuts is None else np.repeat(np.arange(len(cuts)), np.diff([0, *cuts]))
    if form == "npz" and column is not None:
        np.savez(tmp_path / "scores.npz", scores=matrix, caption_video=column, other=np.zeros(3))
        found = evaluate_scores(tmp_path / "scores.npz", ties="reference")
    elif form == "npz":
        np.savez_compressed(tmp_path / "scores.npz", similarity=matrix)
        found = evaluate_scores(str(tmp_path / "scores.npz"), ties="reference")
    else:
        path = saved(tmp_path, "scores", matrix.T if form == "transposed" else matrix)
        given = None if column is None else saved(tmp_path, "column", column)
        found = evaluate_scores(path, given, transposed=form == "transposed", ties="reference")
    for way in ("t2v", "v2t"):
        for ours, theirs in NAMES.items():
            assert getattr(found, way)[ours] == pytest.approx(SPEC[name][way][theirs], rel=1e-6), (way, ours)
    assert (found.captions, found.videos, found.ties) == (*matrix.shape, "reference")


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int8, ">f4"])
@pytest.mark.parametrize("captions", [37, 90])
def test_vectors_are_ranked_by_cosine(kind, captions, tmp_path):
    rng = np.random.default_rng(1)
    videos = (20 * rng.standard_normal((37, 48))).astype(kind)
    column = np.arange(37) if captions == 37 else rng.integers(0, 30, captions)  # the last videos have no captions
    texts = (0.2 * videos.astype(float)[column] + 14 * rng.standard_normal((captions, 48))).astype(kind)
    given = None if captions == 37 else saved(tmp_path, "column", column.astype(np.uint16))
    found = evaluate_vectors(saved(tmp_path, "t", texts), saved(tmp_path, "v", videos), given)
    expected = by_hand(np.round(cosines(texts, videos), 9), column)
    same(found, expected)
    assert 10 < found.t2v["R@1"] < 90  # or nothing was tested
    low, high = found.intervals["t2v"]["R@1"]
    assert low <= found.t2v["R@1"] <= high


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.float16, np.float64])
def test_scores_of_any_number_kind_are_ranked(kind, tmp_path):
    rng = np.random.default_rng(2)
    scores, column = rng.integers(-100, 0, (40, 12)), rng.integers(0, 12, 40)
    scores = (scores + (100 if kind is np.uint8 else 0)).astype(kind)
    found = evaluate_scores(saved(tmp_path, "s", scores), saved(tmp_path, "c", column))
    same(found, by_hand(scores, column))
    assert retrieval_metrics(scores, column) == {"t2v": found.t2v, "v2t": found.v2t}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 30))
def test_order_and_length_change_nothing(seed, videos, captions):
    rng = np.random.default_rng(seed)
    v, column = rng.standard_normal((videos, 6)), rng.integers(0, videos, captions)
    t = v[column] + rng.standard_normal((captions, 6))
    first = evaluate_vectors(t, v, column)
    order, places = rng.permutation(videos), rng.permutation(captions)
    moved = evaluate_vectors(t[places], v[order], np.argsort(order)[column[places]])
    longer = evaluate_vectors(t * rng.uniform(0.1, 9, (captions, 1)), v * rng.uniform(0.1, 9, (videos, 1)), column)
    scores = cosines(t, v)
    by_scores = evaluate_scores(scores, column)
    scaled = evaluate_scores(3.5 * scores[places][:, order], np.argsort(order)[column[places]])
    for other in (moved, longer, by_scores, scaled):
        same(other, {"t2v": first.t2v, "v2t": first.v2t})


def test_equal_captions_tie_wherever_they_stand(monkeypatch):
    """A product in single precision gives equal rows other last bits in other places of a block."""
    from clip2video_plugin.evaluation import retrieval

    rng = np.random.default_rng(3)
    videos = rng.standard_normal((301, 64), dtype=np.float32)
    texts = videos.copy()
    texts[[7, 150, 299, 300]] = texts[7]  # one sentence of four videos
    for block in (1, 7, 150, 2048):
        monkeypatch.setattr(retrieval, "BLOCK", block)
        ranking = rank_vectors(texts, videos, np.arange(301))
        assert ranking.v_tied[[7, 150, 299, 300]].tolist() == [3, 3, 3, 3]
        assert len(ranking.metrics("reference")["v2t"]) == 6
        assert ranking.metrics("reference")["v2t"]["n"] == 301 + 4 * 3
        assert ranking.metrics()["v2t"]["n"] == 301


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 60))
def test_tiles_of_any_size_give_the_same(seed, block, tile):
    from clip2video_plugin.evaluation import retrieval

    rng = np.random.default_rng(seed)
    texts, videos, column = (
        rng.integers(-2, 3, (17, 3)) + 0.5,
        rng.integers(-2, 3, (8, 3)) + 0.5,
        rng.integers(0, 8, 17),
    )
    expected = by_hand(cosines(texts, videos).astype(np.float32), column)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "BLOCK", block)
        patch.setattr(retrieval, "TILE", tile)
        found = rank_vectors(texts, videos, column).metrics()
    assert found == {way: pytest.approx(expected[way]) for way in found}


def test_a_protocol_brings_its_published_row_and_its_size(tmp_path):
    rng = np.random.default_rng(4)
    found = evaluate_scores(rng.standard_normal((1000, 1000), dtype=np.float32), protocol="1k-a")
    assert (found.protocol, found.not_comparable, found.model) == ("1k-a", None, None)
    assert (found.published.t2v[0], found.published.v2t[0]) == (45.6, 43.5)
    small = rng.standard_normal((999, 1000), dtype=np.float32)
    with pytest.raises(NotComparableError, match="999 of 1000 captions: not comparable"):
        evaluate_scores(small, np.arange(999), protocol="1k-a")
    found = evaluate_scores(small, np.arange(999), protocol="1k-a", allow_incomplete=True)
    assert found.not_comparable == "999 of 1000 captions: not comparable"
    with pytest.raises(NotComparableError, match="1000 of 670 videos"):
        evaluate_vectors(small[:, :4], np.ones((1000, 4)), np.arange(999), protocol="msvd")
    with pytest.raises(Clip2VideoError, match="protocol is '1ka'; there are 1k-a, 7k, full, msvd"):
        evaluate_scores(small, protocol="1ka")


def test_a_matrix_the_wrong_way_round_is_recognised():
    wide = np.zeros((670, 27_763), np.int8)
    for protocol in ("msvd", None):
        with pytest.raises(Clip2VideoError, match="if its rows are videos, say so: --transposed") as refused:
            evaluate_scores(wide, protocol=protocol, allow_incomplete=True)
        assert refused.value.exit_code == (4 if protocol else 1)
    with pytest.raises(Clip2VideoError, match=r"27763 numbers for 670 captions.*--transposed"):
        evaluate_scores(wide, np.zeros(27_763, int))
    with pytest.raises(NotComparableError, match="wrong way round; leave out --transposed"):
        evaluate_scores(wide.T, transposed=True, protocol="msvd")
    with pytest.raises(NotComparableError, match="wrong way round; if the two are swapped, swap them"):
        evaluate_vectors(np.ones((670, 2)), np.ones((27_763, 2)), protocol="msvd")
    assert evaluate_scores(wide[:3, :7], np.arange(7) % 3, transposed=True).captions == 7


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def written(path, content):
    path.write_bytes(content)
    return path


def several(folder, **arrays):
    np.savez(folder / "several.npz", **arrays)
    return folder / "several.npz"


def cut(path):
    return written(path, path.read_bytes()[:-40])


def zipped(path, name, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return path


def npy(header):
    """A .npy file with a header of one's own."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


HUGE = npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {(2**40, 2**40)}}}")
CODE = npy("__import__('os').system('touch ran')")
REFUSED = {
    "missing": (lambda d: d / "nowhere.npy", "nowhere.npy is not there"),
    "folder": (lambda d: d, "is no file"),
    "device": (lambda d: Path("/dev/zero"), "is no file"),
    "empty": (lambda d: written(d / "a.npy", b""), "is no .npy or .npz file"),
    "text": (lambda d: written(d / "a.npy", b"1,2"), "is no .npy or .npz file"),
    "pickle": (lambda d: written(d / "a.npy", pickle.dumps(np.eye(3))), "is a pickle"),
    "old pickle": (lambda d: written(d / "a.pkl", pickle.dumps(np.eye(3), 0)), "is a pickle"),
    "objects": (lambda d: saved(d, "a", np.array([[Evil()]])), "holds Python objects, a pickle"),
    "objects in npz": (lambda d: several(d, scores=np.array([[Evil()]])), "holds Python objects, a pickle"),
    "cut off": (lambda d: cut(saved(d, "a", np.eye(9))), "is damaged"),
    "cut off npz": (lambda d: cut(several(d, a=np.eye(9))), "is damaged"),
    "no arrays": (lambda d: zipped(d / "a.npz", "readme.txt", "x"), "no arrays"),
    "damaged member": (lambda d: zipped(d / "a.npz", "scores.npy", npy("")), "is damaged"),
    "absurd": (lambda d: written(d / "a.npy", HUGE), "is damaged"),
    "absurd member": (lambda d: zipped(d / "a.npz", "scores.npy", HUGE), "is damaged"),
    "header with code": (lambda d: written(d / "a.npy", CODE), "is damaged"),
    "unnamed": (lambda d: several(d, a=np.eye(2), b=np.eye(2)), "holds a, b; the matrix must be called scores"),
    "words": (lambda d: saved(d, "a", np.array([["a", "b"]])), "expected real numbers"),
    "complex": (lambda d: saved(d, "a", np.eye(2) * 1j), "holds complex128"),
    "truth": (lambda d: saved(d, "a", np.eye(2) > 0), "holds bool"),
    "a vector": (lambda d: saved(d, "a", np.arange(4.0)), "of shape (4,); expected"),
    "a cube": (lambda d: saved(d, "a", np.zeros((2, 2, 2))), "of shape (2, 2, 2); expected"),
    "nothing": (lambda d: several(d, a=np.zeros((0, 4))), "of shape (0, 4); expected"),
    "nan": (lambda d: saved(d, "a", np.where(np.eye(4), np.nan, 1)), "NaN or infinity in row 0"),
    "infinity": (lambda d: saved(d, "a", np.where(np.arange(16).reshape(4, 4) == 9, np.inf, 1)), "in row 2"),
    "not square": (lambda d: saved(d, "a", np.zeros((4, 2))), "4 captions and 2 videos; say which"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_matrix_of_scores_is_refused_in_one_line_and_runs_nothing(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, words = REFUSED[case]
    with pytest.raises(Clip2VideoError) as refused:
        evaluate_scores(make(tmp_path))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not Path("ran").exists()
    if "pickle" in words:
        assert "python -m clip2video_plugin.evaluation.unpickle" in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "videos", "column", "words"),
    [
        (np.ones((3, 4)), np.ones((3, 5)), None, "4 numbers and video vectors 5"),
        (np.ones((3, 4)), np.ones((2, 4)), None, "3 captions and 2 videos"),
        (np.ones((3, 4)), np.ones((2, 4)), [0], "caption_video has 1 numbers for 3 captions; it takes one per caption"),
        (np.ones((3, 4)), np.ones((2, 4)), [0, 1, 2], "goes from 0 to 2; there are 2 videos"),
        (np.ones((3, 4)), np.ones((2, 4)), [0, -1, 1], "goes from -1 to 1"),
        (np.ones((3, 4)), np.ones((2, 4)), [0.0, 1.0, 1.0], "column number"),
        (np.ones((3, 4)), np.ones((2, 4)), [[0, 1, 1]], "column number"),
        (np.ones(4), np.ones((2, 4)), None, "text vectors are float64 of shape (4,)"),
        (np.ones((2, 4)), np.ones((2, 4)) * [[1], [0]], None, "video vectors have no direction in row 1"),
        (np.ones((2, 4)) * [[1], [np.nan]], np.ones((2, 4)), None, "text vectors have no direction in row 1"),
        (np.ones((2, 4)), np.ones((2, 4)) * [[np.inf], [1]], None, "video vectors have no direction in row 0"),
    ],
)
def test_vectors_that_do_not_fit_are_named(texts, videos, column, words):
    with pytest.raises(Clip2VideoError) as refused:
        evaluate_vectors(texts, videos, None if column is None else np.array(column))
    assert words in str(refused.value)


def test_a_video_without_captions_is_a_rival_that_is_checked_too():
    videos = np.vstack([np.eye(3), np.full((1, 3), np.nan)])
    with pytest.raises(Clip2VideoError, match="video vectors have no direction in row 3"):
        evaluate_vectors(np.eye(3), videos, np.arange(3))


def test_two_answers_to_whose_captions_they_are_are_one_too_many(tmp_path):
    np.savez(tmp_path / "both.npz", scores=np.eye(2), caption_video=[1, 0])
    assert evaluate_scores(tmp_path / "both.npz").t2v["R@1"] == 0
    with pytest.raises(Clip2VideoError, match="another is given; leave one out"):
        evaluate_scores(tmp_path / "both.npz", np.arange(2))
    with pytest.raises(Clip2VideoError, match="ties is 'fair'"):
        evaluate_scores(tmp_path / "nowhere.npy", ties="fair")


def test_memory_does_not_grow_with_captions_times_videos(tmp_path):
    """8,000 by 8,000 scores would be 256 MB, 512 in double precision, and as many again for the other direction."""
    rng = np.random.default_rng(0)
    for name in ("t", "v"):
        saved(tmp_path, name, rng.standard_normal((8_000, 16), dtype=np.float32))
    code = (
        "from clip2video_plugin.evaluation import evaluate_vectors\n"
        "assert evaluate_vectors('t.npy', 'v.npy').captions == 8_000\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400_000  # kilobytes
