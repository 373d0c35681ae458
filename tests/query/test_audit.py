"""Captions whose own video ranks low, and captions that fit a video best: against all scores at once."""

import json
import shutil

import numpy as np
import pytest

from clip2video_plugin import audit, embed_videos, nearest_captions, open_index
from clip2video_plugin.errors import QueryError
from clip2video_plugin.shapes import caption, captions


@pytest.fixture(scope="module")
def captioned(world, world_index, tmp_path_factory):
    """The index of the generated videos with three captions each, those of the first two exchanged; and them."""
    uri = tmp_path_factory.mktemp("captioned") / "index"
    shutil.copytree(world_index, uri)
    index, texts = open_index(uri), dict[str, list[str]]()
    rows = sorted(index.rows(list(index.ids())).values(), key=lambda row: row["path"])
    for number, row in enumerate(rows):
        texts[row["id"]] = captions(world[1][(1, 0)[number] if number < 2 else number], 3, seed=number)
    said = {"captions": ["a voice says hello"], "caption_times": [[0.0, 1.0]]}
    index.write([{**row, "captions": texts[row["id"]]} for row in rows[:-1]] + [{**rows[-1], **said}])
    del texts[rows[-1]["id"]]
    return index, texts


def test_the_captions_whose_own_video_ranks_lowest(captioned, model):
    index, texts = captioned
    ids = list(index.ids())
    every = index.vectors(ids)
    gallery = np.stack([every[i] for i in ids]).astype(np.float64)
    truth, first = {}, 0
    for i, some in texts.items():
        for text in some:
            scores = gallery @ model.encode_captions([text]).vector[0].numpy()
            order = [ids[n] for n in np.argsort(-scores)]
            first += order[0] == i
            truth[i, text] = order.index(i) + 1, next(other for other in order if other != i)
    found = audit(index, model=model, k=1000)
    assert (found.videos, found.captions, found.first) == (24, len(truth), first)
    assert {(s.id, s.caption): s.rank for s in found.suspects} == {key: r for key, (r, _) in truth.items() if r > 1}
    paths = {entry.id: entry.path for entry in index.videos()}
    assert all(s.rival == paths[truth[s.id, s.caption][1]] for s in found.suspects)
    ranks = [s.rank for s in found.suspects]
    assert ranks == sorted(ranks, reverse=True)
    assert audit(index, model=model, k=5).suspects == found.suspects[:5]
    exchanged = [i for i in texts if index.rows([i])[i]["path"].endswith(("00000.mp4", "00001.mp4"))]
    assert {s.id for s in found.suspects} >= set(exchanged)
    alone = audit(index, model=model, ids=exchanged)
    assert (alone.captions, {s.id for s in alone.suspects}) == (6, set(exchanged))


def test_copies_of_a_video_share_its_rank(captioned, model, tmp_path):
    shutil.copytree(captioned[0].uri, tmp_path / "index")
    index = open_index(tmp_path / "index")
    best = next(s for s in audit(index, model=model, k=1000).suspects if s.rank == 2)
    row = index.rows([best.id])[best.id]
    index.write([{**row, "id": f"copy-{n}", "captions": []} for n in range(2)])
    again = {(s.id, s.caption): s.rank for s in audit(index, model=model, k=1000).suspects}
    assert again[best.id, best.caption] == 3.0  # one is better, and two are as good as itself


def test_nearest_captions_of_a_video(captioned, world, model, tmp_path):
    index, texts = captioned
    entry = next(e for e in index.videos() if e.path.endswith("00005.mp4"))
    vector = index.vectors([entry.id])[entry.id]
    every = list(dict.fromkeys(text for some in texts.values() for text in some))
    scores = {text: float(model.encode_captions([text]).vector[0].numpy() @ vector) for text in every}
    expected = sorted(every, key=lambda text: -scores[text])[:7]
    for video in (entry.path, entry.id):
        found = nearest_captions(index, video, 7, model=model)
        assert [fit.caption for fit in found] == expected
        assert [fit.score for fit in found] == pytest.approx([scores[text] for text in expected], abs=1e-5)
        assert [fit.own for fit in found] == [text in texts[entry.id] for text in expected]
    others = [caption(scene) for scene in world[1][:8]]
    file = tmp_path / "labels.txt"
    file.write_text("\n\n".join(others) + "\n")
    from_file = nearest_captions(index, entry.path, 3, captions=file, model=model)
    assert from_file == nearest_captions(index, entry.path, 3, captions=others, model=model)
    assert from_file[0].caption == others[5]


def test_what_cannot_be_answered_says_why(captioned, world_index, model, tmp_path):
    with pytest.raises(QueryError, match=r"no video of index .* has captions"):
        audit(world_index, model=model)
    with pytest.raises(QueryError, match="there are no captions"):
        nearest_captions(world_index, next(iter(open_index(world_index).ids())), model=model)
    for video in ("nowhere.mp4", "", str(tmp_path)):
        with pytest.raises(QueryError, match="is no video of index"):
            nearest_captions(captioned[0], video, model=model)
    entry = next(captioned[0].videos())
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(QueryError, match="no text in UTF-8"):
        nearest_captions(captioned[0], entry.path, captions=tmp_path / "latin.txt", model=model)
    with pytest.raises(QueryError, match="cannot read"):
        nearest_captions(captioned[0], entry.path, captions=tmp_path / "none.txt", model=model)


def test_an_empty_index_has_no_captions(tmp_path, model):
    embed_videos([], index=tmp_path / "index", model=model)
    with pytest.raises(QueryError, match="has captions"):
        audit(tmp_path / "index", model=model)


def test_the_command_line_shows_both(captioned, c2v_here):
    index = captioned[0]
    code, out, err = c2v_here("index", "audit", "--index", index.uri, "-k", 3)
    assert code == 0, err
    assert out.decode().count("rank ") == 3
    assert out.decode().splitlines()[-1].endswith("find their own video first, among 24")
    code, out, _ = c2v_here("index", "audit", "--index", index.uri, "--json")
    found = json.loads(out)
    assert (code, found["videos"], found["captions"]) == (0, 24, 69)
    entry = next(index.videos())
    code, out, _ = c2v_here("index", "captions", entry.path, "--index", index.uri, "-k", 4, "--json")
    assert (code, [set(fit) for fit in json.loads(out)]) == (0, [{"caption", "score", "own"}] * 4)
    code, out, _ = c2v_here("index", "captions", entry.path, "--index", index.uri, "-k", 69)
    assert out.decode().count("(its own)") == 3
    code, _, err = c2v_here("index", "captions", "nowhere.mp4", "--index", index.uri)
    assert (code, err.count(b"\n")) == (1, 1)
