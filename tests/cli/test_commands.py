"""The command line: documents on stdout, everything else on stderr, exit codes, one-line errors."""

import json

import pytest

from clip2video_plugin.shapes import caption

from ..video import clips


@pytest.fixture
def videos(world, tmp_path):
    folder = tmp_path / "videos"
    (folder / "deeper").mkdir(parents=True)
    for i, name in enumerate(["a.mp4", "deeper/b c.mp4", "deeper/ünï.mp4"]):
        (folder / name).write_bytes((world[0] / f"{i:05d}.mp4").read_bytes())
    return folder


def test_embed_then_search_in_the_default_index(c2v, videos, world):
    done = c2v("embed", "videos")
    assert done.returncode == 0, done.stderr
    assert "3 embedded, 0 unchanged, 0 failed" in done.stdout
    done = c2v("search", caption(world[1][1]))
    assert done.returncode == 0, done.stderr
    assert "b c.mp4" in done.stdout
    assert done.stderr == ""


def test_embed_as_json(c2v, videos):
    (videos / "broken.mp4").write_text("no video")
    done = c2v("embed", "videos", "--index", "here", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(document) == {
        *("embedded", "skipped", "moved", "failed", "captioned", "windows", "windowed", "seconds", "warning")
    }
    assert (document["embedded"], document["skipped"]) == (3, 0)
    assert [set(f) for f in document["failed"]] == [{"path", "reason"}]
    assert document["failed"][0]["path"] == str(videos / "broken.mp4")
    assert json.loads(c2v("embed", "videos", "--index", "here", "--json").stdout)["skipped"] == 3


def test_strict_exits_with_3(c2v, videos):
    (videos / "broken.mp4").write_text("no video")
    done = c2v("embed", "videos", "--strict")
    assert done.returncode == 3
    assert "broken.mp4: not a video" in done.stdout
    assert c2v("embed", "videos/a.mp4", "--strict").returncode == 0


MORE = ("comparable", "captions", "refused", "dropped", "notes")


def test_search_as_json(c2v, world, world_index):
    query = caption(world[1][6])
    document = json.loads(c2v("search", query, "--index", world_index, "-k", "3", "--json").stdout)
    assert set(document) == {"query", "model", "training", "about", "searched", "warning", *MORE, "hits"}
    assert (document["query"], document["model"], document["searched"]) == (query, "shapes", 24)
    assert [hit["rank"] for hit in document["hits"]] == [1, 2, 3]
    assert set(document["hits"][0]) == {
        *("rank", "id", "path", "score", "confidence", "start", "end", "duration", "matched", "missing_file", "missing")
    }
    assert document["hits"][0]["path"] == str(world[0] / "00006.mp4")


def test_the_index_comes_from_the_environment(c2v, world_index, world):
    import os

    done = c2v("search", caption(world[1][0]), env={**os.environ, "C2V_INDEX": str(world_index)})
    assert done.returncode == 0, done.stderr
    assert "among 24 videos" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["search", ""], 1, "is empty; describe"),
        (["search", "a dog"], 1, "c2v embed PATH"),
        (["embed", "nowhere"], 1, "nowhere: no such file"),
        (["embed", ".", "--model", "nope"], 1, "no model 'nope'"),
        (["embed", ".", "--device", "quantum"], 1, "quantum"),
        (["models", "import", "nothing.bin"], 1, "no file nothing.bin"),
        (["models", "info", "nope"], 1, "no model"),
        (["frames", "nowhere", "out"], 1, "no such file"),
        (["search", "a dog", "-k", "0"], 2, "Usage"),
        (["embed"], 2, "Usage"),
        (["nonsense"], 2, "Usage"),
    ],
)
def test_errors_are_short_and_tell_what_to_do(c2v, arguments, code, words):
    done = c2v(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    if code == 1:
        assert done.stderr.count("\n") == 1


def test_models_are_listed_with_the_released_ones(c2v):
    done = c2v("models", "list")
    for words in ("shapes", "MSR-VTT", "MSVD", "VATEX", "clip2video-vatex", "github.com/CryhanFang/CLIP2Video"):
        assert words in done.stdout
    assert len(json.loads(c2v("models", "list", "--json").stdout)["released"]) == 3


def test_info_shows_the_architecture(c2v, model):
    document = json.loads(c2v("models", "info", "--json").stdout)
    assert document["sha256"] == model.sha256
    assert document["vector_dim"] == model.config.vector_dim


NAMES = ["plain.mp4", "two words.mp4", 'it\'s "so".mp4', "-dash.mp4", "ünï✓.mp4", "a.b.c.mp4"]


def test_bench_measures_this_machine(c2v, videos, tmp_path):
    done = c2v("bench", videos, "--json")
    assert done.returncode == 0, done.stderr
    speed = json.loads(done.stdout)
    assert speed["model"] == "shapes"
    assert speed["videos"] >= 1
    assert all(speed[name] > 0 for name in ("decode", "encode", "embed", "allowed", "query_ms"))
    assert {"float32", "bfloat16", "int8"} == speed["precisions"].keys()
    assert all(one["encode"] > 0 and 0.99 < one["cosine"] <= 1.00001 for one in speed["precisions"].values())
    shown = c2v("bench", videos).stdout
    assert "least cosine to float32" in shown
    assert "of decoding and encoding in turn; a warm query takes" in shown
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    refused = c2v("bench", tmp_path / "broken.mp4")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "none of the 1 videos can be read; name others" in refused.stderr


def test_frames_writes_a_folder_of_jpegs_per_video(c2v, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in NAMES:
        clips.write(tmp_path / "in" / name, count=20, rate=10)
    clips.write(tmp_path / "in" / "sub" / "plain.mp4", count=20, rate=10)
    (tmp_path / "in" / "broken.mp4").write_text("no video")
    done = c2v("frames", "in", "out")
    assert done.returncode == 0, done.stderr
    assert "7 videos written, 0 done before, 1 failed" in done.stdout
    assert "broken.mp4: not a video" in done.stdout
    for folder in [*(name.removesuffix(".mp4") for name in NAMES), "sub/plain"]:
        pictures = sorted(p.name for p in (tmp_path / "out" / folder).glob("*.jpg"))
        assert pictures == [f"{i:08d}.jpg" for i in range(1, len(pictures) + 1)]
        assert len(pictures) == 12
    assert "0 videos written, 7 done before, 1 failed" in c2v("frames", "in", "out").stdout
    assert "7 embedded" in c2v("embed", "out").stdout


def test_frames_takes_a_file_a_policy_and_a_rate(c2v, tmp_path):
    clips.write(tmp_path / "-x.mp4", count=20, rate=10)
    assert c2v("frames", "--policy", "uniform", "--count", "3", "--", "-x.mp4", "out").returncode == 0
    assert len(list((tmp_path / "out" / "-x").glob("*.jpg"))) == 3
    assert c2v("frames", "--policy", "fps", "--fps", "2", "--", "-x.mp4", "out").returncode == 0
    assert len(list((tmp_path / "out" / "-x").glob("*.jpg"))) == 4
    assert c2v("frames", "--policy", "nonsense", "--", "-x.mp4", "out").returncode == 1


def test_frames_leaves_a_folder_that_it_did_not_write(c2v, tmp_path):
    clips.write(tmp_path / "mine.mp4", count=5)
    (tmp_path / "out" / "mine").mkdir(parents=True)
    (tmp_path / "out" / "mine" / "precious.txt").write_text("keep")
    done = c2v("frames", "mine.mp4", "out", "--strict")
    assert done.returncode == 3
    assert "was not written by c2v frames" in done.stdout
    assert (tmp_path / "out" / "mine" / "precious.txt").read_text() == "keep"


def test_extracted_frames_equal_reading_the_video(tmp_path):
    import numpy as np

    from clip2video_plugin import read_frames
    from clip2video_plugin.video.extract import extract_frames

    video = clips.write(tmp_path / "clip.mp4", count=50, rate=25)
    extract_frames([video], tmp_path / "out", policy="uniform", count=6)
    direct, folder = read_frames(video, count=6, size=32), read_frames(tmp_path / "out" / "clip", count=6, size=32)
    np.testing.assert_allclose(direct.timestamps, folder.timestamps)
    assert np.abs(direct.pixels.astype(int) - folder.pixels).mean() < 4
