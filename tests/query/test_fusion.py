"""Which side of a search is believed: hand-made videos that look like a sentence, and captions that say another."""

import numpy as np
import pytest

from clip2video_plugin.index import VideoIndex
from clip2video_plugin.provenance import provenance
from clip2video_plugin.query import Gallery, Query, answer, search
from clip2video_plugin.query.fusion import credible

SEEN = ["a red square moves left", "a blue circle grows", "a green star jumps", "a white cross blinks"]
SAID = [["Interview, Lisbon 2019"], ["Anna's birthday"], ["Lisbon holidays", "a red square moves left"], []]


@pytest.fixture(scope="module")
def videos(model, tmp_path_factory):
    return made(model, tmp_path_factory.mktemp("fusion"), SAID)


def made(model, folder, captions, times=None):
    """Videos that look like the sentences: each scores its own about 1, and other sentences less."""
    vectors = model.encode_captions(SEEN).vector.numpy()
    index = VideoIndex.create(folder, vectors.shape[1], provenance(model, "uniform"))
    base = {"sample_id": None, "start": 0.0, "end": 60.0, "duration": 60.0, "size": 1, "mtime": 1.5}
    index.write(
        [
            {
                **base,
                "id": f"v{i}",
                "path": f"/{i}.mp4",
                "vector": v / np.linalg.norm(v),
                "captions": c,
                "caption_times": t,
            }
            for i, (v, c, t) in enumerate(zip(vectors, captions, times or [None] * len(captions), strict=True))
        ]
    )
    return index


def asked(videos, model, query, **gallery):
    return answer(query if isinstance(query, Query) else Query(query, k=4), Gallery(videos, **gallery), model)


def order(result):
    return [(hit.id, hit.matched) for hit in result]


def test_what_is_credibly_seen_goes_before_what_is_said(videos, model):
    result = asked(videos, model, "a red square moves left")
    assert order(result)[0] == ("v0", "vector")  # though the words are the captions of v2
    assert dict(order(result))["v2"] == "both"
    assert result.captions == ("a red square moves left",)


def test_what_nothing_looks_like_is_asked_of_captions(videos, model):
    result = asked(videos, model, "the birthday of Anna")
    assert order(result)[0] == ("v1", "both")
    assert [hit.rank for hit in result] == [1, 2, 3, 4]
    assert len({hit.id for hit in result}) == 4
    assert {hit.matched for hit in result[1:]} == {"vector"}
    first = asked(videos, model, Query("the birthday of Anna", k=1))
    assert order(first)[0][0] == "v1"


def test_scores_are_those_of_the_vectors_whichever_side_found_a_hit(videos, model):
    plain = {hit.id: hit.score for hit in asked(videos, model, Query("anna's birthday", k=4, captions=""))}
    result = asked(videos, model, Query("anna's birthday", k=4))
    assert {hit.id: pytest.approx(hit.score, abs=1e-5) for hit in result} == plain
    (alone,) = asked(videos, model, Query("anna's birthday", k=1))
    assert alone.score == pytest.approx(plain["v1"], abs=1e-5)


def test_of_captions_that_say_the_same_the_one_that_is_also_seen_is_first(model, tmp_path):
    index = made(model, tmp_path, [["lisbon"]] * 4)
    result = asked(index, model, "lisbon")
    assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)
    chosen = asked(index, model, Query("a green star jumps", captions="lisbon", k=1))
    assert order(chosen) == [("v2", "both")]


def test_all_words_must_be_said_and_not_one_of_them(videos, model):
    assert {hit.matched for hit in asked(videos, model, "Lisbon birthday")} == {"vector"}


def test_captions_that_are_named_choose_the_videos_and_the_prompt_their_order(videos, model):
    result = asked(videos, model, Query("a green star jumps", captions="lisbon", k=4))
    assert order(result) == [("v2", "both"), ("v0", "both"), *order(result)[2:]]
    assert result.captions == ("lisbon",)
    assert order(asked(videos, model, Query(captions="lisbon 2019"))) == [("v0", "captions")]
    off = asked(videos, model, Query("anna's birthday", captions="", k=4))
    assert {hit.matched for hit in off} == {"vector"}
    assert off.captions == ()


