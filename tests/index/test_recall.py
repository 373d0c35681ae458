"""Recall of the vector index is measured against brute force, held, measured again after growth, and said."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from clip2video_plugin.index import Provenance, VideoIndex, choosing, open_index, recall, tuning, upkeep
from clip2video_plugin.index.contents import describe
from clip2video_plugin.index.windows import VideoWindows

MADE = Provenance("test", "a" * 64, "uniform", 12, "0")
DIM, ROWS = 64, 12_000
KINDS = {"tight": (0.25, 40), "very tight": (0.1, 12)}  # how far rows lie from their centre, and how many of these


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def tight(count, seed, spread=0.25, clusters=40):
    """Clusters, in which the rows differ little."""
    random, centres = np.random.default_rng(seed), unit(np.random.default_rng(0).standard_normal((clusters, DIM)))
    return unit(centres[random.integers(0, clusters, count)] + spread * unit(random.standard_normal((count, DIM))))


def rows(index, vectors, first=0):
    """A table of rows v0, v1 and so on."""
    names = [f"v{first + n}" for n in range(len(vectors))]
    columns = {
        "id": pa.array(names),
        "path": pa.array([f"/{name}.mp4" for name in names]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
        "added": pa.array([time.time()] * len(names)),
    }
    schema = index._table.schema
    return pa.table({f.name: columns.get(f.name, pa.nulls(len(names), f.type)) for f in schema}, schema=schema)


def filled(folder, vectors):
    index = VideoIndex.create(folder, DIM, MADE)
    index._table.add(rows(index, vectors))
    return index


def queries(vectors, seed, count=40):
    """Rows, and their halves alone: w = .5, 0 and 1."""
    rows = vectors[np.random.default_rng(seed).choice(len(vectors), count, replace=False)]
    first, second = np.split(rows.copy(), 2, axis=1)
    nothing = np.zeros_like(first)
    return np.concatenate([rows, np.hstack([unit(first), nothing]), np.hstack([nothing, unit(second)])])


def brute(vectors, asked, answers, k=10):
    """The share of the k best that were found; what scores like the last of them is one."""
    scores = asked @ vectors.T
    last = np.sort(scores, axis=1)[:, -k]
    right = sum(scores[n, int(hit.id[1:])] >= last[n] - 1e-6 for n, hits in enumerate(answers) for hit in hits)
    return right / (k * len(asked))


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Indexes of tight and of very tight clusters, their vectors, and what their first settings found."""
    out = {}
    for name, how in KINDS.items():
        vectors = tight(ROWS, 1, *how)
        index = filled(tmp_path_factory.mktemp("kind"), vectors)
        upkeep.build(index.uri, index._table)
        asked = queries(vectors, 7)
        untuned = brute(vectors, asked, index.search_all(asked, 10))
        index.finish()
        out[name] = open_index(index.uri), vectors, untuned
    return out


@pytest.mark.parametrize("name", KINDS)
def test_recall_is_held_where_the_first_settings_find_less(kinds, name):
    index, vectors, untuned = kinds[name]
    asked = queries(vectors, 8)
    assert untuned < 0.9
    assert brute(vectors, asked, index.search_all(asked, 10)) >= 0.99
    assert brute(vectors, asked[::4], [index.search(one, 10) for one in asked[::4]]) >= 0.99
    more = index.search_all(asked[::4], 100)
    assert brute(vectors, asked[::4], more, 100) >= 0.99


def test_what_no_refinement_holds_gets_an_index_of_whole_vectors(kinds):
    types = {name: kinds[name][0]._table.index_stats("vector_idx").index_type for name in kinds}
    assert types == {"tight": "IVF_RQ", "very tight": "IVF_FLAT"}


def test_a_filter_and_a_large_view_find_as_much(kinds, monkeypatch):
    from clip2video_plugin.index import nearest

    monkeypatch.setattr(nearest, "VIEW_BYTES", 0)  # else both are read whole
    for index, vectors, _ in kinds.values():
        part, asked = vectors[:6_000], queries(vectors, 9, 15)
        names = ", ".join(f"'v{n}'" for n in range(6_000))
        assert brute(part, asked, index.search_all(asked, 10, where=f"id IN ({names})")) >= 0.99
        inside = frozenset(f"v{n}" for n in range(6_000))
        assert brute(part, asked, [index.search(one, 10, ids=inside) for one in asked]) >= 0.99


