"""A weight file of any container is read, equal to what was saved, or refused in one line. Nothing in it runs."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.reference import reference_key
from clip2video_plugin.model.weights import read_weights

from ..conftest import SHARED
from .weight_files import CONTAINERS, refused, same, save_legacy, state


@pytest.mark.parametrize("form", CONTAINERS)
@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin.2", "renamed.safetensors", b"n\xffme.pt", "a\nb.pt"])
def test_a_container_is_known_by_its_content_whatever_its_name(tmp_path, form, name):
    save, container = CONTAINERS[form]
    save(state(), tmp_path / "saved")
    path = tmp_path / os.fsdecode(name)
    (tmp_path / "saved").rename(path)
    weights = read_weights(path)
    assert same(weights.tensors, state())
    assert (weights.container, weights.path, weights.dropped) == (container, path, ())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what is mapped")
@pytest.mark.parametrize("form", CONTAINERS)
def test_tensors_are_mapped_and_can_be_read_again_after_their_memory_was_given_back(tmp_path, form):
    big = state() | {"visual.big": torch.randn(1000, 1000)}
    CONTAINERS[form][0](big, tmp_path / "model.pt")
    weights = read_weights(tmp_path / "model.pt")

    def resident():  # of the mapping of this file, in kB
        lines = Path("/proc/self/smaps").read_text().splitlines()
        at = [n for n, line in enumerate(lines) if line.endswith(str(tmp_path / "model.pt"))]
        return sum(int(next(line for line in lines[n:] if line.startswith("Rss")).split()[1]) for n in at)

    assert weights.tensors["visual.big"].sum()
    assert resident() > 3000
    weights.give_back()
    assert resident() < 1000
    assert same(weights.tensors, big)


def test_giving_back_leaves_what_is_no_files(tmp_path):
    small = {"a.w": torch.randn(1000), "b.w": torch.randn(3)}
    save_legacy(small, tmp_path / "model.pt")
    weights = read_weights(tmp_path / "model.pt")
    weights.give_back()
    assert same(weights.tensors, small)


@pytest.mark.parametrize("shift", range(4))
def test_a_legacy_file_is_read_as_torch_reads_it(tmp_path, shift):
    """Wherever the numbers lie, a multiple of their size or not; shared, strided, small and large ones."""
    torch.manual_seed(shift)
    tied = torch.randn(300, 400)
    tensors = {
        "a.w" + "x" * shift: tied,
        "a.again": tied,
        "a.turned": tied[50:250:2].t(),
        "a.small": torch.randn(3),
        "a.parameter": nn.Parameter(torch.randn(90_000)),
        "a.half": torch.randn(100_000).half(),
        "a.double": torch.randn(20_000).double(),
        "a.none": torch.zeros(0, 3),
    }
    unused = {"moments": [torch.randn(50_000), {"step": torch.randn(50_000)}]}
    save_legacy({"optimizer": unused, "state_dict": tensors, "epoch": torch.randn(50_000)}, tmp_path / "model.pt")
    weights = read_weights(tmp_path / "model.pt")
    assert same(weights.tensors, torch.load(tmp_path / "model.pt", weights_only=True)["state_dict"])
    weights.give_back()
    assert same(weights.tensors, tensors)


def test_tensors_that_share_their_numbers_are_read(tmp_path):
    tied = torch.randn(6, 2)
    torch.save({"a.w": tied, "b.w": tied, "c.w": tied[1:3].t()}, tmp_path / "model.pt")
    assert same(read_weights(tmp_path / "model.pt").tensors, {"a.w": tied, "b.w": tied, "c.w": tied[1:3].t()})


def test_a_safetensors_header_of_any_length_is_read(tmp_path):
    for spaces in range(8):  # the numbers need not lie at a multiple of their size
        text = b'{"a.w":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}' + b" " * spaces
        numbers = np.arange(1000, dtype="<f4")
        (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + numbers.tobytes())
        found = read_weights(tmp_path / "model.safetensors").tensors["a.w"]
        assert torch.equal(found, torch.arange(1000.0))


def rewritten(source, target, compression=zipfile.ZIP_STORED, **changes):
    """A zip with members changed by functions of their last name."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            change = changes.get(info.filename.split("/", 1)[1], bytes)
            new.writestr(info.filename, change(old.read(info)))
    return target


