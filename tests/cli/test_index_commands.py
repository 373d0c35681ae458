"""``c2v index``: documents, exit codes, and never silently."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from clip2video_plugin import embed_videos, open_index
from clip2video_plugin.cli.main import app
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.index import Provenance, VideoIndex, upkeep
from clip2video_plugin.index.tuning import read_tuning, write_tuning
from clip2video_plugin.shapes import caption


@pytest.fixture
def c2v(tmp_path, monkeypatch):
    """Runs the command line in this process, as most of a command's own is its imports."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def indexed(world, model, tmp_path):
    """Three good videos and a broken one, and their index."""
    videos = tmp_path / "videos"
    (videos / "deeper").mkdir(parents=True)
    for i, name in enumerate(["a.mp4", "b.mp4", "deeper/c.mp4"]):
        shutil.copy(world[0] / f"{i:05d}.mp4", videos / name)
    (videos / "broken.mp4").write_text("no video")
    embed_videos(videos, index=tmp_path / "index", model=model)
    return videos


def test_the_life_of_an_index(c2v, indexed, world, model):
    def run(*args, code=0):
        done = c2v("index", *args, "--index", "index")
        assert done.exit_code == code, done.output
        return done

    info = json.loads(run("info", "--json").stdout)
    assert (info["videos"], info["failures"], info["model"]) == (3, 1, "shapes")
    assert (info["sha256"], info["dim"]) == (model.sha256, model.config.vector_dim)
    assert info["bytes"] > 3 * 4 * model.config.vector_dim
    assert {table["name"] for table in info["tables"]} == {"videos", "failures"}
    assert "model shapes" in run("info").stdout
    assert run("check").stdout == "all is right\n"
    (failure,) = json.loads(run("failures", "--json").stdout)
    assert failure["path"] == str(indexed / "broken.mp4")
    assert failure["reason"] in run("failures").stdout

    (indexed / "a.mp4").unlink()
    listed = json.loads(run("list", "--json").stdout)
    assert [(video["path"], video["duration"], video["missing"]) for video in listed] == [
        (str(indexed / "a.mp4"), 3.0, True),
        (str(indexed / "b.mp4"), 3.0, False),
        (str(indexed / "deeper" / "c.mp4"), 3.0, False),
    ]
    assert f"{indexed / 'a.mp4'}  (missing)" in run("list").stdout
    assert run("list", "--missing").stdout.count("\n") == 1
    assert [video["path"] for video in json.loads(run("list", indexed / "deeper", "--json").stdout)] == [
        str(indexed / "deeper" / "c.mp4")
    ]
    checked = json.loads(run("check", "--json", code=1).stdout)
    assert not checked["ok"]
    assert "1 files that are gone" in checked["problems"][0]

    query = caption(world[1][0])
    found = json.loads(c2v("search", query, "--index", "index", "--json").stdout)["hits"]
    assert {hit["path"]: hit["missing"] for hit in found} == {video["path"]: video["missing"] for video in listed}
    assert "(missing)" in c2v("search", query, "--index", "index").stdout.replace("\n", "")
    existing = json.loads(c2v("search", query, "--index", "index", "--existing", "--json").stdout)["hits"]
    assert [hit["missing"] for hit in existing] == [False, False]

    assert f"to remove: {indexed / 'a.mp4'}" in run("prune", "--dry-run").stdout
    assert len(json.loads(run("list", "--json").stdout)) == 3
    assert f"removed: {indexed / 'a.mp4'}" in run("prune").stdout
    assert json.loads(run("prune", "--json").stdout)["videos"] == []

    assert "nothing is indexed at or below" in run("remove", "nowhere", code=1).stderr
    shutil.rmtree(indexed)
    kept = run("prune", code=1)
    assert "--yes" in kept.stderr
    assert len(json.loads(run("list", "--json").stdout)) == 2
    assert json.loads(run("remove", indexed / "deeper", "--json").stdout)["videos"] == [str(indexed / "deeper/c.mp4")]
    gone = run("prune", "--yes").stdout
    assert f"removed: {indexed / 'b.mp4'}" in gone
    assert f"removed: {indexed / 'broken.mp4'} (a noted failure)" in gone
    assert json.loads(run("list", "--json").stdout) == []
    assert open_index(indexed.parent / "index").count() == 0


