"""A sentence finds its video; what cannot be answered says what to do."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import clip2video_plugin
from clip2video_plugin import open_index, search
from clip2video_plugin.errors import QueryError, VideoIndexError
from clip2video_plugin.shapes import caption


def test_a_sentence_finds_its_video(world, world_index, model):
    index, first = open_index(world_index), 0
    for number, scene in enumerate(world[1]):
        result = search(caption(scene), index=index, model=model, k=5)
        assert [hit.rank for hit in result.hits] == [1, 2, 3, 4, 5]
        assert result.searched == 24
        first += result.hits[0].path.endswith(f"{number:05d}.mp4")
    assert first >= 18


def test_the_score_is_the_models_own(world, world_index, model):
    import torch

    text = model.encode_captions([caption(world[1][0])])
    from clip2video_plugin import read_frames

    frames = [read_frames(path, size=model.config.image_size).pixels for path in sorted(world[0].glob("*.mp4"))]
    video = model.encode_frames(frames)
    with torch.inference_mode():
        logits = model.network.similarity(text, video) / model.network.logit_scale.exp()
    hits = search(caption(world[1][0]), index=world_index, model=model, k=24).hits
    expected = dict(zip(sorted(str(p) for p in world[0].glob("*.mp4")), logits[0].tolist(), strict=True))
    assert {hit.path: pytest.approx(hit.score, abs=1e-5) for hit in hits} == expected


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_weight_is_the_querys(world, world_index, model, weight):
    text = model.encode_captions([caption(world[1][3])])
    vectors = open_index(world_index).vectors(list(open_index(world_index).ids()))
    d = model.config.embed_dim
    expected = {
        i: np.sqrt(2)
        * (weight * v[:d] @ text.global_vector[0].numpy() + (1 - weight) * v[d:] @ text.aligned_vector[0].numpy())
        for i, v in vectors.items()
    }
    hits = search(caption(world[1][3]), index=world_index, model=model, k=24, weight=weight).hits
    assert {hit.id: pytest.approx(hit.score, abs=1e-5) for hit in hits} == expected


def test_the_index_says_which_model_to_take(world, world_index):
    assert search(caption(world[1][0]), index=world_index).model == "shapes"


@pytest.mark.parametrize("query", ["", "   ", "\n\t"])
def test_an_empty_query_is_refused(world_index, query):
    with pytest.raises(QueryError, match="is empty; describe"):
        search(query, index=world_index)


def test_an_index_that_does_not_exist_says_how_to_make_one(tmp_path):
    with pytest.raises(VideoIndexError, match="c2v embed PATH --index"):
        search("a red square", index=tmp_path / "nowhere")
    with pytest.raises(VideoIndexError, match="c2v embed PATH --index"):
        search("a red square", index=tmp_path)


def test_other_weights_are_refused(world_index, model):
    with pytest.raises(VideoIndexError, match="made with model 'shapes'") as error:
        search("a red square", index=world_index, model=model and _save_changed(model))
    assert "--model" in str(error.value)


def _save_changed(model):
    import tempfile
    from pathlib import Path

    from clip2video_plugin.model import Clip2Video
    from clip2video_plugin.model.saving import save_checkpoint

    folder = Path(tempfile.mkdtemp()) / "changed"
    save_checkpoint(folder, Clip2Video(model.config), model.tokenizer)
    return folder


def test_a_model_that_is_gone_is_named(world, model, tmp_path):
    from clip2video_plugin import embed_videos

    embed_videos([world[0] / "00000.mp4"], index=tmp_path, model=replace(model, name="gone"))
    with pytest.raises(VideoIndexError, match=r"'gone'.*not installed; name its checkpoint folder"):
        search("a red square", index=tmp_path)


@pytest.mark.parametrize("name", ["k", "weight"])
@pytest.mark.parametrize("value", [-1, 2.7, "0.5", True, float("nan"), float("inf"), 10**10, [1]])
def test_options_out_of_range_are_named(world_index, name, value):
    with pytest.raises(QueryError, match=rf"^{name} is .*; it must be a .*number that lies [^\n]*$"):
        search("a red square", index=world_index, **{name: value})


def test_more_hits_than_there_are_videos_may_be_asked_for(world_index):
    assert len(search("a red square", index=world_index, k=10_000, weight=np.float32(0.5)).hits) == 24


def test_the_exported_search_is_the_function():
    assert callable(clip2video_plugin.search)


def test_several_sentences_are_answered_in_turn(world, world_index, model):
    queries = [caption(scene) for scene in world[1][:3]]
    together = search(queries, index=world_index, model=model, k=4)
    alone = [search(query, index=world_index, model=model, k=4) for query in queries]
    assert [one.query for one in together] == queries
    for one, other in zip(together, alone, strict=True):
        assert [hit.id for hit in one] == [hit.id for hit in other]
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-6)
    assert search((), index=world_index, model=model) == []
    with pytest.raises(QueryError, match="is empty; describe"):
        search([queries[0], " "], index=world_index, model=model)


def test_a_result_is_a_sequence_of_hits_and_a_table(world, world_index, model):
    result = search(caption(world[1][0]), index=world_index, model=model, k=4)
    assert len(result) == 4
    assert list(result) == result.hits
    assert result[0].rank == 1
    assert [hit.rank for hit in result[1:3]] == [2, 3]
    table = result.to_pandas()
    assert list(table["score"]) == [hit.score for hit in result]
    assert list(table["path"]) == [row["path"] for row in result.to_dicts()]
    assert search("nothing", index=world_index, model=model, k=1)[:0] == []


def test_queries_come_from_standard_input(c2v, world, world_index):
    queries = [caption(world[1][0]), caption(world[1][1])]
    text = f"{queries[0]}\n\n  {queries[1]}  \n"
    done = c2v("search", "-", "--index", world_index, "-k", 2, input=text)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["query"] for answer in answers] == queries
    alone = json.loads(c2v("search", queries[1], "--index", world_index, "-k", 2, "--json").stdout)
    for hit in (*answers[1]["hits"], *alone["hits"]):
        hit["score"] = round(hit["score"], 5)
    assert answers[1] == alone


def test_standard_input_that_is_no_text_is_one_line(world_index, tmp_path):
    command = [sys.executable, "-m", "clip2video_plugin.cli", "search", "-", "--index", str(world_index)]
    done = subprocess.run(command, input=b"a red square\n\xff\n", capture_output=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.decode().splitlines()[-1] == "c2v: line 2 of standard input is no text in UTF-8"


def test_a_batch_is_one_pass_over_the_table(tmp_path, monkeypatch):
    """Of 250 queries, in three questions to the table, as brute force answers them."""
    from clip2video_plugin.index import Provenance, VideoIndex, nearest
    from clip2video_plugin.query import Gallery

    random = np.random.default_rng(0)
    videos = random.standard_normal((600, 16)).astype(np.float32)
    videos /= np.linalg.norm(videos, axis=1, keepdims=True)
    index = VideoIndex.create(tmp_path, 16, Provenance("m", "0" * 64, "uniform", 12, "0"))
    blank = {"sample_id": None, "start": 0.0, "end": None, "duration": None, "captions": [], "size": 1, "mtime": 1.0}
    index.write([{**blank, "id": f"{n:03d}", "path": f"/{n:03d}.mp4", "vector": v} for n, v in enumerate(videos)])
    asked, real = [], nearest._arrow
    monkeypatch.setattr(nearest, "_arrow", lambda query: asked.append(query) or real(query))
    queries = [random.standard_normal((1 + n % 2, 16)).astype(np.float32) for n in range(167)]  # 250 vectors
    for gallery, rows in (
        (Gallery(index), range(600)),
        (Gallery(index).filtered("path:*7.mp4"), range(7, 600, 10)),
    ):
        found = gallery.nearest_all(queries, 5)
        assert len(asked) == 3
        asked.clear()
        for hits, vectors in zip(found, queries, strict=True):
            scores = (vectors @ videos.T).max(axis=0)
            best = sorted(rows, key=lambda n: -scores[n])[:5]
            assert [hit.id for hit in hits] == [f"{n:03d}" for n in best]
            assert [hit.score for hit in hits] == pytest.approx(scores[best], abs=1e-5)
    kept = Gallery(index, keep=lambda hits: [hit for hit in hits if hit.id < "050"])
    assert kept.nearest_all(queries[:3], 5) == [kept.nearest(vectors, 5) for vectors in queries[:3]]