def test_a_big_endian_torch_file_holds_the_same_numbers(tmp_path):
    torch.save({"a.w": torch.arange(5.0)}, tmp_path / "little.pt")
    turned = {
        "byteorder": lambda _: b"big",
        "data/0": lambda content: np.frombuffer(content, "<f4").astype(">f4").tobytes(),
    }
    weights = read_weights(rewritten(tmp_path / "little.pt", tmp_path / "big.pt", **turned))
    weights.give_back()
    assert torch.equal(weights.tensors["a.w"], torch.arange(5.0))


def test_checksums_are_compared_where_they_were_written(tmp_path):
    tensors = {"a.w": torch.full((100,), 1.5)}
    torch.save(tensors, tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    number = struct.pack("<f", 1.5)
    (tmp_path / "damaged.pt").write_bytes(content.replace(number, struct.pack("<f", 2.5), 1))
    refused(tmp_path / "damaged.pt", "damaged: Bad CRC")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tensors, tmp_path / "without.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read_weights(tmp_path / "without.pt").tensors, tensors)


def test_a_zip_that_unpacks_to_more_than_its_size_is_refused_before_it_is_unpacked(tmp_path):
    torch.save({"a.w": torch.zeros(1 << 23)}, tmp_path / "model.pt")
    bomb = rewritten(tmp_path / "model.pt", tmp_path / "bomb.pt", zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 17
    refused(bomb, "bomb.pt is refused: it unpacks to far more than its size")
    torch.save({"a.w": torch.zeros(100)}, tmp_path / "model.pt")
    refused(rewritten(tmp_path / "model.pt", tmp_path / "small.pt", zipfile.ZIP_DEFLATED), "is compressed")


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/model.pt", b"")


def write_tar(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("model.pt"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no weight file: it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 605157884\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>", "is a web page, not weights"),
        (b"\n  <html lang='en'>", "is a web page"),
        (b'{"model_type": "clip"}', "is JSON, not weights"),
        (b"\x1f\x8b\x08\0\0\0", "is compressed; unpack it first"),
        (b"GGUF\3\0\0\0", "is a GGUF file"),
        (b"\x89HDF\r\n\x1a\n", "is a HDF5 file"),
        (write_zip, r"is a zip file of other things \(weights/model\.pt\); unpack it"),
        (write_tar, "is a tar file; unpack it first"),
        (pickle.dumps({"w.w": [1.0]}, protocol=2), "is refused: it holds more than tensors, or is damaged"),
        (b"no weights at all", "is no weight file, or damaged: it begins like none"),
        (b"PK\x03\x04broken", "is no weight file, or damaged"),
        (struct.pack("<Q", 2**63) + b"{}", "is no weight file, or damaged"),
        (struct.pack("<Q", 2**40) + b"{}", "is no weight file, or damaged"),
    ],
)
def test_what_is_no_weight_file_is_called_by_its_name(tmp_path, content, words):
    path = tmp_path / "model.bin"
    content(path) if callable(content) else path.write_bytes(content)
    refused(path, words)


def header(**tensors):
    text = json.dumps(
        {key: {"dtype": "F32", "shape": shape, "data_offsets": at} for key, (shape, at) in tensors.items()}
    )
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        header(a=([4], [0, 16]), b=([4], [8, 24])) + bytes(24),  # overlap
        header(a=([4], [0, 16])) + bytes(8),  # cut
        header(a=([4], [0, 16])) + bytes(24),  # too long
        header(a=([4], [8, 24])) + bytes(24),  # a hole
        header(a=([2**40, 2**40], [0, 16])) + bytes(16),
        header(a=([-4], [0, 16])) + bytes(16),
    ],
)
def test_safetensors_that_do_not_fit_are_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    refused(tmp_path / "model.safetensors", "is no weight file, or damaged: ")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_what_is_no_file_of_bytes_is_refused_at_once(tmp_path, make):
    make(tmp_path / "model.safetensors")
    refused(tmp_path, "is no file of bytes")


