"""Full text over captions: what is found are the rows that hold all words, whatever is typed, indexed or not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip2video_plugin.index import VideoIndex, upkeep
from clip2video_plugin.index.text import Text

from .test_store import DIM, MADE, row, unit

WORDS = ["dog", "runs", "beach", "red", "lisbon", "anna", "k7", "4711", "øre"]
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=5), max_size=3)


def make(folder, captions):
    index = VideoIndex.create(folder, DIM, MADE)
    index.write([row(i, v, captions=c) for (i, c), v in zip(captions.items(), unit(len(captions)), strict=True)])
    return index


def found(index, words, k=100, **options):
    return {hit.id for hit in index.text.search(words, k, **options)}


@given(rows=st.lists(texts, min_size=1, max_size=8), query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
@settings(max_examples=15, deadline=None)
def test_all_words_are_in_what_is_found(tmp_path_factory, rows, query):
    index = make(tmp_path_factory.mktemp("text"), {i: ["_".join(c) for c in texts] for i, texts in enumerate(rows)})
    expected = {f"v{i}" for i, texts in enumerate(rows) if set(query) <= {word for c in texts for word in c}}
    assert found(index, " ".join(query)) == expected
    if index.text.there:
        index._table.optimize()  # and folded into the index, the same
        assert found(index, ", ".join(query).upper()) == expected


def test_a_part_of_a_word_is_none_but_its_endings_and_accents_do_not_matter(tmp_path):
    index = make(tmp_path, {0: ["Dogs running in a café"], 1: ["hotdog stand"]})
    assert found(index, "the dog runs") == found(index, "CAFE dog") == {"v0"}
    assert found(index, "hot") == found(index, "runn") == set()


@pytest.mark.parametrize(
    "words", ["", "  \t\n", "the of and", "?!", "\x00", "\ud800", "🐕", "AND", "-", "*", "the " * 9999]
)
def test_what_holds_no_word_finds_nothing(tmp_path, words):
    assert found(make(tmp_path, {0: ["dog"], 1: []}), words) == set()


@pytest.mark.parametrize(
    "words",
    [
        '"dog"',
        "+dog -run",
        "dog*",
        "dog~2",
        "captions:dog",
        "dog^9",
        "dog\x00",
        "dog'); --",
        "(dog",
        "dog\\",
        "{dog}",
        "dog " * 9999,
    ],
)
def test_what_looks_like_an_operator_is_none(tmp_path, words):
    index = make(tmp_path, {0: ["dog run captions 2 9"], 1: ["run cat"], 2: ["dogma"]})
    assert found(index, words) == {"v0"}


def test_rows_that_come_or_change_later_are_found_at_once(tmp_path):
    index = make(tmp_path, {0: [], 1: []})
    assert not index.text.there
    other = VideoIndex.open(tmp_path)
    time.sleep(1.1)  # what is known of a settled table is remembered
    assert not other.text.there
    index.write([row(2, unit(1)[0], captions=["zebra"])])
    assert found(index, "zebra") == found(other, "zebra") == {"v2"}
    index.write([row(2, unit(1)[0], captions=["horse"]), row(0, unit(1)[0], captions=["zebra"])])
    assert found(other, "zebra") == {"v0"}
    index.delete(["v0"])
    assert found(other, "zebra") == set()


def test_filters_hold(tmp_path):
    index = make(tmp_path, {i: [f"dog {i}"] for i in range(40)})
    assert found(index, "dog", ids=["v3", "v7", "v99"]) == {"v3", "v7"}
    assert found(index, "dog", ids=[]) == set()
    assert found(index, "dog", where="path LIKE '%/2_.mp4'") == {f"v{i}" for i in range(20, 30)}
    odd = index.text.search("dog", 5, keep=lambda hits: [hit for hit in hits if int(hit.id[1:]) % 10 == 9])
    assert {hit.id for hit in odd} == {"v9", "v19", "v29", "v39"}
    assert [hit.rank for hit in odd] == [1, 2, 3, 4]
    assert len(found(index, "dog", k=5)) == 5


def test_a_view_larger_than_a_filter_is_searched_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("clip2video_plugin.index.text.PREFILTERED", 3)
    index = make(tmp_path, {i: ["dog"] for i in range(40)})
    view = [f"v{i}" for i in range(30, 40)]
    assert found(index, "dog", k=4, ids=view) <= set(view)
    assert found(index, "dog", k=20, ids=view) == set(view)


def test_the_ingest_folds_texts_in_when_many_came(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "UNINDEXED_TEXTS", 3)
    index = make(tmp_path, {0: ["dog"]})
    assert not index.needs_indexing()
    index.write([row(i, unit(1)[0], captions=["cat"]) for i in range(1, 9)])
    assert index.needs_indexing()
    index.finish()
    assert not index.needs_indexing()
    assert index._table.index_stats("captions_idx").num_unindexed_rows == 0
    assert {index.columns[0] for index in index._table.list_indices()} == {"captions"}  # and no vector index of nine
    assert found(index, "cat") == {f"v{i}" for i in range(1, 9)}


def test_any_column_of_text_can_be_searched(tmp_path):
    index = make(tmp_path, {0: [], 12: []})
    paths = Text(index.uri, index._table, "path")
    assert paths.search("12 mp4", 9) == []
    paths.make()
    assert [hit.id for hit in paths.search("12 mp4", 9)] == ["v12"]
    assert not index.text.there