def test_recall_is_measured_as_brute_force_measures_it(kinds):
    index, vectors, untuned = kinds["tight"]
    table, coarse = index._table, tuning.untold(ROWS)
    drawn = recall.queries_of(table, None, seed=3)
    found = recall.found(table, drawn.vectors, recall.exact(table, drawn.vectors), coarse)
    assert found.mean() / 10 == pytest.approx(untuned, abs=0.05)
    scores = drawn.vectors @ vectors.T
    best = recall.exact(table, drawn.vectors)
    np.testing.assert_allclose(best.last, np.sort(scores, axis=1)[:, -10], atol=1e-6)
    ids = table.take_row_ids(best.rows[0].tolist()).select(["id"]).to_arrow()["id"].to_pylist()
    assert {int(i[1:]) for i in ids} == set(np.argsort(-scores[0])[:10].tolist())


def test_equal_scores_count_as_found():
    """Of twenty equal rows any ten are right."""
    best = recall.Best(np.array([0.5], np.float32), [np.arange(20, dtype=np.uint64)])

    class Answers:
        def __getattr__(self, _):
            return lambda *_, **__: self

        def read_all(self):
            return pa.table({"_distance": pa.array([0.5] * 10, pa.float32()), "_rowid": pa.array(range(10, 20))})

    assert recall.K == 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "LanceVectorQueryBuilder", lambda *_: Answers())
        assert recall.found(None, np.ones((1, 4), np.float32), best, tuning.untold(ROWS)).tolist() == [10]


def test_another_process_asks_with_what_was_chosen(kinds):
    index, vectors, _ = kinds["tight"]
    asked = queries(vectors, 11, 20)
    script = (
        "import sys, numpy as np; from clip2video_plugin.index import open_index\n"
        "index, asked = open_index(sys.argv[1]), np.load(sys.argv[2])\n"
        "print(index._nearest._settings.now().words); print([[h.id for h in index.search(q, 10)] for q in asked])"
    )
    file = f"{index.uri}/../asked.npy"
    np.save(file, asked)
    run = subprocess.run([sys.executable, "-c", script, index.uri, file], capture_output=True, text=True, check=True)
    words, hits = run.stdout.splitlines()
    assert words == tuning.read_tuning(index.uri, index._table).words
    assert brute(vectors, asked, [[Named(i) for i in some] for some in eval(hits)]) >= 0.99


class Named:
    def __init__(self, name):
        self.id = name


def test_a_choice_is_stale_after_growth_and_after_rewriting(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2_000)
    vectors = tight(6_000, 1)
    index = filled(tmp_path, vectors)
    index.finish()
    first = tuning.read_tuning(index.uri, index._table)
    assert not index.needs_indexing()
    assert first.rows == 6_000
    more = tight(2_000, 2, 0.1)
    index._table.add(rows(index, more, 6_000))
    assert index.needs_indexing()
    index.finish()
    second = tuning.read_tuning(index.uri, index._table)
    assert (second.rows, index.needs_indexing()) == (8_000, False)
    every = np.concatenate([vectors, more])
    time.sleep(tuning.AGAIN)
    asked = queries(every, 5)
    assert brute(every, asked, index.search_all(asked, 10)) >= 0.99
    again = rows(index, tight(2_500, 3, 0.1))  # as many rows as before
    index._table.merge_insert("id").when_matched_update_all().execute(again)
    assert index.count() == 8_000
    assert choosing.due(index.uri, index._table)


def test_a_choice_is_not_for_a_table_made_anew(kinds, tmp_path):
    index = filled(tmp_path, tight(200, 1))
    tuning.write_tuning(index.uri, index._table, tuning.Tuning(4, 2, 1, 3, 200, recall={"rows": 1.0}), None)
    assert tuning.read_tuning(index.uri, index._table) is not None
    index.drop()
    again = filled(tmp_path, tight(200, 2))
    assert tuning.read_tuning(again.uri, again._table) is None


