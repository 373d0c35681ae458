"""An index that is deleted, renamed or made anew while it is open: an answer of what is there, or one line, and no
file where none was."""

import shutil
import threading
from contextlib import contextmanager

import fiftyone as fo
import numpy as np
import pytest

from clip2video_plugin import compute_clip2video, embed_videos, search
from clip2video_plugin.datasets import CaptionedVideoFolder
from clip2video_plugin.errors import Clip2VideoError, VideoIndexError
from clip2video_plugin.index import VideoIndex, open_index
from clip2video_plugin.index.calibration import write_fit
from clip2video_plugin.index.portable import export_index
from clip2video_plugin.index.windows import VideoWindows

from ..index.test_store import DIM, MADE, row, unit

QUERY = unit(1, 9)[0]
OTHER = unit(40, 7)  # of the index that takes the place of the first


def made(place, vectors, dim=DIM):
    index = VideoIndex.create(place, dim, MADE)
    index.write([row(i, v) for i, v in enumerate(vectors)])
    return index


@contextmanager
def one_line_at_most():
    """Passes over a VideoIndexError that is one line."""
    try:
        yield
    except VideoIndexError as error:
        if "\n" in str(error):
            raise


def best(vectors, ids=None):
    """The five nearest by brute force."""
    order = [int(i) for i in np.argsort(-(vectors @ QUERY)) if ids is None or f"v{i}" in ids]
    return [f"v{i}" for i in order[:5]]


QUESTIONS = {
    "search": lambda index: index.search(QUERY, 5),
    "search in a view": lambda index: index.search(QUERY, 5, ids=["v1", "v2", "v3"]),
    "search by a filter": lambda index: index.search(QUERY, 5, where="size = 1"),
    "search_all": lambda index: index.search_all(unit(3), 5),
    "count": lambda index: index.count(),
    "rows": lambda index: index.rows(["v1"]),
    "vectors": lambda index: index.vectors(["v1"]),
    "captions": lambda index: index.captions(["v1"]),
    "entries": lambda index: index.entries(["v1"]),
    "columns": lambda index: index.columns(["id", "added"], ["v1"]),
    "all rows": lambda index: list(index.vector_batches()),
    "state": lambda index: index.state,
    "provenance": lambda index: index.provenance,
    "check": lambda index: index.check(),
    "needs_indexing": lambda index: index.needs_indexing(),
    "text": lambda index: index.text.there and index.text.search("a", 3),
    "info": lambda index: index.info(),
    "write": lambda index: index.write([row(1, unit(1)[0])]),
    "write windows": lambda index: index.create_windows().write_windows(
        [VideoWindows(row(1, unit(1)[0]), "2/1", np.array([[0.0, 2.0]]), unit(1))]
    ),
    "write a failure": lambda index: index.write_failures(
        [{"id": "x", "path": "/x", "size": 3, "mtime": 4.0, "reason": "no"}]
    ),
    "write a fit": lambda index: write_fit(index, {"a": 1}, 1),
    "delete": lambda index: index.delete(["v1"]),
    "finish": lambda index: index.finish(),
    "export": lambda index: export_index(index, "export.parquet"),
}


@pytest.mark.parametrize("what", QUESTIONS)
@pytest.mark.parametrize("gone", ["deleted", "renamed"])
def test_each_question_to_an_index_that_is_gone_is_one_line_and_makes_nothing(tmp_path, monkeypatch, what, gone):
    monkeypatch.chdir(tmp_path)
    index = made(tmp_path / "index", unit(50))
    index.search(QUERY, 5)
    if gone == "deleted":
        shutil.rmtree(tmp_path / "index")
    else:
        (tmp_path / "index").rename(tmp_path / "elsewhere")
    with pytest.raises(VideoIndexError, match=f"{tmp_path}/index.*c2v embed PATH --index {tmp_path}/index$") as error:
        QUESTIONS[what](index)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == ({"elsewhere"} if gone == "renamed" else set())
    if gone == "renamed":  # what was written went nowhere
        assert open_index(tmp_path / "elsewhere").count() == 50


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_an_index_made_anew_under_a_reader_gives_its_own_answers(tmp_path, how):
    index = made(tmp_path / "index", unit(50))
    index.create_windows().write_windows([VideoWindows(row(1, unit(1)[0]), "2/1", np.array([[0.0, 2.0]]), unit(1))])
    view = {f"v{i}" for i in range(30)}
    assert [hit.id for hit in index.search(QUERY, 5)] == best(unit(50))
    assert [hit.id for hit in index.search(QUERY, 5, ids=view)] == best(unit(50), view)
    assert index.windows().count() == 1
    if how == "deleted":
        shutil.rmtree(tmp_path / "index")
        made(tmp_path / "index", OTHER)
    else:
        made(tmp_path / "new", OTHER)
        (tmp_path / "index").rename(tmp_path / "old")
        (tmp_path / "new").rename(tmp_path / "index")
    assert [hit.id for hit in index.search(QUERY, 5)] == best(OTHER)
    assert [hit.id for hit in index.search(QUERY, 5, ids=view)] == best(OTHER, view)
    assert index.windows() is None
    np.testing.assert_array_equal(index.vectors(["v3"])["v3"], OTHER[3])
    assert sum(len(ids) for ids, _ in index.vector_batches()) == index.count() == 40
    index.write([row(40, unit(1, 3)[0])])
    assert open_index(tmp_path / "index").count() == 41


