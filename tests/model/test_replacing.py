"""A checkpoint is replaced as a whole or not at all, whenever the process that does it ends."""

import errno
import subprocess
import sys

import pytest

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model import replacing, saving
from clip2video_plugin.model.installed import installed_checkpoints
from clip2video_plugin.model.saving import save_checkpoint

# Saves two models in turn over each other, killed at every file operation that names the folder, one after another.
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from clip2video_plugin import load_model
from clip2video_plugin.model.saving import save_checkpoint

torch.set_num_threads(1)  # threads do not survive a fork
folder = Path(sys.argv[1])
model = load_model(device="cpu", precision="float32")

def files():
    return {file.name: file.read_bytes() for file in folder.iterdir()}

def save(half):
    save_checkpoint(folder, model.network, model.tokenizer, half=half)
    return files()

versions = [save(False), save(True)]
assert versions[0] != versions[1]

def kill_at(number):
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event.startswith(("open", "os.", "shutil.")) and str(folder.parent) in repr(arguments):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)

number, status = 0, 1
while status:
    number += 1
    if not (child := os.fork()):
        kill_at(number)
        save(number % 2 == 0)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert files() in versions, f"killed at {number}"
assert files() == versions[number % 2 == 0]
print(number, sorted(path.name for path in folder.parent.iterdir()))
"""


@pytest.fixture
def saved(tmp_path):
    model = load_model(device="cpu", precision="float32")
    folder = tmp_path / "mine"
    save_checkpoint(folder, model.network, model.tokenizer)
    return folder, model


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_killed_at_any_point_the_old_or_the_new_checkpoint_is_there_and_nothing_stays_beside_it(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "mine"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    number, left = done.stdout.split(" ", 1)
    assert int(number) > 15
    assert left.strip() == "['mine']"


@pytest.mark.parametrize("exchange", [True, False])
def test_what_cannot_be_written_leaves_the_old_one(saved, monkeypatch, exchange):
    folder, model = saved
    before = content(folder)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if exchange:
        monkeypatch.setattr(saving, "write_safetensors", fail)
    else:  # a file system that cannot let two folders change places, and a disk that ends between the two steps
        rename = replacing.Path.rename
        monkeypatch.setattr(replacing, "exchange", lambda *_: False)
        monkeypatch.setattr(
            replacing.Path, "rename", lambda path, to: fail() if path.name == ".mine.new" else rename(path, to)
        )
    with pytest.raises(CheckpointError, match="No space left on device; what was there is kept"):
        save_checkpoint(folder, model.network, model.tokenizer, half=True)
    assert content(folder) == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mine"]


def test_where_folders_cannot_change_places_it_is_replaced_in_two_steps_and_found_again_between_them(
    saved, monkeypatch
):
    folder, model = saved
    monkeypatch.setattr(replacing, "exchange", lambda *_: False)
    save_checkpoint(folder, model.network, model.tokenizer, half=True)
    half = content(folder)
    folder.rename(folder.with_name(".mine.old"))  # killed between the steps
    save_checkpoint(folder, model.network, model.tokenizer)
    assert len(content(folder)["model.safetensors"]) > 1.9 * len(half["model.safetensors"])
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mine"]


def test_what_is_no_checkpoint_is_not_replaced(tmp_path):
    model = load_model(device="cpu", precision="float32")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"mine")
    for place in (photos, photos / "a.jpg"):
        with pytest.raises(CheckpointError, match="is no checkpoint, and is not replaced by one"):
            save_checkpoint(place, model.network, model.tokenizer)
    assert (photos / "a.jpg").read_bytes() == b"mine"


def test_what_a_killed_import_left_is_no_model(saved, monkeypatch):
    folder = saved[0]
    monkeypatch.setenv("C2V_MODELS", str(folder.parent))
    folder.rename(folder.with_name(".mine.new"))
    assert list(installed_checkpoints()) == ["shapes"]
