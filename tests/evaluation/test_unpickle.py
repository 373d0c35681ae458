"""Arrays come out of pickles as they went in, and nothing in a pickle runs."""

import io
import os
import pickle
import pickletools
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.evaluation.unpickle import convert, read_pickled

MODULE = [sys.executable, "-m", "clip2video_plugin.evaluation.unpickle"]
RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((5, 7))


def pickled(folder, value, protocol=4, name="a.pkl"):
    (folder / name).write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return folder / name


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        MATRIX,
        MATRIX.astype(np.float32).T,
        MATRIX.astype(np.float16),
        MATRIX.astype(">f8"),
        (9 * MATRIX).astype(np.int8),
        np.arange(12, dtype=np.uint64).reshape(2, 3, 2),
        MATRIX > 0,
    ],
    ids=lambda a: f"{a.dtype.str}{a.shape}",
)
def test_an_array_comes_out_as_it_went_in(array, protocol, tmp_path):
    convert(pickled(tmp_path, array, protocol), tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy", allow_pickle=False)
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert os.listdir(tmp_path) in (["a.pkl", "out.npy"], ["out.npy", "a.pkl"])


def test_names_of_numpy_before_and_after_2_are_known(tmp_path):
    now = pickle.dumps(MATRIX, 2)
    assert b"numpy._core.multiarray" in now
    before = now.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    for content in (now, before):
        np.testing.assert_array_equal(read_pickled(pickled(tmp_path, content))[""], MATRIX)


def test_a_pickle_of_python_2_is_read(tmp_path):
    """Its strings are bytes, which protocol 2 of Python 3 writes otherwise."""
    array = np.arange(200, 206, dtype=np.uint8).reshape(2, 3)
    content = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K\x02K\x03tcnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x06\xc8\xc9\xca\xcb\xcc\xcdtb."
    )
    np.testing.assert_array_equal(read_pickled(pickled(tmp_path, content))[""], array)


@pytest.mark.parametrize(
    "value",
    [MATRIX.tolist(), list(MATRIX), [MATRIX[:2], MATRIX[2:4], MATRIX[4:]], [MATRIX[0].tolist(), *MATRIX[1:]]],
    ids=["numbers", "rows", "blocks of rows", "of both"],
)
def test_rows_and_blocks_of_rows_are_one_array(value, tmp_path):
    np.testing.assert_array_equal(read_pickled(pickled(tmp_path, value))[""], MATRIX)


def test_a_npy_file_of_objects_is_read(tmp_path):
    for array in (np.array([*MATRIX, None], dtype=object)[:-1], MATRIX.astype(object)):
        np.save(tmp_path / "o.npy", array)
        np.testing.assert_array_equal(read_pickled(tmp_path / "o.npy")[""], MATRIX)