def test_where_no_code_holds_every_row_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "REFINE", (3,))
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2_000)
    monkeypatch.setattr(choosing, "TWICE", 0)
    monkeypatch.setattr(choosing, "REFINE_MORE", ())
    vectors = tight(4_000, 1, *KINDS["very tight"])
    index = filled(tmp_path, vectors)
    index.finish()
    assert tuning.read_tuning(index.uri, index._table).bits == tuning.NONE
    asked = queries(vectors, 4, 10)
    assert brute(vectors, asked, index.search_all(asked, 10)) == 1
    assert not index.needs_indexing()
    assert describe(index).tables[-1].asked == "no code holds: every vector is read"


def test_a_killed_choice_leaves_settings_that_hold_and_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "REFINE", (3,))
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2_000)
    vectors = tight(4_000, 1, *KINDS["very tight"])
    index = filled(tmp_path, vectors)

    def killed(table, bits):
        raise KeyboardInterrupt

    upkeep.build(index.uri, index._table)
    monkeypatch.setattr(choosing.upkeep, "index_vectors", killed)
    with pytest.raises(KeyboardInterrupt):
        index.finish()
    asked = queries(vectors, 4, 10)
    reader = open_index(tmp_path)
    assert brute(vectors, asked, reader.search_all(asked, 10)) >= 0.99
    assert reader.needs_indexing()


def test_settings_that_do_not_hold_are_chosen_anew_and_not_again(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2_000)
    index = filled(tmp_path, tight(4_000, 1))
    index.finish()
    chosen = tuning.read_tuning(index.uri, index._table)
    assert not choosing.hold(index.uri, index._table)
    tuning.write_tuning(index.uri, index._table, replace(chosen, refine=1), None)
    assert index.recall().problem is not None
    assert choosing.hold(index.uri, index._table)
    assert index.recall().problem is None
    more = choosing.choose(index.uri, index._table, None, beyond=chosen)
    assert more.refine > chosen.refine or more.bits == tuning.WHOLE


def test_sentences_given_once_are_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2_000)
    index = filled(tmp_path, tight(4_000, 1))
    index.finish(lambda: tight(50, 9))
    assert set(tuning.read_tuning(index.uri, index._table).recall) == {
        f"{kind}, w = {w}" for kind in ("rows", "sentences") for w in ("0", "0.5", "1")
    }
    found = open_index(tmp_path).recall()
    assert found.problem is None
    assert set(found.recall) == set(tuning.read_tuning(index.uri, index._table).recall)


def test_a_table_without_index_is_read_whole(tmp_path):
    index = filled(tmp_path, tight(300, 1))
    index.finish()
    found = index.recall()
    assert (found.settings, found.recall, found.problem) == (None, {}, None)
    assert not (tmp_path / "tuning.lance").exists()


def test_recall_of_the_windows_and_of_a_table_of_fiftyone_is_held_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2_000)
    vectors = tight(6_000, 1)
    of_a_run = VideoIndex.create(tmp_path, DIM, MADE, table="brain_of_a_run")
    of_a_run._table.add(rows(of_a_run, vectors))
    of_a_run.finish()
    index = filled(tmp_path, tight(4, 2))
    ends = np.arange(1.0, 1_501.0)
    parts = [
        VideoWindows({"id": f"v{n}", "path": f"/v{n}.mp4"}, "1", np.stack([ends - 1, ends], axis=1), some)
        for n, some in enumerate(np.split(vectors, 4))
    ]
    index.create_windows().write_windows(parts)
    index.finish()
    asked = queries(vectors, 8, 20)
    assert brute(vectors, asked, open_index(tmp_path, table="brain_of_a_run").search_all(asked, 10)) >= 0.99
    windows = open_index(tmp_path).windows()
    assert windows.recall().settings is not None
    found = windows.search_all(asked, 10)
    scores, last = asked @ vectors.T, np.sort(asked @ vectors.T, axis=1)[:, -10]
    right = [
        scores[n, int(hit.id.split("/")[0][1:]) * 1_500 + int(hit.start)] >= last[n] - 1e-6
        for n, hits in enumerate(found)
        for hit in hits
    ]
    assert sum(right) / (10 * len(asked)) >= 0.99
