"""What reaches the terminal: any text, in a form that it can show and that steers nothing; or one line why not."""

import ast
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import clip2video_plugin.cli
from clip2video_plugin.shapes import caption

from ..conftest import C2V

CLI = Path(clip2video_plugin.cli.__file__).parent
NAMES = [b"caf\xe9.mp4", b"two\nlines\t\x1b[31m.mp4", b"[red]m[bold] :smile:.mp4", "ünï\u2028\u202efdp ✓.mp4".encode()]
SHOWN = [r"caf\xe9.mp4", r"two\nlines\t\x1b[31m.mp4", "[red]m[bold] :smile:.mp4", r"ünï\u2028\u202efdp ✓.mp4"]


@pytest.fixture(scope="module")
def videos(world):
    """A folder of strange names, whose path is short, so that a table does not fold them."""
    folder = tempfile.mkdtemp(prefix="c2v", dir="/tmp")
    for i, name in enumerate(NAMES):
        (Path(folder) / os.fsdecode(name)).write_bytes((world[0] / f"{i:05d}.mp4").read_bytes())
    Path(folder, os.fsdecode(b"broken\x9b\xff\n.mp4")).write_text("no video")
    yield folder
    shutil.rmtree(folder)


def in_shell(command):
    """``c2v`` in a process of its own; exit code, stderr."""
    line = command.replace("c2v ", " ".join(C2V) + " ")
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=120)
    return done.returncode, done.stderr.decode()


@pytest.fixture(scope="module")
def index(c2v_here, videos, tmp_path_factory):
    """The index, and what ``c2v embed`` said."""
    uri = tmp_path_factory.mktemp("index")
    return uri, c2v_here("embed", videos, "--index", uri)


def harmless(text):
    """Decoded, having checked that nothing in it steers a terminal."""
    decoded = text.decode()
    assert not set(decoded) & {chr(code) for code in [*range(10), *range(11, 32), *range(127, 160), 0x2028, 0x202E]}
    return decoded


def test_embed_shows_any_name(index, videos):
    code, out, _ = index[1]
    lines = harmless(out).splitlines()
    assert code == 0
    assert lines[0].startswith("4 embedded, 0 unchanged, 1 failed")
    assert lines[1].startswith(f"  failed: {videos}/broken\\x9b\\xff\\n.mp4: not a video")


def test_search_shows_any_name_in_a_table_and_in_json(c2v_here, index, videos, world):
    query = "[bold]" + caption(world[1][0]) + " :smile: \x1b[2J"
    shown = harmless(c2v_here("search", query, "--index", index[0])[1])
    assert f'"[bold]{caption(world[1][0])} :smile: \\x1b[2J"' in shown
    for name in SHOWN:
        assert f"{videos}/{name}" in shown
    document = json.loads(c2v_here("search", query, "--index", index[0], "--json")[1])
    assert document["query"] == query
    assert {os.fsencode(hit["path"]) for hit in document["hits"]} == {os.fsencode(videos) + b"/" + n for n in NAMES}


def test_frames_shows_any_name(c2v_here, videos, tmp_path):
    code, out, _ = c2v_here("frames", videos, tmp_path / os.fsdecode(b"out\xff"), "--policy", "uniform", "--strict")
    assert code == 3
    assert "4 videos written, 0 done before, 1 failed" in harmless(out)
    assert len(list((tmp_path / os.fsdecode(b"out\xff")).iterdir())) == 4


def test_index_lists_and_removes_any_name(c2v_here, world, tmp_path):
    folder = tmp_path / os.fsdecode(b"fol\xffder's")
    for place in (folder / "sub", tmp_path / "other"):
        place.mkdir(parents=True)
        for i, name in enumerate(NAMES):
            (place / os.fsdecode(name)).write_bytes((world[0] / f"{i:05d}.mp4").read_bytes())
    (folder / os.fsdecode(b"broken\xff\x1b[31m.mp4")).touch()
    where = ("--index", tmp_path / "index")
    assert c2v_here("embed", folder, tmp_path / "other", *where)[0] == 0
    shown = harmless(c2v_here("index", "list", *where)[1])
    assert all(f"{tmp_path}/fol\\xffder's/sub/{name}" in shown for name in SHOWN)
    assert "broken\\xff\\x1b[31m.mp4: the file is empty" in harmless(c2v_here("index", "failures", *where)[1])
    one = tmp_path / "other" / os.fsdecode(NAMES[0])
    one.unlink()
    assert "other/caf\\xe9.mp4" in harmless(c2v_here("index", "list", "--missing", *where)[1])
    assert c2v_here("index", "prune", "--yes", *where)[0] == 0
    assert c2v_here("index", "remove", folder, tmp_path / "other" / os.fsdecode(NAMES[1]), *where)[0] == 0
    left = json.loads(c2v_here("index", "list", "--json", *where)[1])
    assert {os.fsencode(Path(video["path"]).name) for video in left} == {*NAMES[2:]}


