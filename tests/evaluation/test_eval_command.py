"""``c2v eval`` of files: what it prints, how it ends, what it loads; and the commands of docs/evaluation.md."""

import json
import pickle
import re
import shlex
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from ..conftest import ROOT

DOC = (ROOT / "docs" / "evaluation.md").read_text()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """1,000 captions and videos of 1k-A's size: vectors, and their scores."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    videos = rng.standard_normal((1000, 64), dtype=np.float32)
    texts = videos + 1.5 * rng.standard_normal((1000, 64), dtype=np.float32)
    texts, videos = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (texts, videos))
    np.save(folder / "t.npy", texts)
    np.save(folder / "v.npy", videos)
    np.save(folder / "s.npy", texts @ videos.T)
    return folder


def recall(scores):
    """R@1 in percent of a square matrix, each way."""
    right = np.arange(len(scores))
    return {"t2v": 100 * (scores.argmax(axis=1) == right).mean(), "v2t": 100 * (scores.argmax(axis=0) == right).mean()}


def test_scores_and_vectors_print_the_same_table_beside_the_published_row(c2v_here, files):
    expected = recall(np.load(files / "s.npy"))
    for given in (
        ["--scores", files / "s.npy"],
        ["--text-vectors", files / "t.npy", "--video-vectors", files / "v.npy"],
    ):
        code, out, err = c2v_here("eval", *given, "--protocol", "1k-a")
        assert (code, err) == (0, b"")
        lines = [line.split() for line in out.decode().splitlines()]
        rows = [line for line in lines if line and line[0] in ("s.npy", "v.npy")]
        assert [row[-7:][0] for row in rows] == [f"{expected[way]:.1f}" for way in ("t2v", "v2t")]
        low, high = map(float, rows[0][-6].split("-"))
        assert low < expected["t2v"] < high
        assert [line[2] for line in lines if line[:2] == ["CLIP2Video,", "published"]] == ["45.6", "43.5"]


def test_json_and_markdown(c2v_here, files):
    code, out, _ = c2v_here("eval", "--scores", files / "s.npy", "--protocol", "7k", "--ties", "reference", "--json")
    (document,) = json.loads(out)
    assert code == 0
    assert document["t2v"]["R@1"] == pytest.approx(recall(np.load(files / "s.npy"))["t2v"])
    assert (document["protocol"], document["ties"], document["model"]) == ("7k", "reference", None)
    assert (document["captions"], document["videos"], document["published"]["t2v"][0]) == (1000, 1000, 45.6)
    assert set(document["intervals"]["v2t"]) == {"R@1", "R@5", "R@10"}
    code, out, _ = c2v_here("eval", "--scores", files / "s.npy", "--protocol", "1k-a", "--markdown")
    lines = out.decode().splitlines()
    assert lines[0] == "| direction | name | R@1 | R@5 | R@10 | MdR | MnR | n |"
    assert len(lines) == 6
    assert len({line.count("|") for line in lines}) == 1


def test_another_size_than_the_protocols_exits_with_4_unless_allowed(c2v_here, files):
    code, out, err = c2v_here("eval", "--scores", files / "s.npy", "--protocol", "msvd")
    assert (code, out) == (4, b"")
    assert err.startswith(b"c2v: 1000 of 670 videos: not comparable")
    code, out, err = c2v_here("eval", "--scores", files / "s.npy", "--protocol", "msvd", "--allow-incomplete")
    assert (code, err) == (0, b"")
    assert b"s.npy: 1000 of 670 videos: not comparable" in out
    assert c2v_here("eval", "--scores", files / "s.npy", "--protocol", "full")[0] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--scores s.npy --text-vectors t.npy", "--scores and vectors are two evaluations; give one"),
        ("--text-vectors t.npy", "give both --text-vectors and --video-vectors"),
        ("--caption-video s.npy", "give these too"),
        ("--transposed", "give these too"),
        ("--text-vectors t.npy --video-vectors v.npy --transposed", "--transposed is for --scores"),
        ("my-dataset --scores s.npy", "leave out the dataset"),
        ("--scores s.npy --brain-key a --weight 0", "leave out --brain-key and --weight"),
        ("--scores s.npy --compare a b", "leave out --compare"),
        ("--scores s.npy --tag a --captions b", "leave out --tag and --captions"),
        ("--scores s.npy --protocol 1k", "protocol is '1k'; there are 1k-a,"),
        ("--scores s.npy --ties fair", "ties is 'fair'"),
        ("--scores t.npy", "1000 captions and 64 videos; say which video each caption is of: --caption-video"),
        ("--scores s.npy --caption-video v.npy", "caption_video holds float32 of shape (1000, 64)"),
        ("--scores nowhere.npy", "nowhere.npy is not there"),
        ("--scores nowhere\x1b[31m.npy", "nowhere\\x1b[31m.npy is not there"),
    ],
)
def test_what_cannot_be_evaluated_ends_in_one_line(c2v_here, files, arguments, words, monkeypatch):
    monkeypatch.chdir(files)
    code, out, err = c2v_here("eval", *arguments.split())
    assert (code, out) == (1, b"")
    assert words in err.decode()
    assert err.count(b"\n") == 1


def test_files_are_evaluated_without_fiftyone_and_torch(files):
    code = (
        "import atexit, sys\n"
        "heavy = {'torch', 'fiftyone', 'lancedb', 'av', 'decord', 'mongoengine'}\n"
        "atexit.register(lambda: print('loaded:', sorted(heavy & set(sys.modules)), 'numpy' in sys.modules))\n"
        "sys.argv = ['c2v', 'eval', *sys.argv[1:]]\n"
        "from clip2video_plugin.cli.main import main\n"
        "main()\n"
    )
    for given in (["--scores", "s.npy"], ["--text-vectors", "t.npy", "--video-vectors", "v.npy"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *given, "--protocol", "1k-a"],
            capture_output=True,
            text=True,
            cwd=files,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "loaded: [] True"


def commands(heading):
    """The commands of a section of the document, without comments; a block in four spaces."""
    (section,) = [part for part in re.split("^#+ ", DOC, flags=re.MULTILINE) if part.startswith(heading)]
    lines = [line[4:].split(" # ")[0].strip() for line in section.splitlines() if line.startswith("    ")]
    return [shlex.split(line) for line in lines if re.match("(c2v|python|tar|curl|mkdir) ", line)]


def run_documented(command, folder):
    if command[0] == "c2v":
        command = [sys.executable, "-m", "clip2video_plugin.cli", *command[1:]]
    if command[0] == "python":
        command = [sys.executable, *command[1:]]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


@pytest.fixture
def stand_ins(files, tmp_path):
    """Files of the names and forms that the document speaks of, with numbers of our own."""
    texts, videos, scores = (np.load(files / f"{name}.npy") for name in "tvs")
    (tmp_path / "TEST.pkl").write_bytes(pickle.dumps(scores, 3))
    with tarfile.open(tmp_path / "msrvtt-1ka-clip2video-sims.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "TEST.pkl", "TEST.pkl")
    (tmp_path / "TEST.pkl").unlink()
    for kind, vectors in (("textual", texts), ("visual", videos)):
        np.save(tmp_path / f"MSRVTT_test_{kind}_vectors_Cl4Cl_msrvtt9k.npy", vectors)
    np.save(tmp_path / "captions.npy", texts)
    np.save(tmp_path / "videos.npy", videos)
    np.save(tmp_path / "column.npy", np.arange(1000))
    (tmp_path / "sims.pkl").write_bytes(pickle.dumps(scores))
    (tmp_path / "several.pkl").write_bytes(pickle.dumps({"scores": scores, "captions": texts}))
    return tmp_path


def test_the_commands_of_the_document_run_as_they_stand(stand_ins, files):
    sections = ("Pickles", "Evaluate scores or vectors in files", "45.6", "43.4")
    everything = [command for heading in sections for command in commands(heading)]
    assert [command[0] for command in everything].count("curl") == 3
    expected = f"{recall(np.load(files / 's.npy'))['t2v']:.1f}"
    for command in everything:
        if command[0] == "curl" or "msvd.npz" in command:  # the one needs the internet, the other is tested below
            continue
        done = run_documented(command, stand_ins)
        assert done.returncode == 0, (command, done.stderr)
        if command[0] == "c2v":
            assert expected in done.stdout, command
        if "clip2video.npy" in command and command[0] == "python":
            assert "1000 x 1000" in done.stdout


def test_a_matrix_whose_rows_are_videos_shows_in_the_other_direction(files, c2v_here, tmp_path):
    """As the document says how to see it."""
    scores = np.load(files / "s.npy")
    np.save(tmp_path / "turned.npy", scores.T)
    turned, right = (
        json.loads(c2v_here("eval", "--scores", tmp_path / "turned.npy", "--json", *more)[1])[0]
        for more in ([], ["--transposed"])
    )
    assert turned["v2t"]["R@1"] == right["t2v"]["R@1"] == pytest.approx(recall(scores)["t2v"])
    assert turned["t2v"]["R@1"] != right["t2v"]["R@1"]  # or there would be nothing to see


def test_padded_captions_are_left_out_as_the_document_shows(stand_ins, monkeypatch):
    rng, counts = np.random.default_rng(0), np.array([3, 1, 2, 5, 4])
    scores, mask = rng.standard_normal((25, 5)), np.arange(5) < counts[:, None]
    np.save(stand_ins / "sims.npy", np.where(mask.reshape(-1, 1), scores, 1e8))
    np.save(stand_ins / "mask.npy", mask.astype(np.int64))
    monkeypatch.chdir(stand_ins)
    (code,) = [box for box in re.findall("```python\n(.*?)```", DOC, re.DOTALL) if "msvd.npz" in box]
    exec(code, {})
    (command,) = [command for command in commands("45.6") if "msvd.npz" in command]
    assert run_documented(command, stand_ins).returncode == 4  # five videos are not MSVD's
    found = json.loads(run_documented([*command, "--allow-incomplete", "--json"], stand_ins).stdout)[0]
    column = np.repeat(np.arange(5), counts)
    kept = scores[mask.reshape(-1)]
    assert found["captions"] == 15
    assert found["t2v"]["R@1"] == pytest.approx(100 * (kept.argmax(axis=1) == column).mean())
