"""A hit says how probable it is where the index is calibrated, and nothing where it is not or was for another."""

import json
from random import Random

import numpy as np
import pytest

from clip2video_plugin import Query, calibrate, embed_videos, open_index, search
from clip2video_plugin.errors import Clip2VideoError, QueryError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.index.calibration import read_fit, write_fit
from clip2video_plugin.provenance import provenance
from clip2video_plugin.query import Gallery, asking
from clip2video_plugin.query.asking import encoded, everyday
from clip2video_plugin.query.calibrate import recalibrate
from clip2video_plugin.query.confidence import calibration_of
from clip2video_plugin.shapes import caption, captions, held_out_scenes, render

COUNT = 120
STAMP = {"size": 1, "mtime": 0.0, "start": 0.0, "end": 3.0, "duration": 3.0}


def row(number, vector, texts=()):
    return {"id": f"v{number}", "path": f"/{number}.mp4", "vector": vector, "captions": list(texts), **STAMP}


@pytest.fixture(scope="module")
def scenes():
    return held_out_scenes(2 * COUNT, seed=11)


@pytest.fixture(scope="module")
def vectors(scenes, model):
    times = np.linspace(0, 1, model.config.max_frames).tolist()
    return model.encode_frames([render(s, times, model.config.image_size) for s in scenes[:COUNT]]).vector.numpy()


@pytest.fixture
def made(tmp_path, scenes, vectors, model):
    """An index of 120 videos with ``n`` captions each, the number of which is asked for."""

    def make(texts, count=COUNT, where="index"):
        index = VideoIndex.create(tmp_path / where, vectors.shape[1], provenance(model))
        some = [captions(scene, texts, 11)[:texts] if texts else [] for scene in scenes[:count]]
        index.write([row(n, vectors[n], some[n]) for n in range(count)])
        return index

    return make


@pytest.fixture(scope="module")
def other_sentences(scenes):
    """A paraphrase of each video's caption that the index does not hold; and captions of what no video there shows."""
    random, known = Random(5), {text for scene in scenes[:COUNT] for text in captions(scene, 3, 11)}
    asked = [next(text for text in iter(lambda s=s: caption(s, random), None) if text not in known) for s in scenes]
    return asked[:COUNT], asked[COUNT:]


