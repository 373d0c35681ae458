"""One line says a query, and a query says its line; what is no operator is text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip2video_plugin import Query, search
from clip2video_plugin.errors import QueryError
from clip2video_plugin.index import Span
from clip2video_plugin.query.language import OPERATORS


def test_the_line_of_the_manual():
    line = 'a dog runs | a dog jumps --not "a stage" --then "a man sits" --where "duration<60 and tag:beach"'
    query = Query.parse(line)
    assert query == Query(
        ("a dog runs", "a dog jumps"),
        how="max",
        without=("a stage",),
        then=("a man sits",),
        where="duration<60 and tag:beach",
    )
    assert query.line() == line


def test_every_operator():
    assert Query.parse("a dog --then he sits --then he sleeps").then == ("he sits", "he sleeps")
    assert Query.parse(
        "a dog runs --also a running dog --not a stage --not a street "
        '--like a.mp4 --like "b c.mp4@12-17.5" --captions red bus --weight .25 -k 3 --moments --threshold 6e-1 '
        "--min-confidence 0.5 --bank queries.txt --diverse 1"
    ) == Query(
        ("a dog runs", "a running dog"),
        without=("a stage", "a street"),
        like=("a.mp4", "b c.mp4@12-17.5"),
        captions="red bus",
        weight=0.25,
        k=3,
        moments=True,
        threshold=0.6,
        min_confidence=0.5,
        bank="queries.txt",
        diversity=1,
    )


@pytest.mark.parametrize(
    "text",
    [
        "it's a dog -- running",
        "--notice",
        "--note",
        'he says "hello"',
        'an "unclosed quote',
        '"hello"',
        '""',
        '5" screen',
        "a|b",
        "||",
        "-kk",
        "a --not-a-word b",
        "--Not",
        "—not",
        "k = 5; -k=3",
    ],
)
def test_what_is_no_operator_is_text(text):
    assert Query.parse(text) == Query((text,))
    assert Query.parse(f"  {text}\t").line() == text
    assert Query.parse(f"{text} --not b").without == ("b",)


def test_in_double_quotes_nothing_is_an_operator():
    assert Query.parse('"a | b"').prompts == ("a | b",)
    assert Query.parse('a sign "push | pull" on a door --not "x --then y"') == Query(
        ('a sign "push | pull" on a door',), without=("x --then y",)
    )
    assert Query.parse('a --not "he says ""stop"" | go"').without == ('he says "stop" | go',)
    assert Query.parse('an "unclosed quote --not "a stage"') == Query(('an "unclosed quote',), without=("a stage",))


def test_operators_may_come_first():
    assert Query.parse("--moments a dog | a cat") == Query(("a dog", "a cat"), how="max", moments=True)
    assert Query.parse('--not "a stage" a dog') == Query(("a dog",), without=("a stage",))
    assert Query.parse("--like a.mp4") == Query(like=("a.mp4",))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "is empty; describe"),
        ("a dog --not", r'--not lacks its value; write it as in: --not "a stage"'),
        ("a dog --not --then b", "--not lacks its value"),
        ('a dog --then ""', "--then lacks its value"),
        ("a |", r"^\| lacks its value"),
        ("a | | b", r"^\| lacks its value"),
        ("--not a stage", "is empty; describe"),
        ("a -k five", "-k is 'five', which is no whole number; write it as in: -k 10"),
        ("a -k 1.5", "-k is '1.5', which is no whole number"),
        ("a -k 0", "k is 0; it must be a whole number that lies between"),
        ("a --weight heavy", "--weight is 'heavy', which is no number; write it as in: --weight 0.7"),
        ("a --weight nan", "--weight is 'nan', which is no number"),
        ("a --weight 2", r"weight is 2.0; it must be a number that lies in \[0, 1\]"),
        ("a --threshold 1e999", "--threshold is '1e999', which is no number"),
        ("a -k 5 -k 6", "-k stands twice"),
        ("a --also b | c", "alternatives .* and paraphrases"),
        ('a --not "b" c', "what does 'c' after --not belong to"),
        ("a --moments b", "what does 'b' after --moments belong to"),
        ("a --where length<5", "the filter 'length<5' cannot be read"),
    ],
)
def test_what_cannot_be_read_says_how_to_write_it(line, words):
    with pytest.raises(QueryError, match=words) as error:
        Query.parse(line)
    assert "\n" not in str(error.value)


def test_options_stand_beside_the_line():
    query = Query.parse('a --not b --where "duration<60" -k 3', without=("c",), where="tag:d", k=5, weight=None)
    assert query == Query(("a",), without=("b", "c"), where="(duration<60) and (tag:d)", k=5)
    assert Query.parse(like="a.mp4").like == ("a.mp4",)
    with pytest.raises(QueryError, match="one kind"):
        Query.parse("a | b", prompts=("c",))


def test_a_part_of_a_file_is_text_as_well():
    assert Query(like=("a.mp4", Span(12, 17.5, 0.0))).like == ("a.mp4@12.0-17.5",)
    assert Query(like=[("a.mp4", Span(12, 17.5, 0.0)), "b"]).like == ("a.mp4@12.0-17.5", "b")


TEXT = st.one_of(
    st.text(min_size=1),
    st.lists(st.sampled_from([*OPERATORS, '"', '""', '"a', 'b"', "a", "'", '"a"', "@1-2"]), min_size=1).map(" ".join),
).filter(str.strip)
NUMBER = st.none() | st.floats(0, 1)


@given(TEXT)
def test_any_text_survives_as_a_prompt(text):
    query = Query((text,))
    assert Query.parse(query.line()) == query


@given(st.text().filter(lambda text: text.strip() and not set(text.split()) & OPERATORS.keys()))
def test_a_line_without_operators_is_one_prompt(text):
    assert Query.parse(text) == Query((text.strip(),))


@given(
    st.builds(
        Query,
        st.lists(TEXT, min_size=1, max_size=3),
        how=st.sampled_from(["mean", "max"]),
        like=st.lists(TEXT, max_size=2),
        without=st.lists(TEXT, max_size=2),
        threshold=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        then=st.lists(TEXT, max_size=2),
        captions=st.none() | st.just("") | TEXT,
        where=st.sampled_from([None, "duration<60 and tag:\"a 'b'\"", "not path:'*|*.mp4'"]),
        weight=NUMBER,
        k=st.integers(1, 10_000),
        moments=st.booleans(),
        min_confidence=NUMBER,
        bank=st.none() | TEXT,
        diversity=st.floats(0, 1),
    )
)
def test_a_query_is_what_its_line_says(query):
    assert Query.parse(query.line()) == query


def test_a_string_means_the_same_from_python(world_index, model):
    line = 'a red square | a blue circle --not "a green triangle" -k 3'
    result = search(line, index=world_index, model=model)
    assert result.query == line
    assert result.hits == search(Query.parse(line), index=world_index, model=model).hits
    assert len(result) == 3
