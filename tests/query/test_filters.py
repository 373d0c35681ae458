"""Filters keep what brute force keeps, whatever is typed, and no text of a user becomes SQL."""

import fnmatch
import os
import re
import time
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip2video_plugin import Query, open_index, search
from clip2video_plugin.errors import Clip2VideoError, QueryError, VideoIndexError
from clip2video_plugin.index import Provenance, VideoIndex
from clip2video_plugin.index.filters import where_of
from clip2video_plugin.paths import as_path, stored
from clip2video_plugin.query.filters import (
    Added,
    And,
    Caption,
    Duration,
    Not,
    Or,
    PathIs,
    Tag,
    parse_filter,
)

DAY = 86400.0
HOSTILE = [
    "'",
    "''",
    '"',
    "\\",
    "%",
    "_",
    "*",
    "?",
    "[",
    "]",
    "(",
    ")",
    ";",
    "--",
    "\n",
    "\0",
    " ",
    "é",
    "ß",
    "\udcff",
    "or 1=1",
]
TEXT = st.lists(st.sampled_from([*HOSTILE, "a", "B", ".", "/", "mp4", "dog", "1"]), max_size=6).map("".join)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("duration<60 and tag:beach", And((Duration("<", 60), Tag("beach")))),
        ("duration >= 1.5h", Duration(">=", 5400)),
        ("DURATION=90s OR duration!=5m", Or((Duration("=", 90), Duration("!=", 300)))),
        ("path:*.mp4", PathIs("*.mp4")),
        ("path:'/a b/(1)*'", PathIs("/a b/(1)*")),
        ('caption:"a dog" and not tag:it\'s', And((Caption("a dog"), Not(Tag("it's"))))),
        ("tag:'it''s \"so\"'", Tag('it\'s "so"')),
        ("added>7d", Added(">", 1e9 - 7 * DAY)),
        ("added<=2026-01-31", Added("<=", datetime(2026, 1, 31).timestamp())),
        ("added>2026-01-31T18:30", Added(">", datetime(2026, 1, 31, 18, 30).timestamp())),
        ("added>2026-01-31T18:30+00:00", Added(">", 1769884200)),
        ("tag:a or tag:b and tag:c", Or((Tag("a"), And((Tag("b"), Tag("c")))))),
        ("(tag:a or tag:b) and tag:c", And((Or((Tag("a"), Tag("b"))), Tag("c")))),
        ("not not tag:a", Tag("a")),
        ("not(tag:a)", Not(Tag("a"))),
    ],
)
def test_the_grammar(text, kept):
    assert parse_filter(text, now=1e9) == kept


@pytest.mark.parametrize(
    "text",
    [
        *("duration<", "duration", "<60", "duration:60", "duration<sixty", "duration<-1", "duration<1e3"),
        *("duration < 60 60", "duration=5m2", "; drop table videos"),
        *("length<60", "path<3", "path:", "tag:''", "caption:'?!'", "(tag:a", "tag:a)", "tag:a tag:b", "and tag:a"),
        *("tag:a and", "not", "added>yesterday", "added>2026-13-01", "added>0001-01-01T00:00", "()"),
        *("tag:'a", "duration<" + "9" * 400, "(" * 30 + "tag:a" + ")" * 30, " or ".join(["tag:a"] * 201)),
    ],
)  # fmt: skip
def test_what_is_no_filter_is_one_line(text):
    with pytest.raises(QueryError, match="filter") as error:
        parse_filter(text)
    assert "\n" not in str(error.value)
    with pytest.raises(QueryError):
        Query(("a dog",), where=text)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of hostile rows, and the rows."""
    random, rows = np.random.default_rng(0), []
    parts = [*HOSTILE, "a", "B", "dog", "mp4"]
    index = VideoIndex.create(tmp_path_factory.mktemp("hostile"), 4, Provenance("m", "0" * 64, "uniform", 12, "0"))
    for n in range(120):
        some = lambda most: ["".join(random.choice(parts, 3)) for _ in range(random.integers(0, most))]  # noqa: E731
        name = "".join(random.choice(parts, 4)).replace("\0", "")
        rows.append(
            {
                "id": f"{n:03d}",
                "sample_id": None,
                "path": stored(f"/v/{name}{random.choice(['.mp4', '/x.mov', ''])}"),
                "start": 0.0,
                "end": None,
                "duration": random.choice([None, 1.0, 59.9, 60.0, 3600.0]),
                "vector": random.standard_normal(4).astype(np.float32),
                "captions": random.choice([None, 1]) and [text.encode(errors="replace").decode() for text in some(3)],
                "size": 1,
                "mtime": 0.0,
                "fingerprint": None,
                "added": random.choice([None, 0.0, 1e9, 2e9]),
                "tags": random.choice([None, 1])
                and [
                    text.encode(errors="replace").decode() for text in [*some(2), str(random.choice(["beach", "it's"]))]
                ],
            }
        )
    index.write(rows)
    return index, rows


def holds(kept, row):
    """Brute force, with the standard library's globs."""
    match kept:
        case And(parts):
            return all(holds(part, row) for part in parts)
        case Or(parts):
            return any(holds(part, row) for part in parts)
        case Not(part):
            return not holds(part, row)
        case Tag(tag):
            return tag.encode(errors="replace").decode() in (row["tags"] or [])
        case Caption(text):
            words = {w for caption in row["captions"] or [] for w in re.findall(r"[a-z0-9éß]+", caption.lower())}
            return set(re.findall(r"[a-z0-9éß]+", text.lower())) <= words
        case PathIs(glob):
            path, pattern = as_path(row["path"]), glob.replace("[", "[[]")
            return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")
        case Duration(comparison, number):
            value = row["duration"]
        case Added(comparison, number):
            value = row["added"]
    if value is None:
        return False
    return {
        **{"<": value < number, "<=": value <= number, ">": value > number, ">=": value >= number},
        **{"=": value == number, "!=": value != number},
    }[comparison]