def test_a_dictionary_keeps_its_names(tmp_path):
    sims = {"sims": MATRIX, "file": MATRIX[0], "R@1": np.float64(45.6), "note": "x", "ids": ["a"], 7: [1, 2]}
    source = pickled(tmp_path, sims)
    convert(source, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as found:
        assert set(found.files) == {"sims", "file", "7"}
        np.testing.assert_array_equal(found["sims"], MATRIX)
    assert list(read_pickled(pickled(tmp_path, (MATRIX, "x", MATRIX)))) == ["0", "2"]
    convert(pickled(tmp_path, sims), tmp_path / "one.npy", key="sims")
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy"), MATRIX)
    with pytest.raises(Clip2VideoError, match=r"has sims \[5, 7\], file \[7\], 7 \[2\]; choose one with --key"):
        convert(source, tmp_path / "two.npy")
    with pytest.raises(Clip2VideoError, match="has no array 'nope'; it has sims"):
        convert(source, tmp_path / "two.npy", key="nope")
    assert not (tmp_path / "two.npy").exists()


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def raw(*codes):
    return b"\x80\x04" + b"".join(codes) + b"."


TOUCH = "touch ran"
ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
HOSTILE = {
    "system": Calls(os.system, TOUCH),
    "system in a dictionary": {"sims": MATRIX, "more": Calls(os.system, TOUCH)},
    "popen": Calls(subprocess.Popen, TOUCH, -1, None, None, None, None, None, True, True),
    "eval": Calls(eval, "open('ran', 'w')"),
    "exec of protocol 0": pickle.dumps(Calls(exec, "open('ran', 'w')"), 0),
    "getattr": raw(
        b"cbuiltins\ngetattr\ncbuiltins\n__import__\nX\x02\x00\x00\x00os\x85RX\x06\x00\x00\x00system\x86R",
        b"X\x09\x00\x00\x00touch ran\x85R",
    ),
    "numpy's own loader": Calls(np.load, "a.pkl", None, True),
    "numpy by a dotted name": raw(b"\x8c\x05numpy\x8c\x0ef2py.os.system\x93", b"X\x09\x00\x00\x00touch ran\x85R"),
    "numpy's f2py": raw(b"cnumpy.f2py.diagnose\nrun_command\nX\x09\x00\x00\x00touch ran\x85R"),
    "an instance of a class": raw(b"(X\x09\x00\x00\x00touch ranios\nsystem\n"),
    "a state for a table": raw(b"}X\x01\x00\x00\x00aK\x01sb"),
    "a state for a name": raw(b"cnumpy\ndtype\n}X\x08\x00\x00\x00__code__NsN\x86b"),
    "an extension": raw(b"\x82\x01"),
    "a persistent name": raw(b"X\x01\x00\x00\x00a", b"Q"),
    "bytes by another codec": raw(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00base64\x86R"),
    "an array of a made up kind": Calls(np.dtype, "V8"),
    "a call of an array": raw(ARRAY, b")R"),
    "a new one of a record": raw(ARRAY, b")\x81"),
    "a list within itself": raw(b"]\x94h\x00a"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_pickle_runs_nothing(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = pickled(tmp_path, HOSTILE[case])
    with pytest.raises(Clip2VideoError) as refused:
        convert(source, tmp_path / "out.npz")
    assert "\n" not in str(refused.value)
    assert not Path("ran").exists()
    assert not Path("out.npz").exists()


@pytest.mark.parametrize("case", ["system", "eval", "exec of protocol 0", "getattr", "an instance of a class"])
def test_the_hostile_pickles_are_hostile(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickled(tmp_path, HOSTILE[case]).read_bytes())
    assert Path("ran").exists()


def test_every_name_but_those_of_arrays_is_refused_by_name(tmp_path):
    with pytest.raises(Clip2VideoError, match=r"a\.pkl is refused: it names posix\.system, .*; nothing in it was run"):
        read_pickled(pickled(tmp_path, HOSTILE["system"]))


@pytest.mark.parametrize("shape", ["(K\x09K\x09t", "(K\x02K\x02t", "(J\xff\xff\xff\xffK\x09t"])
def test_an_array_that_claims_other_bytes_than_it_has_is_refused(shape, tmp_path):
    content = pickle.dumps(MATRIX, 2)
    content = content.replace(b"K\x05K\x07\x86", shape.encode("latin1"))
    pickletools.dis(content, out=io.StringIO())  # a pickle still
    with pytest.raises(Clip2VideoError, match="damaged"):
        read_pickled(pickled(tmp_path, content))


def test_any_cut_of_a_pickle_is_refused(tmp_path):
    for protocol in (0, 2, 5):
        content = pickle.dumps({"sims": MATRIX}, protocol)
        for length in range(0, len(content), 7):
            with pytest.raises(Clip2VideoError, match=r"damaged|refused"):
                read_pickled(pickled(tmp_path, content[:length]))


def test_random_changes_of_a_pickle_are_refused_or_give_an_array(tmp_path):
    content, rng = bytearray(pickle.dumps({"sims": MATRIX, "more": [MATRIX]}, 4)), np.random.default_rng(1)
    for _ in range(1000):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            changed[place] = rng.integers(256)
        found = {}
        with suppress(Clip2VideoError):
            found = read_pickled(pickled(tmp_path, bytes(changed)))
        assert all(isinstance(array, np.ndarray) and array.dtype.kind in "fiub" for array in found.values())


@pytest.mark.parametrize(
    "value", ["text", {}, [], [[1], "a"], [True], np.array(["a"]), np.eye(2) * 1j, [2**70], {"a": None}], ids=str
)
def test_what_holds_no_numbers_is_named(value, tmp_path):
    with pytest.raises(Clip2VideoError, match="holds no array of real numbers"):
        read_pickled(pickled(tmp_path, value))


def test_the_command_writes_once_and_says_what(tmp_path):
    pickled(tmp_path, MATRIX, name="my sims.pkl")

    def run(*arguments):
        return subprocess.run([*MODULE, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60)

    done = run("my sims.pkl", "sims.npy")
    assert (done.returncode, done.stdout, done.stderr) == (0, "sims.npy: 5 x 7, float64\n", "")
    for arguments, words in (
        (("my sims.pkl", "sims.npy"), "sims.npy exists; name a new file"),
        (("my sims.pkl", "sims.txt"), "must end in .npy"),
        (("my sims.pkl", "no/where.npy"), "no/where.npy cannot be written: No such file or directory"),
        (("nowhere.pkl", "b.npy"), "nowhere.pkl is not there"),
        ((".", "b.npy"), ". is no file"),
        (("sims.npy", "b.npy"), "sims.npy is refused: it is an array already"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my sims.pkl", "sims.npy"]
