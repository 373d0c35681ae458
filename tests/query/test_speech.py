"""The subtitles that hold the words of a sentence: the fewest, the first of them, and not minutes apart."""

import math

from clip2video_plugin.query.speech import said_at

CUES = ["Welcome to Lisbon.", "We have cut the budget,", "and Anna is against it.", "Anna runs the bakery.", "Budget!"]
TIMES = [[0.0, 2.0], [2.5, 4.0], [4.0, 6.0], [300.0, 302.5], [900.0, 901.0]]


def test_the_subtitle_that_holds_all_words():
    assert said_at("bakeries that Anna is running", CUES, TIMES) == (300.0, 302.5)
    assert said_at("budgets", CUES, TIMES) == (2.5, 4.0)


def test_a_sentence_that_runs_over_several():
    assert said_at("anna budget", CUES, TIMES) == (2.5, 6.0)
    assert said_at("lisbon anna budget", CUES, TIMES) == (0.0, 6.0)


def test_words_minutes_apart_are_no_sentence():
    assert all(map(math.isnan, said_at("lisbon bakery", CUES, TIMES)))


def test_what_is_not_said_counts_for_the_whole_video():
    captions, times = ["Interview, Lisbon 2019", "summary", *CUES], [None, [], *TIMES]
    assert said_at("interview bakery", captions, times) == (300.0, 302.5)
    assert said_at("interview 2019", captions, times) is None
    assert said_at("anything", ["anything"], []) is None


def test_a_cue_of_a_film_is_found_in_no_time():
    cues = [f"line {i} about nothing much at all" for i in range(1500)]
    cues[700] = "the canary of the submarine"
    times = [[4.0 * i, 4.0 * i + 3] for i in range(1500)]
    assert said_at("submarine canaries", cues, times) == (2800.0, 2803.0)
    assert said_at("line", cues, times) == (0.0, 3.0)