@pytest.mark.parametrize(("encoding", "query"), [("ascii", "gr\\xf6\\xdfer \\u2713"), ("latin-1", "größer \\u2713")])
def test_what_the_encoding_of_stdout_lacks_is_escaped(c2v_here, index, encoding, query):
    code, out, err = c2v_here("search", "größer ✓", "--index", index[0], encoding=encoding)
    assert (code, err) == (0, b"")
    assert f'"{query}"' in out.decode(encoding)
    assert c2v_here("models", "list", encoding=encoding)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["search", b"\xff"], 1),
        (["search", "x", "--index", b"\xff\x1b[31m"], 1),
        (["search", "x", "--model", b"\xff\x1b[31m"], 1),
        (["embed", b"nowhere\xff\n\x1b[31m"], 1),
        (["embed", "a" * 300 + ".mp4"], 1),
        (["embed", "/dev/null", "--index", b"in\xff"], 1),
        (["frames", "~nouser.mp4", "out"], 1),
        (["models", "info", b"\xff\x1b]0;title\x07"], 1),
        (["models", "import", b"\xff\x1b[31m"], 1),
        (["train", b"\xff\x1b[31m"], 1),
        (["import", "folder", b"\xff\x1b[31m", "--name", "x"], 1),
        (["import", "folder", "/tmp", "--name", "x", "--annotations", b"\xff\x1b[31m"], 1),
        (["eval", b"\xff\x1b[31m"], 1),
        (["finetune", b"\xff", "--brain-key", "k"], 1),
        (["embed", "-\x1b[31mx.mp4"], 2),
        (["search", "x", "-k", "\x1b[31m"], 2),
        (["\x1b[31m"], 2),
    ],
)
def test_what_was_typed_is_quoted_without_controls(c2v_here, arguments, code, index, monkeypatch):
    monkeypatch.setenv("C2V_INDEX", str(index[0]))
    ended, out, err = c2v_here(*arguments)
    assert (ended, out) == (code, b"")
    harmless(err)
    if code == 1:
        assert err.count(b"\n") == 1
        assert err.startswith(b"c2v: ")


def test_a_tag_that_is_not_text_is_one_line(c2v_here, world):
    import fiftyone as fo

    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=str(world[0] / "00000.mp4")))
    code, _, err = c2v_here("finetune", dataset.name, "--brain-key", "k", "--tag", b"\xff")
    dataset.delete()
    assert (code, err.count(b"\n")) == (1, 1)


def test_a_full_disk_at_stdout_is_one_line_and_the_work_is_kept(videos, tmp_path):
    from clip2video_plugin import open_index

    code, err = in_shell(f"c2v embed {videos} --index {tmp_path}/index --strict >/dev/full")
    assert code == 1
    assert [line for line in err.splitlines() if "generated shapes only" not in line] == [
        "c2v: cannot write to standard output: No space left on device"
    ]
    assert open_index(tmp_path / "index").count() == 4


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("c2v --version >/dev/full", 1, "c2v: cannot write to standard output: No space left on device\n"),
        ("c2v --version >&-", 1, "c2v: cannot write to standard output: Bad file descriptor\n"),
        ("c2v --help >/dev/full", 1, "No space left on device\n"),
        ("c2v --help | true; exit ${PIPESTATUS[0]}", 1, ""),  # as head, which has what it wanted
        ("c2v --version <&-", 0, ""),
        ("c2v --version 2>/dev/full", 0, ""),
        ("c2v --version 2>&-", 0, ""),
        ("c2v frames /nowhere out 2>/dev/full", 1, ""),
        ("c2v frames /nowhere out 2>&-", 1, ""),
    ],
)
def test_streams_that_take_nothing_are_one_line_at_most(command, code, said):
    ended, err = in_shell(command)
    assert ended == code
    assert err.endswith(said)
    assert err.count("\n") == said.count("\n")


def test_all_text_leaves_through_one_place():
    for file in CLI.glob("*.py"):
        if file.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{file.name}:{node.lineno}: say it with terminal.say"
            if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
                assert file.name == "bench.py", f"{file.name}:{node.lineno}: show it with terminal.show"
