"""The hash of large weights is computed once; whatever lies beside them, a model never has another's."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.checkpoint import describe_checkpoint
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.model.tokenizer import train_tokenizer

WORDS = train_tokenizer(["a dog runs", "a cat sleeps"], 600)
MEMO = "model.safetensors.json"
CONFIG = ModelConfig(
    image_size=32,
    patch_size=16,
    vision_width=64,
    vision_layers=1,
    vision_heads=1,
    vision_mlp_width=65_536,  # 34 MB
    vocab_size=WORDS.get_vocab_size(),
    context_length=77,
    text_width=64,
    text_layers=1,
    text_heads=1,
    embed_dim=32,
    temporal="mean",
    alignment="none",
)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return [Clip2Video(CONFIG) for _ in range(2)]


@pytest.fixture
def large(tmp_path, networks):
    save_checkpoint(tmp_path / "large", networks[0], WORDS)
    return tmp_path / "large"


def memo(folder):
    return json.loads((folder / MEMO).read_text())


def truth(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def loaded(folder):
    return load_model(folder, device="cpu", text_only=True)


def other_numbers(path):
    """Other weights, in place, of the same size and time."""
    was = path.stat()
    with path.open("r+b") as file:
        file.seek(-400, os.SEEK_END)
        file.write(bytes(400))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (was.st_size, was.st_mtime_ns)


def swap_words(path):
    """Another vocabulary, of the same size and time."""
    was, content = path.stat(), path.read_bytes()
    one, other = b'"dog</w>":', b'"cat</w>":'
    path.write_bytes(content.replace(one, b"\0").replace(other, one).replace(b"\0", other))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert path.stat().st_size == was.st_size


def test_what_is_saved_is_remembered(large):
    found, file = memo(large), (large / "model.safetensors").stat()
    assert found["sha256"] == truth(large)
    assert (found["size"], found["mtime_ns"], found["ctime_ns"]) == (file.st_size, file.st_mtime_ns, file.st_ctime_ns)
    model = loaded(large)
    assert (model.sha256, model.vocabulary) == (found["sha256"], found["vocabulary"])
    (large / MEMO).unlink()
    again = loaded(large)
    assert (again.sha256, again.vocabulary) == (model.sha256, model.vocabulary)
    assert memo(large) == found
    assert {path.name for path in large.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors", MEMO}


def test_what_is_remembered_is_not_computed_again(large):
    (large / MEMO).write_text(json.dumps(memo(large) | {"sha256": "5" * 64, "vocabulary": "7" * 16}))
    model = loaded(large)
    assert (model.sha256, model.vocabulary) == ("5" * 64, "7" * 16)
    assert load_model(large, device="cpu").sha256 == describe_checkpoint(large).sha256 == "5" * 64


def test_small_weights_need_no_memo(tmp_path):
    model = load_model(device="cpu", precision="float32")
    sha256 = save_checkpoint(tmp_path / "small", model.network, model.tokenizer)
    assert loaded(tmp_path / "small").sha256 == sha256
    assert not (tmp_path / "small" / MEMO).exists()


GARBAGE = [b"", b"\xff\xfe", b"{", b"7", b"[]", b"[" * 100_000, b"null"]


@pytest.mark.parametrize("content", GARBAGE)
def test_a_garbage_memo_is_passed_over_and_mended(large, content):
    found = memo(large)
    (large / MEMO).write_bytes(content)
    assert loaded(large).sha256 == truth(large)
    assert memo(large) == found


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "5" * 63},
        {"sha256": None},
        {"sha256": ["5" * 64]},
        {"sha256": "5" * 64 + "\n"},
        {"sha256": "5" * 64, "size": 7},
        {"sha256": "5" * 64, "mtime_ns": 7},
        {"sha256": "5" * 64, "ctime_ns": None},
        {"vocabulary": "x"},
        {"vocabulary": "7" * 16, "tokenizer": None},
        {"vocabulary": "7" * 16, "tokenizer": {"size": 7}},
    ],
)
def test_a_memo_that_does_not_fit_is_passed_over_and_mended(large, change):
    found, words = memo(large), loaded(large).vocabulary
    (large / MEMO).write_text(json.dumps(found | change))
    model = loaded(large)
    assert (model.sha256, model.vocabulary) == (truth(large), words)
    assert memo(large) == found


@pytest.mark.parametrize("text_only", [True, False])
def test_weights_swapped_under_the_memo_have_their_own_hash(large, text_only):
    old = memo(large)["sha256"]
    time.sleep(0.02)  # a tick of the file system's clock
    other_numbers(large / "model.safetensors")
    new = load_model(large, device="cpu", text_only=text_only).sha256
    assert new == truth(large) != old
    assert memo(large)["sha256"] == new


def test_words_swapped_under_the_memo_are_others(large):
    before = loaded(large)
    time.sleep(0.02)
    swap_words(large / "tokenizer.json")
    after = loaded(large)
    assert after.sha256 == before.sha256
    assert after.vocabulary != before.vocabulary
    assert memo(large)["vocabulary"] == after.vocabulary


def test_a_copied_folder_has_its_own_memo(large, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(large, copy)  # with the times of the original, as cp -a
    (copy / MEMO).write_text(json.dumps(memo(large) | {"sha256": "5" * 64}))
    assert loaded(copy).sha256 == truth(large)
    assert memo(copy)["ctime_ns"] != memo(large)["ctime_ns"]


def test_a_checkpoint_saved_over_another_is_remembered_anew(large, networks):
    old = memo(large)
    sha256 = save_checkpoint(large, networks[1], WORDS)
    assert memo(large)["sha256"] == sha256 == truth(large) != old["sha256"]
    assert loaded(large).sha256 == sha256


def test_a_read_only_folder_is_read(large, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="c2v-read-only-") as place:
        copy = Path(place) / "copy"
        monkeypatch.setenv("C2V_MODELS", place)
        shutil.copytree(large, copy)
        (copy / MEMO).unlink()
        Path(place).chmod(0o755)
        copy.chmod(0o555)
        root = os.geteuid() == 0
        try:
            if root:  # who may write anywhere
                os.seteuid(65534)
            with pytest.raises(PermissionError):
                (copy / MEMO).touch()
            assert loaded(copy).sha256 == truth(copy)
        finally:
            if root:
                os.seteuid(0)
            copy.chmod(0o755)
        assert {path.name for path in copy.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}


def test_what_cannot_take_the_memos_place_leaves_nothing_behind(large):
    (large / MEMO).unlink()
    (large / MEMO).mkdir()
    assert loaded(large).sha256 == truth(large)
    assert {path.name for path in large.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors", MEMO}


def test_whoever_reads_a_memo_reads_it_whole(large):
    stale = json.dumps(memo(large) | {"size": 7})
    (large / MEMO).write_text(stale)
    with (large / MEMO).open() as reading:
        assert loaded(large).sha256 == truth(large)
        assert reading.read() == stale
    assert memo(large)["size"] == (large / "model.safetensors").stat().st_size


def test_loads_at_once_leave_one_memo(large):
    found = memo(large)
    (large / MEMO).unlink()
    with ThreadPoolExecutor(4) as pool:
        hashes = list(pool.map(lambda _: loaded(large).sha256, range(4)))
    assert hashes == [truth(large)] * 4
    assert memo(large) == found
    assert len(list(large.iterdir())) == 4
