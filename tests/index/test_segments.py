"""The vector index made in parts: it finds what brute force finds, whoever made it, and whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clip2video_plugin.errors import IndexBusyError
from clip2video_plugin.index import Provenance, VideoIndex, segments, upkeep
from clip2video_plugin.index.connection import held, lock_of
from clip2video_plugin.index.optimizing import optimize

pytest.importorskip("lance", reason="pylance comes with the extra ray")

MADE = Provenance("test", "a" * 64, "uniform", 12, "0")
DIM, ROWS, LISTS = 128, 3000, 500  # rows of an inverted list
RIGHT = 0.97  # recall@10 of few numbers and small random clusters; benchmarks/segments.py holds .99 of large ones


@pytest.fixture(autouse=True)
def short_lists(monkeypatch):
    monkeypatch.setattr(segments, "LIST_ROWS", LISTS)


def vectors(count, seed=0):
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((20, DIM))[random.integers(0, 20, count)] + random.standard_normal((count, DIM))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def rows(numbers, found):
    base = {"sample_id": None, "start": 0.0, "end": 2.0, "duration": 2.0, "captions": [], "size": 1, "mtime": 1.5}
    return [{**base, "id": f"v{n}", "path": f"/v/{n}.mp4", "vector": v} for n, v in zip(numbers, found, strict=True)]


def fill(index, everything, start=0, step=1000):
    for n in range(start, len(everything), step):
        index._table.add(rows(range(n, min(n + step, len(everything))), everything[n : n + step]))


@pytest.fixture
def everything():
    return vectors(ROWS)


@pytest.fixture
def index(tmp_path, everything):
    """Three fragments without an index."""
    index = VideoIndex.create(tmp_path / "index", DIM, MADE)
    fill(index, everything)
    return index


def build(index, **options):
    segments.build(index.uri, index._table, **{"bits": 4, "part_rows": 1000, **options})


def recall(index, everything):
    asked = vectors(30, seed=5)
    best = [{f"v{n}" for n in row} for row in np.argsort(-(asked @ everything.T), axis=1)[:, :10]]
    found = [{hit.id for hit in index.search(query, 10)} for query in asked]
    return np.mean([len(a & b) / 10 for a, b in zip(found, best, strict=True)])


def known(index):
    """Rows in the index and not in it, and its segments."""
    stats = index._table.index_stats(segments.NAME)
    return stats.num_indexed_rows, stats.num_unindexed_rows, stats.num_indices


def lists(index):
    return index._table.to_lance().stats.index_stats(segments.NAME)["indices"][0]["num_partitions"]


def test_an_engine_that_there_is_not_is_refused_in_one_line(c2v_here, index):
    code, _, said = c2v_here("index", "optimize", "--index", index.uri, "--engine", "spark")
    assert (code, said.strip()) == (1, b"c2v: engine is 'spark'; allowed are ray and ray://host:port")


def parts_left(index):
    folders = Path(index.uri, f"{index.name}.lance", "_indices").glob("*")
    committed = {part.uuid for one in index._table.to_lance().describe_indices() for part in one.segments}
    return [folder.name for folder in folders if folder.name not in committed]


def test_an_index_made_in_parts_is_one_that_finds_what_brute_force_finds(index, everything):
    parts = []

    def each(make, some):
        parts.extend(some)
        return map(make, some)

    build(index, each=each)
    assert len(parts) == 3
    assert known(index) == (ROWS, 0, 1)
    assert lists(index) == ROWS // LISTS
    assert recall(index, everything) >= RIGHT
    assert parts_left(index) == []


def test_it_finds_as_much_as_the_index_that_one_process_makes(index, everything):
    upkeep.index_vectors(index._table, 4)
    alone = recall(index, everything)
    index._table.drop_index(segments.NAME)
    build(index)
    assert recall(index, everything) >= alone - 0.01


def test_rows_that_come_later_are_found_at_once(index, everything):
    build(index)
    more = np.concatenate([everything, vectors(200, seed=9)])
    index.write(rows(range(ROWS, ROWS + 200), more[ROWS:]))
    assert known(index)[:2] == (ROWS, 200)
    assert recall(index, more) >= RIGHT
    newest = more[ROWS + 7]
    assert index.search(newest, 1)[0].id == f"v{ROWS + 7}"
    assert index.search(newest, 1, where=f"path = '/v/{ROWS + 7}.mp4'")[0].id == f"v{ROWS + 7}"
    assert index.search(newest, 1, ids=[f"v{ROWS + 7}", "v3"])[0].id == f"v{ROWS + 7}"
    found = index.search_all(more[ROWS : ROWS + 3], 1)
    assert [hits[0].id for hits in found] == [f"v{ROWS + n}" for n in range(3)]


def test_windows_that_come_later_are_found_at_once(tmp_path, index):
    build(index)
    table = index.create_windows()
    first = [{**row, "video": f"v{n % 50}", "sizes": "2/1"} for n, row in enumerate(rows(range(1200), vectors(1200)))]
    table.write(first)
    segments.build(table.uri, table._table, bits=4)
    late = vectors(1, seed=77)[0]
    table.write([{**rows([9999], [late])[0], "video": "v49", "sizes": "2/1"}])
    assert known(table)[1] == 1
    assert table.search(late, 3, each=True)[0].video == "v49"


def test_a_table_that_grew_gets_a_part_of_the_same_lists_and_one_twice_as_large_new_ones(index, everything):
    build(index)
    more = vectors(2 * ROWS + 1000, seed=0)
    grown = np.concatenate([everything, more[ROWS:]])
    fill(index, grown[: ROWS + 2000], start=ROWS)
    model = segments._model(index._table.to_lance(), 4)
    build(index)
    assert known(index) == (ROWS + 2000, 0, 2)
    for before, now in zip(model, segments._model(index._table.to_lance(), 4), strict=True):
        assert np.array_equal(before, now)
    assert recall(index, grown[: ROWS + 2000]) >= RIGHT
    fill(index, grown, start=ROWS + 2000)
    build(index)
    assert known(index) == (len(grown), 0, 1)
    assert lists(index) == len(grown) // LISTS
    assert recall(index, grown) >= RIGHT
    assert parts_left(index) != [], "segments of versions that may still be read stay"


def test_another_number_of_bits_makes_it_anew(index, everything):
    build(index, bits=2)
    build(index, bits=4)
    assert segments._model(index._table.to_lance(), 4) is not None
    assert known(index) == (ROWS, 0, 1)
    build(index)  # nothing came: nothing is done
    assert known(index) == (ROWS, 0, 1)


def test_rows_that_are_rewritten_meanwhile_are_indexed_where_they_are(index, everything):
    tries = []

    def each(make, parts):
        made = list(map(make, parts))
        if not tries:
            index._table.optimize()  # another process; it puts the fragments together
        tries.append(1)
        return made

    build(index, each=each)
    assert tries == [1], "what is one fragment by then is one part, which needs nobody else"
    assert known(index) == (ROWS, 0, 1)
    assert recall(index, everything) >= RIGHT


def test_rows_that_come_change_and_go_meanwhile_are_right(index, everything):
    moved = vectors(300, seed=8)

    def each(make, parts):
        made = list(map(make, parts))
        index.write(rows(range(300), moved))
        index.write(rows(range(ROWS, ROWS + 100), vectors(100, seed=9)))
        index.delete([f"v{n}" for n in range(300, 400)])
        return made

    build(index, each=each)
    now = np.concatenate([moved, 0 * everything[300:400], everything[400:], vectors(100, seed=9)])
    assert index.count() == ROWS
    assert recall(index, now) >= RIGHT
    assert index.search(everything[5], 1)[0].score < 0.999999, "its vector is another now"


def test_a_table_that_others_never_leave_alone_is_refused_in_one_line(index, monkeypatch):
    make, tries = segments.segment, []

    def rewritten_meanwhile(plan, part):
        made = make(plan, part)
        index.delete([f"v{n}" for n in range(len(tries), ROWS, 5)])
        index._table.optimize()
        tries.append(1)
        return made

    monkeypatch.setattr(segments, "segment", rewritten_meanwhile)
    with pytest.raises(IndexBusyError, match=rf"index {index.uri}: others rewrote table videos each of 3 times") as one:
        build(index, part_rows=ROWS)
    assert "\n" not in str(one.value)
    assert not upkeep.has_index(index._table, "vector")
    assert parts_left(index) == []


def test_a_part_that_fails_leaves_the_table_as_it_was(index, everything):
    def each(make, parts):
        yield make(parts[0])
        raise RuntimeError("a machine was lost")

    with pytest.raises(RuntimeError, match="a machine was lost"):
        build(index, each=each)
    assert not upkeep.has_index(index._table, "vector")
    assert parts_left(index) == []
    assert recall(index, everything) == 1


def test_a_build_that_is_killed_leaves_the_table_as_it_was_and_the_next_one_clears_up(index, everything):
    script = f"""