def test_what_is_not_there_is_named(tmp_path):
    refused(tmp_path / "absent.pt", r"no file .*absent\.pt")
    (tmp_path / "link.pt").symlink_to("absent.pt")
    refused(tmp_path / "link.pt", r"no file .*link\.pt")


@pytest.mark.parametrize("form", ["link", "folder", "pytorch_model.bin", "evil.safetensors", "model.safetensors"])
def test_code_in_an_archive_is_not_run_whatever_it_is_called(c2v, tmp_path, form):
    evil = SHARED / "cases" / "evil.pt"
    if not evil.is_file():
        pytest.skip("no ../shared/cases beside this checkout")
    path = tmp_path / form
    if form == "link":
        path.symlink_to(evil)
    elif form == "folder":
        path.mkdir()
        shutil.copy(evil, path / "model.pt")
    else:
        shutil.copy(evil, path)
    done = c2v("models", "import", path, "--name", "mine")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no code in it was run" in done.stderr
    assert not list(tmp_path.rglob("PWNED"))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A place to write, and what a file of each container holds."""
    folder = tmp_path_factory.mktemp("damaged")
    contents = {}
    for form, (save, _) in CONTAINERS.items():
        save(state(), folder / "model.pt")
        contents[form] = (folder / "model.pt").read_bytes()
    return folder / "model.pt", contents


@pytest.mark.parametrize("form", CONTAINERS)
@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(damaged, form, data):
    path, contents = damaged
    content = bytearray(contents[form])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 16))] = data.draw(st.binary(max_size=16))
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    try:
        numbers = sum(value.sum() for value in read_weights(path).tensors.values())
    except CheckpointError as error:
        numbers = str(error)
    assert torch.is_tensor(numbers) or "\n" not in numbers


IMPORTED = """
import sys
from pathlib import Path
from clip2video_plugin.model.convert import import_checkpoint

def memory(kind):
    return 1024 * int(Path("/proc/self/status").read_text().split(kind + ":")[1].split()[0])

for path in sys.argv[1:]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = memory("VmRSS")
    import_checkpoint(path, name="mine", heads=(8, 1), activation="quick_gelu")
    print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what is mapped, and gives it back")
def test_an_import_takes_no_memory_for_the_numbers_of_a_file(tmp_path, monkeypatch):
    """One of 145 MB takes no more than one that is smaller by half would, whatever the container."""
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "models"))
    sizes = {"image_size": 32, "patch_size": 32, "vision_width": 512, "vision_heads": 8, "vocab_size": 49408}
    sizes |= {"context_length": 77, "text_width": 64, "text_layers": 1, "text_heads": 1, "embed_dim": 64}
    files = []
    for layers, form in ((1, "safetensors"), *((10, form) for form in CONTAINERS)):
        config = ModelConfig(**sizes, vision_layers=layers, temporal="mean", alignment="none", temporal_heads=1)
        network = Clip2Video(config).state_dict()
        files.append(tmp_path / f"{form}-{layers}.pt")
        CONTAINERS[form][0]({reference_key(key).removeprefix("clip."): network[key] for key in network}, files[-1])
    done = subprocess.run([sys.executable, "-c", IMPORTED, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, *grown = map(int, done.stdout.split())  # the first loads what all need
    assert files[-1].stat().st_size > 144e6
    assert max(grown) < 100e6  # 64 of them are read before memory is given back, and a tokenizer takes 30


@pytest.mark.parametrize("form", ["torch zip", "torch legacy"])
def test_a_class_with_an_endless_name_is_refused_at_once(tmp_path, form):
    """torch looks for words in its own message, which holds the name, in time that grows with its square."""
    named = b"\x80\x02c" + b"x" * 5_000_000 + b"\ny\n."
    CONTAINERS[form][0](state(), tmp_path / "model.pt")
    if form == "torch zip":
        rewritten(tmp_path / "model.pt", tmp_path / "long.pt", **{"data.pkl": lambda _: named})
    else:
        content = (tmp_path / "model.pt").read_bytes()
        at = content.index(b"\x80\x02", content.index(b"little_endian"))
        (tmp_path / "long.pt").write_bytes(content[:at] + named + content[at:])
    refused(tmp_path / "long.pt", "holds more than tensors")
