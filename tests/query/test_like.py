"""Videos as queries: rows, files, images and parts of files; they are no hits themselves."""

import numpy as np
import pytest
from PIL import Image

from clip2video_plugin import Query, embed_videos, open_index, read_frames, search
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Span
from clip2video_plugin.shapes import caption, held_out_scenes, write_videos


@pytest.fixture(scope="module")
def rows(world_index):
    index = open_index(world_index)
    return {row["path"]: row for row in index.rows(list(index.ids())).values()}


def scores(result):
    return {hit.path: pytest.approx(hit.score, abs=1e-5) for hit in result}


def test_a_row_and_its_file_are_the_same_example(world, world_index, model, rows):
    path = str(world[0] / "00004.mp4")
    by_id = search(Query(like=rows[path]["id"], k=24), index=world_index, model=model)
    assert scores(by_id) == {p: float(row["vector"] @ rows[path]["vector"]) for p, row in rows.items() if p != path}
    assert len(by_id) == 23
    by_file = search(f"--like {path} -k 24", index=world_index, model=model)
    assert by_file.hits == by_id.hits
    assert "cosines with videos" in by_file.comparable


def test_several_are_their_mean_and_a_prompt_is_half(world, world_index, model, rows):
    paths = [str(world[0] / f"0000{n}.mp4") for n in (1, 2)]
    mean = np.mean([rows[path]["vector"] for path in paths], axis=0)
    text = model.encode_captions([caption(world[1][7])]).vector[0].numpy()
    expected = {p: float(row["vector"] @ (mean + text)) / 2 for p, row in rows.items() if p not in paths}
    found = search(Query(caption(world[1][7]), like=tuple(paths), k=24, captions=""), index=world_index, model=model)
    assert scores(found) == expected


def test_a_file_that_is_not_indexed_is_encoded(world_index, model, rows, tmp_path):
    write_videos(tmp_path, held_out_scenes(1, seed=9))
    (path,) = tmp_path.glob("*.mp4")
    frames = read_frames(path, **model.config.preprocessing.options)
    vector = model.encode_frames([frames.pixels]).vector[0].numpy()
    whole = search(Query(like=path, k=24), index=world_index, model=model)
    assert scores(whole) == {p: float(row["vector"] @ vector) for p, row in rows.items()}
    text_only = search(Query(like=path, k=24), index=world_index)  # loads what sees as well
    assert [hit.id for hit in text_only] == [hit.id for hit in whole]

    frames = read_frames(path, start=1, end=2, **model.config.preprocessing.options)
    vector = model.encode_frames([frames.pixels]).vector[0].numpy()
    for like in (f"{path}@1-2", (path, Span(1, 2, 0.0))):
        part = search(Query(like=like, k=24), index=world_index, model=model)
        assert scores(part) == {p: float(row["vector"] @ vector) for p, row in rows.items()}

    Image.fromarray(frames.pixels[0]).save(tmp_path / "still.png")
    vector = model.encode_frames([frames.pixels[:1]]).vector[0].numpy()
    still = search(Query(like=tmp_path / "still.png", k=24), index=world_index, model=model)
    assert scores(still) == {p: float(row["vector"] @ vector) for p, row in rows.items()}


def test_the_weight_counts_the_halves(world, world_index, model, rows):
    path, d = str(world[0] / "00004.mp4"), model.config.embed_dim
    one = rows[path]["vector"]
    found = search(Query(like=path, weight=0.2, k=24), index=world_index, model=model)
    assert scores(found) == {
        p: float(2 * 0.2 * row["vector"][:d] @ one[:d] + 2 * 0.8 * row["vector"][d:] @ one[d:])
        for p, row in rows.items()
        if p != path
    }


def test_a_window_is_an_example_without_its_file(world, model, tmp_path):
    write_videos(tmp_path / "v", held_out_scenes(3, seed=9))
    paths = sorted((tmp_path / "v").glob("*.mp4"))
    embed_videos(paths, index=tmp_path / "i", model=model, windows="2/1")
    index = open_index(tmp_path / "i")
    (one,) = index.named([str(paths[0])])
    found = {i: vectors for i, (_, vectors) in index.windows().windows_by_video(list(index.ids())).items()}
    paths[0].unlink()
    result = search(f"--like {one}@1-3 -k 3", index=index, model=model)
    other = {hit.id: hit.score for hit in result}
    assert other.keys() == found.keys() - {one}
    spans, vectors = index.windows().windows_by_video([one])[one]
    asked = vectors[[tuple(span) for span in spans].index((1.0, 3.0))]
    wholes = index.vectors(list(other))
    best = {i: max(float((found[i] @ asked).max()), float(wholes[i] @ asked)) for i in other}
    assert other == {i: pytest.approx(best[i], abs=1e-5) for i in best}


@pytest.mark.parametrize(
    ("like", "words"),
    [
        ("nowhere.mp4", "like is 'nowhere.mp4', which is no file and not in the index"),
        ("FILE@2-1", "its end must be later than its start"),
        ("FILE@99-100", "start is 99; it ends after"),
        ("TEXT", "not a video"),
    ],
)
def test_what_is_no_example_is_one_line(world, world_index, model, tmp_path, like, words):
    (tmp_path / "note.mp4").write_text("no video")
    like = like.replace("FILE", str(world[0] / "00000.mp4")).replace("TEXT", str(tmp_path / "note.mp4"))
    with pytest.raises(Clip2VideoError, match=words) as error:
        search(Query(like=like), index=world_index, model=model)
    assert "\n" not in str(error.value)