def test_an_index_that_is_exchanged_again_and_again_answers_each_question_from_one_of_the_two(tmp_path):
    """Two renames leave a moment without any, in which a question is one line."""
    made(tmp_path / "index", unit(50))
    made(tmp_path / "other", OTHER)
    index, stop, view = open_index(tmp_path / "index"), threading.Event(), {f"v{i}" for i in range(30)}

    def exchange():
        while not stop.is_set():
            (tmp_path / "index").rename(tmp_path / "between")
            (tmp_path / "other").rename(tmp_path / "index")
            (tmp_path / "between").rename(tmp_path / "other")
            stop.wait(0.02)

    thread, seen = threading.Thread(target=exchange, daemon=True), set()
    thread.start()
    try:
        for _ in range(60):
            for ids in (None, view):
                with one_line_at_most():
                    found = [hit.id for hit in index.search(QUERY, 5, ids=ids)]
                    which = [found == best(unit(50), ids), found == best(OTHER, ids)]
                    assert any(which), found
                    seen |= {which.index(True)}
            with one_line_at_most():
                assert sum(len(ids) for ids, _ in index.vector_batches()) in (50, 40)
                assert len(index.rows(["v1"])) == len(index.captions(["v1"])) == len(index.entries(["v1"])) == 1
    finally:
        stop.set()
        thread.join(60)
    assert seen == {0, 1}


def test_an_index_made_anew_by_another_model_is_refused_by_who_has_it_open(world_index, model, tmp_path):
    shutil.copytree(world_index, tmp_path / "index")
    index = open_index(tmp_path / "index")
    assert len(search("a red square", index=index, model=model)) == 10
    shutil.rmtree(tmp_path / "index")
    made(tmp_path / "index", OTHER)
    with pytest.raises(VideoIndexError, match=r"was made with model 'test' .*; this is model 'shapes'"):
        search("a red square", index=index, model=model)


def test_searches_on_the_command_line_while_the_index_is_made_anew(world, model, tmp_path, c2v_here):
    """From the moment that it is deleted until it is whole again: videos, or one line."""
    place, videos = tmp_path / "index", sorted(world[0].glob("*.mp4"))[:12]
    embed_videos(videos[:4], index=place, model=model)
    thread = threading.Thread(target=embed_videos, args=[videos], kwargs={"index": place, "model": model})
    shutil.rmtree(place)
    codes = list[int]()

    def ask():
        code, _, err = c2v_here("search", "a red square", "--index", place, "--json")
        assert code in (0, 1), err
        if code:
            assert len(err.decode().strip().splitlines()) == 1, err
            assert str(place) in err.decode()
        codes.append(code)

    ask()
    thread.start()
    while thread.is_alive():
        ask()
    thread.join()
    ask()
    assert (codes[0], codes[-1]) == (1, 0)
    assert len(search("a red square", index=place, model=model, k=12)) == 12


@pytest.fixture
def dataset(world, world_index, model, tmp_path):
    folder = shutil.copytree(world_index, tmp_path / "index")
    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, max_samples=10)
    compute_clip2video(dataset, model=model, brain_key="k1", index=folder, progress=False)
    yield dataset
    dataset.delete()


def test_the_app_says_in_one_line_that_the_vectors_of_a_run_are_gone_and_finds_them_again(dataset, tmp_path, model):
    def answer():
        return dataset.sort_by_similarity("a red square moves", k=3, brain_key="k1").values("id")

    first, results = answer(), dataset.load_brain_results("k1")
    (tmp_path / "index").rename(tmp_path / "away")
    for ask in (answer, lambda: results.total_index_size, lambda: results.sample_ids, lambda: results.get_embeddings()):
        with pytest.raises(Clip2VideoError) as error:
            ask()
        assert "\n" not in str(error.value)
        assert f"{tmp_path}/index" in str(error.value)
    assert not (tmp_path / "index").exists()
    (tmp_path / "away").rename(tmp_path / "index")
    assert answer() == first
    shutil.rmtree(tmp_path / "index")
    dataset.delete_brain_run("k1")
    compute_clip2video(dataset, model=model, brain_key="k1", index=tmp_path / "index", progress=False)
    assert answer() == first