COMPARISON = st.sampled_from(["<", "<=", ">", ">=", "=", "!="])
VALUE = TEXT.filter(bool)
FILTERS = st.recursive(
    st.one_of(
        st.builds(Duration, COMPARISON, st.sampled_from([0.0, 1.0, 59.9, 60.0, 1e-7, 1e12])),
        st.builds(Added, COMPARISON, st.sampled_from([0.0, 1e9, 1e9 + 0.1])),
        st.builds(PathIs, VALUE | VALUE.map("*{}*".format) | VALUE.map("{}*".format)),
        st.builds(Tag, VALUE | st.just("beach")),
        st.builds(Caption, VALUE | st.just("dog")).filter(lambda kept: kept.words),
    ),
    lambda parts: st.one_of(
        st.builds(Not, parts), st.builds(And, st.tuples(parts, parts)), st.builds(Or, st.tuples(parts, parts))
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(FILTERS)
def test_a_filter_keeps_what_brute_force_keeps(table, kept):
    index, rows = table
    found = index.search(np.ones(4, np.float32), 1000, where=where_of(index, kept))
    assert {hit.id for hit in found} == {row["id"] for row in rows if holds(kept, row)}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(["tag:", "path:", "duration<", "and ", "or ", "not ", "(", ")", *HOSTILE, "a"]), max_size=8
    )
)
def test_any_text_is_a_filter_or_an_error_of_ours(table, parts):
    index, _ = table
    try:
        kept = parse_filter("".join(parts))
    except QueryError:
        return
    index.search(np.ones(4, np.float32), 1000, where=where_of(index, kept))


def test_each_condition_keeps_some_and_not_all(table):
    """Or the comparison above would compare nothing."""
    index, rows = table
    for text in (
        "duration<60",
        "added>2001-01-01",
        "path:*.mp4",
        "path:*mp4",
        "tag:beach",
        'tag:"it\'s"',
        "caption:dog",
    ):
        found = index.search(np.ones(4, np.float32), 1000, where=where_of(index, parse_filter(text)))
        assert 0 < len(found) < len(rows), text


def test_a_search_is_filtered_before_it_is_cut(world, world_index, model):
    everything = search("a red square", index=world_index, model=model, k=24)
    found = search("a red square --where path:*1?.mp4 -k 3", index=world_index, model=model)
    assert [hit.id for hit in found] == [hit.id for hit in everything if fnmatch.fnmatch(hit.path, "*1?.mp4")][:3]
    none = search("a red square --where duration>1h", index=world_index, model=model)
    assert (len(none), none.searched) == (0, 24)
    now = search("a red square --where added>1h", index=world_index, model=model, k=24)
    assert len(now) == (24 if time.time() - os.path.getmtime(world_index) < 3600 else 0)


def test_a_column_that_an_older_index_lacks_is_named(tmp_path):
    index = VideoIndex.create(tmp_path, 4, Provenance("m", "0" * 64, "uniform", 12, "0"))
    index._table.drop_columns(["tags", "added"])
    with pytest.raises(VideoIndexError, match="before added and tags were kept; embed its videos again"):
        where_of(open_index(tmp_path), parse_filter("tag:a or added>7d and duration<5"))
    assert where_of(open_index(tmp_path), parse_filter("duration<5"))
    assert issubclass(VideoIndexError, Clip2VideoError)


def test_a_filter_finds_what_is_far_from_the_query_through_the_vector_index(tmp_path, monkeypatch):
    from clip2video_plugin.index import nearest

    random = np.random.default_rng(0)
    centres = random.standard_normal((60, 128)).astype(np.float32)
    vectors = centres[random.integers(0, 60, 11_000)] + random.standard_normal((11_000, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ centres[0]
    index = VideoIndex.create(tmp_path, 128, Provenance("m", "0" * 64, "uniform", 12, "0"))
    blank = {"sample_id": None, "start": 0.0, "end": None, "captions": [], "size": 1, "mtime": 1.0}
    index.write(
        [
            {**blank, "id": f"{n}", "path": f"/{n}", "duration": float(near[n]) + 100, "vector": v}
            for n, v in enumerate(vectors)
        ]
    )
    index.finish()
    queries = centres[0] + random.standard_normal((20, 128)).astype(np.float32) / 4
    where = where_of(index, parse_filter("duration<100"))
    rows = np.flatnonzero(near < 0)
    right = [[str(n) for n in rows[np.argsort(-(vectors[rows] @ query))[:10]]] for query in queries]
    assert [[hit.id for hit in index.search(query, 10, where=where)] for query in queries] == right  # few: read
    monkeypatch.setattr(nearest, "VIEW_BYTES", 1)
    found = [{hit.id for hit in index.search(query, 10, where=where)} for query in queries]
    assert np.mean([len(hits & set(best)) / 10 for hits, best in zip(found, right, strict=True)]) >= 0.95
    together = index.search_all(queries, 10, where=where)
    assert [{hit.id for hit in hits} for hits in together] == found