@pytest.mark.parametrize(
    ("texts", "source", "within"), [(3, "captions", 0.08), (1, "captions", 0.08), (0, "videos", 0.25)]
)
def test_so_many_hits_are_right_as_was_promised(made, model, vectors, other_sentences, texts, source, within):
    index = made(texts)
    (fit,) = calibrate(index, model=model, foreign=everyday()[::2])
    assert (fit.source, fit.queries, fit.foreign, fit.rows) == (source, COUNT, len(everyday()[::2]), COUNT)
    there, absent = other_sentences
    queries = encoded([*there, *absent[: COUNT // 2], *everyday()[1 : COUNT + 1 : 2]], model)
    scores = queries @ vectors.T
    best, first = scores.max(axis=1), scores.argmax(axis=1)
    p = np.array([fit.confidences([s], [f"v{n}"], COUNT, s)[0] for n, s in zip(first.tolist(), best, strict=True)])
    right = np.append(first[:COUNT] == np.arange(COUNT), np.zeros(COUNT, bool))
    for least in (0.0, 0.5, 0.9):
        kept = p >= least
        assert kept.sum() > 40
        assert p[kept].mean() == pytest.approx(right[kept].mean(), abs=within)
    assert np.mean(p[: len(there)] > 0.5) > 0.8
    assert np.mean(p[-COUNT // 2 :] > 0.1) < 0.05


def test_a_worse_hit_is_less_probable_and_k_changes_nothing(made, model, scenes):
    index = made(2)
    sentence = caption(scenes[4])
    assert [hit.confidence for hit in search(sentence, index=index, model=model)] == [None] * 10
    calibrate(index, model=model)
    p = [hit.confidence for hit in search(sentence, index=index, model=model)]
    assert p == sorted(p, reverse=True)
    assert 0.5 < p[0] < 1
    assert search(sentence, index=index, model=model, k=1)[0].confidence == pytest.approx(p[0])
    assert json.loads(json.dumps(search(sentence, index=index, model=model).to_dict()))["hits"][0]["confidence"] == p[0]


def test_nothing_matches_is_an_answer(made, model, scenes):
    index = made(1)
    calibrate(index, model=model)
    nothing = search(Query("a man rides a bicycle down a hill", min_confidence=0.9), index=index, model=model)
    assert list(nothing) == []
    assert 0 <= nothing.refused < 0.1
    found = search(Query(caption(scenes[0]), min_confidence=0.5), index=index, model=model)
    assert [(hit.rank, hit.id) for hit in found] == [(1, "v0")]
    assert found.refused < 0.5


def test_what_cannot_be_known_says_why(made, model, scenes):
    index = made(0)
    query = Query(caption(scenes[4]), min_confidence=0.01)
    with pytest.raises(QueryError, match=r"^min_confidence is 0.01, but .*not calibrated; run: c2v index calibrate"):
        search(query, index=index, model=model)
    calibrate(index, model=model)
    assert search(query, index=index, model=model)
    assert search(caption(scenes[4]), index=index, model=model, weight=0.2)[0].confidence is None
    with pytest.raises(QueryError, match="leave out weight"):
        search(query, index=index, model=model, weight=0.2)


def test_a_table_made_anew_has_no_calibration_until_it_gets_one(made, model, scenes):
    index = made(1)
    calibrate(index, model=model)
    assert calibration_of(Gallery(index)).rows == COUNT
    index.drop()
    index = made(1, count=40)
    assert calibration_of(Gallery(index)) is None
    with pytest.raises(QueryError, match="was calibrated for another table or by another version; run: c2v"):
        search(Query(caption(scenes[4]), min_confidence=0.5), index=index, model=model)
    assert recalibrate(index, model)
    assert calibration_of(Gallery(index)).rows == 40


def test_the_table_of_a_run_has_its_own(made, model, vectors, c2v_here):
    index = made(0, count=30)
    run = VideoIndex.create(index.uri, vectors.shape[1], provenance(model), table="brain_1")
    run.write([row(n, vectors[n]) for n in range(40)])
    calibrate(run, model=model)
    assert (calibration_of(Gallery(run)).rows, calibration_of(Gallery(index))) == (40, None)
    with pytest.raises(QueryError, match=r"run: c2v index calibrate --index [^ ]*$"):
        search(Query("a dog", min_confidence=0.5), index=index, model=model)
    run.write([row(n, vectors[n]) for n in range(40, 50)])
    code, out, _ = c2v_here("index", "calibrate", "--index", index.uri, "--table", "brain_1", "--json")
    assert (code, json.loads(out)[0]["rows"]) == (0, 50)


def test_an_index_that_grew_by_half_is_calibrated_anew(made, model, vectors):
    index = made(0, count=60)
    assert not recalibrate(index, model)  # was never asked for
    calibrate(index, model=model)
    index.write([row(n, vectors[n]) for n in range(60, 89)])
    assert not recalibrate(index, model)
    index.write([row(89, vectors[89])])
    assert recalibrate(index, model)
    assert calibration_of(Gallery(index)).rows == 90


def test_embedding_does_so(world, model, tmp_path):
    files = sorted(world[0].glob("*.mp4"))
    embed_videos(files[:20], index=tmp_path, model=model)
    calibrate(tmp_path, model=model)
    index = open_index(tmp_path)
    embed_videos(files[:22], index=tmp_path, model=model)
    assert read_fit(index).rows == 20
    write_fit(index, read_fit(index).values, 15)  # as if it had been so small then
    embed_videos(files[:23], index=tmp_path, model=model)
    assert read_fit(index).rows == 23


def test_few_videos_are_too_few(made, model):
    with pytest.raises(Clip2VideoError, match="has 19 videos; a calibration needs at least 20"):
        calibrate(made(0, count=19), model=model)


def test_windows_have_a_calibration_of_their_own(made, model, vectors):
    index = made(1)
    windows = index.create_windows()
    windows.write(
        [
            {**row(n, vectors[n if place else (n + 7) % COUNT]), "id": f"v{n}/{place}", "video": f"v{n}"}
            for n in range(COUNT)
            for place in (0, 1)
        ]
    )
    whole, best = calibrate(index, model=model)
    assert (whole.windows, best.windows) == (False, True)
    assert (whole.rows, best.rows) == (COUNT, 2 * COUNT)
    gallery = Gallery(index)
    assert calibration_of(gallery) == best
    assert calibration_of(gallery, windows=False) == whole
    assert calibration_of(gallery, windows=True) == best
    windows.drop()
    gallery = Gallery(open_index(index.uri))
    assert calibration_of(gallery) == whole
    assert calibration_of(gallery, windows=True) is None


def test_what_is_said_asks_for_nothing(made, model, vectors, scenes):
    index = made(0)
    texts = [caption(scene) for scene in scenes[:COUNT]]
    index.write([{**row(n, vectors[n], [texts[n]]), "caption_times": [[0.0, 1.0]]} for n in range(COUNT)])
    assert calibrate(index, model=model)[0].source == "videos"
    index.write([{**row(n, vectors[n], [texts[n]]), "caption_times": [None]} for n in range(COUNT)])
    assert calibrate(index, model=model)[0].source == "captions"


def test_captions_that_describe_no_videos_are_not_believed(made, model, vectors):
    index = made(0)
    texts = everyday()[:COUNT]
    index.write([row(n, vectors[n], [texts[n]]) for n in range(COUNT)])
    assert calibrate(index, model=model)[0].source == "videos"


def test_thresholds_lie_between_what_fits_and_what_does_not(made, model, vectors, other_sentences):
    fit = calibrate(made(3), model=model)[0]
    own = (encoded(other_sentences[0], model) * vectors).sum(axis=1)
    foreign = (encoded(everyday(), model) @ vectors.T).max(axis=1)
    assert np.quantile(own, 0.1) > fit.credible > np.quantile(foreign, 0.9)
    others = encoded(other_sentences[0], model) @ vectors.T
    assert np.quantile(own, 0.05) > fit.without > np.quantile(others, 0.9)


def test_the_command_prints_what_was_promised_and_what_came(made, model, c2v_here):
    index = made(2)
    code, out, _ = c2v_here("index", "calibrate", "--index", index.uri)
    assert code == 0
    text = out.decode()
    assert f"{COUNT} rows; fitted from {COUNT} held-out captions and {len(everyday())} sentences" in text
    assert "promised" in text
    assert "--min-confidence 0.9 keeps" in text
    code, out, _ = c2v_here("index", "calibrate", "--index", index.uri, "--json")
    (fit,) = json.loads(out)
    assert {"table": "videos", "source": "captions", "queries": COUNT}.items() <= fit.items()
    assert sum(each["count"] for each in fit["bins"]) == 2 * COUNT + len(everyday())
    code, out, _ = c2v_here("search", "a man rides a bicycle", "--min-confidence", ".9", "--index", index.uri)
    assert code == 0
    assert b"nothing matches" in out


def test_everyday_sentences_are_many_and_plain():
    lines = everyday()
    assert len(lines) == len(set(lines)) > 300
    assert all(line == line.strip().lower() and 3 <= len(line.split()) <= 14 for line in lines)


@pytest.mark.parametrize("texts", [0, 1])
def test_of_a_large_table_a_sample_is_looked_at_and_some_queries_ask_all_of_it(
    made, model, vectors, monkeypatch, texts
):
    for name, value in (("QUERIES", 40), ("SAMPLE", 40), ("WHOLE", 15)):
        monkeypatch.setattr(asking, name, value)
    index = made(texts)
    windows = index.create_windows()
    windows.write([{**row(n, vectors[n]), "id": f"v{n}/0", "video": f"v{n}"} for n in range(COUNT)])
    for fit in calibrate(index, model=model):
        assert fit.queries == 40
        assert sum(each.count for each in fit.bins) == 3 * 15  # asked of all: there, gone, and foreign
        assert not fit.own
        assert fit.confidences([0.99], ["v0"], COUNT, 0.99)[0] > 0.5 > fit.confidences([0.3], ["v0"], COUNT, 0.3)[0]
