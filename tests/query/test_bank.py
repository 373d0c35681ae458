"""A bank of queries takes hubs out of the way where that helps, and does nothing where it would not."""

from random import Random

import numpy as np
import pytest

from clip2video_plugin import Query, search
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.calibration import read_bank
from clip2video_plugin.provenance import provenance
from clip2video_plugin.query import bank as banks
from clip2video_plugin.query.asking import everyday
from clip2video_plugin.query.bank import inverted_softmax, lines_of
from clip2video_plugin.shapes import caption, captions, held_out_scenes
from tests.query.test_confidence import row

COUNT = 60


@pytest.fixture(scope="module")
def scenes():
    return held_out_scenes(4 * COUNT, seed=11)


def index_of(folder, scenes, model, hubs):
    """Videos as their captions have them, of which the last ``hubs`` are near to all sentences."""
    own = model.encode_captions([caption(scene) for scene in scenes[:COUNT]]).vector.numpy()
    noise = np.random.default_rng(0).standard_normal(own.shape) / np.sqrt(own.shape[1])
    vectors = own + 1.5 * noise
    vectors[COUNT - hubs :] = own.mean(axis=0) / np.linalg.norm(own.mean(axis=0)) + 0.6 * own[COUNT - hubs :]
    vectors *= 1 / np.linalg.norm(vectors, axis=1, keepdims=True)
    index = VideoIndex.create(folder, vectors.shape[1], provenance(model))
    index.write([row(n, vectors[n], captions(scenes[n], 3, 0)) for n in range(COUNT)])
    return index


@pytest.fixture(scope="module")
def sentences(scenes):
    return tuple(caption(scene, Random(3)) for scene in scenes[COUNT:])


def test_the_inverted_softmax_is_as_it_is_written():
    random = np.random.default_rng(0)
    scores, bank = random.normal(size=4), random.normal(size=(6, 4))
    expected = [np.exp(3 * s) / sum(np.exp(3 * p) for p in column) for s, column in zip(scores, bank.T, strict=True)]
    assert np.exp(inverted_softmax(scores, bank, 3.0)) == pytest.approx(expected)
    assert np.isfinite(inverted_softmax(1e4 * scores, 1e4 * bank, 3.0)).all()


def test_a_bank_takes_hubs_out_of_the_way(scenes, sentences, model, tmp_path):
    index = index_of(tmp_path, scenes, model, hubs=10)
    asked = [caption(scene, Random(9)) for scene in scenes[: COUNT - 10]]

    def right(bank):
        results = [search(Query(text, bank=bank, k=3), index=index, model=model) for text in asked]
        return np.mean([result[0].id == f"v{n}" for n, result in enumerate(results)]), results

    before, plain = right(None)
    after, ranked = right(sentences)
    assert after > before + 0.05
    assert plain[0].notes == ()
    assert ranked[0].notes[0].startswith(f"ranked by QB-Norm with a bank of {len(set(sentences))} queries")
    scores = {hit.id: hit.score for hit in search(Query(asked[0], k=COUNT), index=index, model=model)}
    assert {hit.id: pytest.approx(hit.score, abs=1e-5) for hit in ranked[0]}.items() <= scores.items()
    assert [hit.rank for hit in ranked[0]] == [1, 2, 3]


def test_a_bank_without_a_gain_does_nothing_and_says_so(scenes, model, tmp_path):
    index = index_of(tmp_path, scenes, model, hubs=0)
    text = caption(scenes[5], Random(9))
    result = search(Query(text, bank=tuple(everyday())), index=index, model=model)
    assert result.hits == search(text, index=index, model=model).hits
    assert "is not used: R@1 of" in result.notes[0]


def test_a_bank_is_encoded_once(scenes, sentences, model, tmp_path, monkeypatch):
    index, query = index_of(tmp_path, scenes, model, hubs=10), Query(caption(scenes[5]), bank=sentences)
    first = search(query, index=index, model=model)
    digest = banks._digest(lines_of(sentences), model, None)
    kept = read_bank(index.uri, digest)
    assert kept == pytest.approx(model.encode_captions(lines_of(sentences)).vector.numpy(), abs=1e-5)
    banks._vectors.clear()  # as in another process
    monkeypatch.setattr(banks, "encoded", lambda *_: pytest.fail("encoded anew"))
    assert search(query, index=index, model=model).hits == first.hits


def test_odd_lines_of_a_bank_are_passed_over(tmp_path):
    file = tmp_path / "queries.txt"
    file.write_bytes("\ufeffa dog runs\r\n\r\n  a cat  \na dog runs\n\x00 odd \n".encode())
    assert lines_of(file) == lines_of(str(file)) == ["a dog runs", "a cat", "\x00 odd"]
    assert lines_of(["a", " ", "a "]) == ["a"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a\n\xff\n", "is no text in UTF-8"),
        (b" \n\n", "has 0 queries"),
        (b"".join(b"%d\n" % n for n in range(5001)), "has 5001 queries"),
        (None, "No such file"),
    ],
)
def test_a_bank_that_is_none_is_one_line(tmp_path, content, says):
    file = tmp_path / "queries.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(QueryError, match=rf"^bank {file}[^\n]*{says}[^\n]*$"):
        lines_of(file)
    with pytest.raises(QueryError, match="Is a directory"):
        lines_of(tmp_path)


def test_a_bank_is_of_sentences(scenes, model, tmp_path):
    index = index_of(tmp_path, scenes, model, hubs=0)
    with pytest.raises(QueryError, match="a bank normalises sentences"):
        search(Query("a dog", then=("a cat",), bank=("a", "b")), index=index, model=model)