def test_a_moved_folder_is_told(c2v, indexed):
    indexed.rename(indexed.parent / "moved")
    done = c2v("embed", "moved", "--index", "index")
    assert "0 embedded, 0 unchanged, 1 failed, 3 moved" in done.stdout


@pytest.mark.parametrize("command", ["info", "list", "failures", "prune", "check", "remove"])
def test_each_command_has_examples_and_says_when_there_is_no_index(c2v, command):
    assert f"c2v index {command}" in c2v("index", command, "--help").stdout
    done = c2v("index", command, *(["x"] if command == "remove" else []))
    assert isinstance(done.exception, Clip2VideoError)
    assert "c2v embed PATH" in str(done.exception)


def test_check_says_what_the_vector_index_finds_and_optimize_when_it_finds_too_little(c2v, tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "EXACT_ROWS", 2_000)
    random = np.random.default_rng(1)
    vectors = random.standard_normal((40, 64))[random.integers(0, 40, 4_000)] + random.standard_normal((4_000, 64)) / 4
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    index = VideoIndex.create(tmp_path / "index", 64, Provenance("gone", "0" * 64, "uniform", 12, "0"))
    blank = {"sample_id": None, "start": 0.0, "end": 1.0, "duration": 1.0, "captions": [], "size": 1, "mtime": 1.0}
    index.write([{"id": f"v{n}", "path": __file__, "vector": v, **blank} for n, v in enumerate(vectors)])
    index.finish(lambda: vectors[:64])

    def check(*args, code=0):
        done = c2v("index", "check", "--index", str(tmp_path / "index"), *args)
        assert done.exit_code == code, done.output
        return done.stdout

    said = check()
    assert "4000 rows, asked with 4 bits a number, 1 of 1 lists" in said
    assert all(f"{kind}, w = {w}" in said for kind in ("rows", "sentences") for w in ("0", "0.5", "1"))
    (one,) = json.loads(check("--json"))["recall"]
    assert len(one["recall"]) == 6
    assert min(one["recall"].values()) >= 0.99
    assert c2v("index", "info", "--index", str(tmp_path / "index")).stdout.count("of the 10 best found") == 1

    chosen = read_tuning(index.uri, index._table)
    write_tuning(index.uri, index._table, replace(chosen, refine=1), None)
    document = json.loads(check("--json", code=1))
    assert not document["ok"]
    assert "c2v index optimize" in document["problems"][0]
    assert "c2v index optimize" in check(code=1)
    assert "optimize" not in check("--no-recall")


def test_an_index_is_optimized_carried_elsewhere_and_moved(c2v, indexed, tmp_path):
    def run(*args, index="index", code=0):
        done = c2v("index", *args, "--index", index)
        assert done.exit_code == code, done.output
        return done

    tables = json.loads(run("optimize", "--keep", "0s", "--json").stdout)
    assert {t["name"]: t["after"]["versions"] for t in tables} == {"failures": 1, "videos": 1}
    assert "videos" in run("optimize").stdout
    written = json.loads(run("export", "all", "--relative-to", indexed, "--json").stdout)
    assert written["rows"] == {"videos": 3, "failures": 1}
    assert "choose another name" in str(run("export", "all", code=1).exception)
    assert "3 videos, 1 failure written to" in run("export", "all", "--force", "--relative-to", indexed).stdout
    assert "3 videos, 1 failure read into" in run("import", "all", "--root", "/mnt/films", index="other").stdout
    listed = json.loads(run("list", "--json", index="other").stdout)
    assert [video["path"] for video in listed] == [f"/mnt/films/{name}" for name in ("a.mp4", "b.mp4", "deeper/c.mp4")]
    assert "3 videos and 1 failure to move" in run("move", indexed, tmp_path / "new", "--dry-run").stdout
    indexed.rename(tmp_path / "new")
    moved = json.loads(run("move", indexed, tmp_path / "new", "--json").stdout)
    assert (moved["videos"], moved["absent"]) == (3, 0)
    assert json.loads(run("list", "--missing", "--json").stdout) == []