def test_alternatives_are_each_looked_for(videos, model):
    result = asked(videos, model, Query(("anna birthday", "interview in lisbon"), how="max", k=4))
    assert {hit.id for hit in result[:2]} == {"v0", "v1"}


def test_filters_hold_for_the_text_side(videos, model):
    for options in (
        {"ids": ["v0", "v3"]},
        {"where": "id <> 'v2'"},
        {"keep": lambda hits: [h for h in hits if h.id != "v2"]},
    ):
        result = asked(videos, model, Query("lisbon", k=4), **options)
        assert order(result)[0] == ("v0", "both")
        assert "v2" not in dict(order(result))


def test_a_hit_in_speech_is_when_it_is_said(model, tmp_path):
    captions = [["title", "welcome everyone", "about the budget", "goodbye"], [], [], []]
    times = [[None, [0.0, 2.0], [2.5, 4.0], [50.0, 51.0]], None, None, None]
    index = made(model, tmp_path, captions, times)
    first = asked(index, model, "the budget")[0]
    assert (first.id, first.start, first.end, first.duration) == ("v0", 2.5, 4.0, 60.0)
    assert order(asked(index, model, Query(captions="budget goodbye"))) == []  # said 46 seconds apart
    title = asked(index, model, "title")[0]
    assert (title.id, title.start, title.end) == ("v0", 0.0, 60.0)


def test_an_index_without_captions_is_not_asked_for_any(model, tmp_path):
    index = made(model, tmp_path, [[]] * 4)
    result = asked(index, model, "lisbon")
    assert result.captions == ()
    assert {hit.matched for hit in result} == {"vector"}
    assert list(asked(index, model, Query(captions="lisbon"))) == []


def test_odd_queries_are_answered(videos, model):
    for query in ['"lisbon" AND -anna', "lisbon*", "\x00", "the", "'; DROP TABLE videos; --", "x" * 100_000]:
        assert len(asked(videos, model, query)) == 4


def test_the_gate_lies_between_what_is_foreign_and_what_is_right(videos, world_index, model, world):
    from clip2video_plugin import open_index
    from clip2video_plugin.shapes import caption

    level = credible(Gallery(open_index(world_index)), model)
    right = [search(caption(scene), index=world_index, model=model)[0].score for scene in world[1]]
    assert np.mean(np.array(right) > level) > 0.9
    foreign = search(["annual general meeting", "grocery list", "how to file a claim"], index=world_index, model=model)
    assert all(result[0].score < level for result in foreign)


def test_a_filter_of_captions_holds_for_windows(model, tmp_path):
    index = windowed(model, tmp_path)
    for filter_, hits in (("caption:lisbon", {"v0"}), ("not caption:lisbon", {"v1", "v2", "v3"})):
        result = asked(index, model, Query("a blue circle grows", where=filter_, k=4))
        assert {hit.id for hit in result} == hits
    first = asked(index, model, Query("a blue circle grows", where="caption:lisbon", k=4))[0]
    assert (first.start, first.end) == (5.0, 10.0)


def test_a_hit_by_captions_has_its_best_window(model, tmp_path):
    index = windowed(model, tmp_path)
    (hit,) = asked(index, model, Query("a blue circle grows", captions="lisbon", k=1))
    assert (hit.id, hit.start, hit.end) == ("v0", 5.0, 10.0)
    plain = asked(index, model, Query("a blue circle grows", captions="", k=4))
    assert {h.id: pytest.approx(h.score, abs=1e-5) for h in plain}["v0"] == hit.score


def windowed(model, folder):
    """A first video that looks like the second for five seconds."""
    index = made(model, folder, [["lisbon"], [], [], []])
    vectors = index.rows(["v0", "v1"])
    base = {key: value for key, value in vectors["v0"].items() if key not in ("captions", "caption_times")}
    spans = [(0.0, 5.0, "v0"), (5.0, 10.0, "v1")]
    index.create_windows().write(
        [
            {
                **base,
                "id": f"v0/{a:.3f}-{b:.3f}",
                "video": "v0",
                "start": a,
                "end": b,
                "vector": vectors[like]["vector"],
            }
            for a, b, like in spans
        ]
    )
    return index