import os, signal
from clip2video_plugin.index import VideoIndex, segments
segments.LIST_ROWS = {LISTS}
def each(make, parts):
    yield make(parts[0])
    yield make(parts[1])
    os.kill(os.getpid(), signal.SIGKILL)
index = VideoIndex.open({index.uri!r})
segments.build(index.uri, index._table, bits=4, part_rows=1000, each=each)
"""
    ended = subprocess.run([sys.executable, "-c", script], env=os.environ, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert len(parts_left(index)) == 2
    assert not upkeep.has_index(index._table, "vector")
    assert recall(index, everything) == 1
    build(index)
    assert known(index) == (ROWS, 0, 1)
    assert parts_left(index) == []


def test_many_small_segments_become_few(index, everything, monkeypatch):
    monkeypatch.setattr(upkeep, "UNINDEXED_ROWS", 50)
    build(index)
    grown = np.concatenate([everything, vectors(1000, seed=9)])
    most = 0
    for start in range(ROWS, ROWS + 1000, 100):
        index.write(rows(range(start, start + 100), grown[start : start + 100]))
        index.finish()
        most = max(most, known(index)[2])
    assert known(index)[1] == 0
    assert 1 < most <= upkeep.MOST_SEGMENTS["folded"]
    assert recall(index, grown) >= RIGHT


def test_young_segments_are_put_together_before_old_ones():
    assert segments._young([1_000_000, 5_000, 5_000, 5_000]) == 3
    assert segments._young([1_000_000, 400_000, 300_000]) == 3
    assert segments._young([1_000_000]) == 1
    assert segments._young([1_000_000, 10]) == 1


def test_finish_makes_a_large_index_in_parts_and_any_where_it_is_told_who_makes_them(index, everything, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 1000)
    monkeypatch.setattr(segments, "PART_ROWS", 1000)
    asked = []

    def each(make, parts):
        asked.extend(parts)
        return map(make, parts)

    with held(lock_of(index.uri, upkeep.BUILD_LOCK), index.uri):
        assert index.needs_indexing()
    index.finish(each=each)
    assert len(asked) == 3
    assert known(index) == (ROWS, 0, 1)
    assert recall(index, everything) >= RIGHT
    assert not index.needs_indexing()


def test_optimize_makes_them_in_parts_too(index, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 1000)
    monkeypatch.setattr(segments, "PART_ROWS", 1000)
    asked = []
    optimize(index.uri, each=lambda make, parts: asked.extend(parts) or map(make, parts))
    assert len(asked) == 3
    assert known(index) == (ROWS, 0, 1)


def test_without_pylance_one_process_makes_the_index(index, everything, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 1000)
    monkeypatch.setattr(segments, "possible", lambda: False)
    index.finish(each=lambda make, parts: pytest.fail("parts cannot be made"))
    assert known(index) == (ROWS, 0, 1)
    assert recall(index, everything) >= RIGHT


def test_parts_in_a_store(s3, everything):
    index = VideoIndex.create(s3.uri("index"), DIM, MADE)
    fill(index, everything)
    build(index)
    assert known(index) == (ROWS, 0, 1)
    assert recall(index, everything) >= RIGHT
    keys = [one["Key"] for one in s3.client.list_objects_v2(Bucket=s3.bucket, Prefix="index/")["Contents"]]
    assert len({key.split("/")[3] for key in keys if "/_indices/" in key}) == 1
