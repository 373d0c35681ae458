"""Weight files of every form are read, equal to what was saved, or refused in one line. Nothing in them runs."""

import argparse
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
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.reference import reference_key
from clip2video_plugin.model.weights import read_weights

from ..conftest import SHARED


def state(seed=0):
    torch.manual_seed(seed)
    return {
        "visual.conv1.weight": torch.randn(4, 3, 2, 2),
        "visual.proj": torch.randn(4, 3).bfloat16(),
        "ln_final.weight": torch.randn(3).half(),
        "positional_embedding": torch.randn(5, 3).double(),
        "logit_scale": torch.tensor(4.6),
    }


def save_zip(tensors, path):
    torch.save(tensors, path)


def save_legacy(tensors, path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def save_torchscript(tensors, path):
    root = nn.Module()
    for key, value in tensors.items():
        module, *parts = root, *key.split(".")
        for part in parts[:-1]:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_buffer(parts[-1], value)
    torch.jit.save(torch.jit.script(root), str(path))


def save_safetensors(tensors, path):
    safetensors.torch.save_file(tensors, path)


CONTAINERS = {
    "torch zip": (save_zip, "torch"),
    "torch legacy": (save_legacy, "torch"),
    "TorchScript": (save_torchscript, "torchscript"),
    "safetensors": (save_safetensors, "safetensors"),
}


def same(found, expected):
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key
    return True


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as error:
        read_weights(path)
    assert "\n" not in str(error.value)
    return True


# Containers


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


# Trainers' files


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "module", "ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module.module."])
def test_wrappers_and_prefixes_are_peeled_off(tmp_path, save, wrapper, prefix):
    save({wrapper: {prefix + key: value for key, value in state().items()}}, tmp_path / "model.pt")
    weights = read_weights(tmp_path / "model.pt")
    assert same(weights.tensors, state())
    assert weights.dropped == ()


def test_wrappers_within_wrappers_are_peeled_off_and_what_trainers_add_is_named(tmp_path):
    parameter = nn.Parameter(torch.randn(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    extras = {
        "epoch": 3,
        "name": "ViT-B-32",
        "optimizer": optimizer.state_dict(),
        "scheduler": {"last_epoch": 3, "base_lrs": [1e-3]},
        "scaler": {"scale": 65536.0},
        "best": torch.tensor(0.3),
        "args": {"lr": 1e-3, "betas": (0.9, 0.98), "resume": None, "distributed": True},
    }
    inner = {"model": {"module." + key: value for key, value in state().items()}, "step": 12, "ema": {"decay": 0.99}}
    torch.save({"state_dict": inner} | extras, tmp_path / "epoch_3.pt")
    weights = read_weights(tmp_path / "epoch_3.pt")
    assert same(weights.tensors, state())
    assert weights.dropped == (*extras, "step", "ema")


def test_a_wrapper_that_holds_nothing_is_passed_over(tmp_path):
    torch.save({"model": {}, "ema": state()}, tmp_path / "model.pt")
    assert same(read_weights(tmp_path / "model.pt").tensors, state())


def test_plain_values_among_tensors_are_dropped_and_named(tmp_path):
    torch.save(state() | {"epoch": 3, "config": {"width": 4}}, tmp_path / "model.pt")
    weights = read_weights(tmp_path / "model.pt")
    assert same(weights.tensors, state())
    assert weights.dropped == ("epoch", "config")


def test_a_prefix_that_not_all_names_have_belongs_to_the_name(tmp_path):
    mixed = {"model.a": torch.ones(1), "logit_scale": torch.ones(1)}
    torch.save(mixed, tmp_path / "model.pt")
    assert same(read_weights(tmp_path / "model.pt").tensors, mixed)


def test_parts_that_were_compiled_have_their_usual_names(tmp_path):
    torch.save({"visual._orig_mod.proj": torch.ones(1), "logit_scale": torch.ones(1)}, tmp_path / "model.pt")
    assert sorted(read_weights(tmp_path / "model.pt").tensors) == ["logit_scale", "visual.proj"]


def test_two_tensors_of_one_name_are_refused(tmp_path):
    torch.save({"visual._orig_mod.proj": torch.ones(1), "visual.proj": torch.zeros(1)}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", r"visual\._orig_mod\.proj and visual\.proj are both visual\.proj")


def test_counts_are_no_weights_and_clips_own_numbers_stay(tmp_path):
    clip = {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77), "vocab_size": torch.tensor(9)}
    counts = {"text_model.embeddings.position_ids": torch.arange(5), "visual.bn1.num_batches_tracked": torch.tensor(7)}
    torch.save(state() | clip | counts, tmp_path / "model.pt")
    weights = read_weights(tmp_path / "model.pt")
    assert same(weights.tensors, state() | clip)
    assert weights.dropped == ("num_batches_tracked", "position_ids")
    averaged = {"module." + key: value for key, value in state().items()} | {"n_averaged": torch.tensor(3)}
    torch.save(averaged, tmp_path / "averaged.pt")
    assert same(read_weights(tmp_path / "averaged.pt").tensors, state())


def expanded():
    return torch.ones(1).expand(1000)


def negated():
    return torch.imag(torch.ones(3, dtype=torch.complex64).conj())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.ones(3, dtype=torch.long), r"w\.w holds torch\.int64; weights are floating numbers"),
        (lambda: torch.ones(3, dtype=torch.int8), r"w\.w holds torch\.int8; weights are .*, not quantised ones"),
        (lambda: torch.ones(3, dtype=torch.bool), r"w\.w holds torch\.bool; weights are"),
        (lambda: torch.ones(3).to(torch.float8_e4m3fn), r"w\.w holds torch\.float8_e4m3fn; weights are"),
        (lambda: torch.ones(3, dtype=torch.complex64), r"w\.w holds torch\.complex64; weights are"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), r"w\.w holds torch\.qint8; weights"),
        (lambda: torch.eye(3).to_sparse(), r"w\.w is no plain tensor with numbers \(torch\.sparse_coo on cpu\)"),
        (lambda: torch.eye(3).to_sparse_csr(), r"w\.w is no plain tensor with numbers \(torch\.sparse_csr on cpu\)"),
        (lambda: torch.ones(3, device="meta"), r"w\.w is no plain tensor with numbers \(torch\.strided on meta\)"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), r"w\.w is no plain tensor"),
        (negated, r"w\.w is no plain tensor"),
        (expanded, r"w\.w of shape \[1000\] has fewer numbers than that"),
    ],
)
def test_what_is_no_plain_tensor_of_floating_numbers_is_refused(tmp_path, make, words):
    torch.save(state() | {"w.w": make()}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", words)


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (argparse.Namespace(lr=1), r"\(argparse\.Namespace\)"),
        (np.float64(0.3), r"\(numpy\.\S+\)"),
        (nn.Linear(2, 2), r"\(torch\.nn\.modules\.linear\.Linear\)"),
    ],
)
def test_more_than_tensors_is_refused_and_how_to_make_a_file_of_the_weights_is_said(tmp_path, save, extra, named):
    save({"state_dict": state(), "args": extra}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", f"is refused: it holds more than tensors {named}, and loading it could run code")
    advice = r"make a file .*: (torch\.save\(torch\.load\('model\.pt', weights_only=False\)\['state_dict'\], '(.*)'\))$"
    with pytest.raises(CheckpointError, match=advice) as error:
        read_weights(tmp_path / "model.pt")
    command = str(error.value).rsplit("made: ", 1)[1]
    exec(command.replace("'model.pt'", f"{str(tmp_path / 'model.pt')!r}").replace("'weights", f"'{tmp_path}/weights"))
    assert same(read_weights(tmp_path / "weights.pt").tensors, state())


def itself():
    wrapped = {}
    wrapped["state_dict"] = wrapped
    return wrapped


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.ones(2)], "holds no state dict of tensors: it holds a list"),
        (torch.ones(2), "holds no state dict of tensors: it holds a Tensor"),
        ({}, "holds no state dict of tensors$"),
        ({"epoch": 3, "lr": 0.1}, "holds no state dict of tensors; it holds epoch, lr"),
        ({"visual": {"proj": torch.ones(2)}}, "holds no state dict of tensors; it holds visual"),
        ({3: torch.ones(2)}, "holds no state dict of tensors: it holds a dict"),
        (itself(), "wrapped more than 8 deep"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_holds(tmp_path, content, words):
    torch.save(content, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", words)


# What is no weight file


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


# Folders

HUGGING_FACE = {"model_type": "clip", "hidden_act": "gelu"}
OPEN_CLIP = {"model_cfg": {"embed_dim": 4}, "preprocess_cfg": {}}


def value(path):
    return read_weights(path).tensors["w.w"].item()


def put(folder, name, number):
    save = save_safetensors if name.endswith("safetensors") else save_zip
    save({"w.w": torch.tensor(float(number))}, folder / name)


def put_sharded(folder, name, number):
    first, last = (name.replace(".", f"-0000{n}-of-00002.", 1) for n in (1, 2))
    save = save_safetensors if name.endswith("safetensors") else save_zip
    save({"w.w": torch.tensor(float(number))}, folder / first)
    save({"v.w": torch.tensor(-1.0)}, folder / last)
    index = {"metadata": {"total_size": 8}, "weight_map": {"w.w": first, "v.w": last}}
    (folder / f"{name}.index.json").write_text(json.dumps(index))


def test_of_several_files_in_a_folder_the_first_of_a_fixed_order_is_read(tmp_path):
    order = (
        (put, "epoch_3.pt"),
        (put, "open_clip_pytorch_model.bin"),
        (put_sharded, "pytorch_model.bin"),
        (put, "pytorch_model.bin"),
        (put, "open_clip_model.safetensors"),
        (put_sharded, "model.safetensors"),
        (put, "model.safetensors"),
    )
    for number, (write, name) in enumerate(order):
        write(tmp_path, name, number)
        assert value(tmp_path) == number
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert value(link) == 6


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.ckpt", "a.bin", "pytorch_model.bin.2", "a.safetensors"])
def test_the_only_weight_file_of_a_folder_is_read(tmp_path, name):
    put(tmp_path, name, 1)
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / ".a.pt").write_text("x")
    assert value(tmp_path) == 1


def test_a_folder_of_several_or_no_weights_says_so(tmp_path):
    refused(tmp_path, "holds no weight file; expected model.safetensors, ")
    put(tmp_path, "b.pt", 1)
    put(tmp_path, "a.bin", 2)
    refused(tmp_path, r"holds a\.bin, b\.pt; name the one that is meant")
    assert value(tmp_path / "b.pt") == 1


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_shards_are_read_together_by_folder_or_index_and_not_one_by_one(tmp_path, name):
    put_sharded(tmp_path, name, 3)
    for path in (tmp_path, tmp_path / f"{name}.index.json"):
        assert same(read_weights(path).tensors, {"w.w": torch.tensor(3.0), "v.w": torch.tensor(-1.0)})
    shard = tmp_path / name.replace(".", "-00001-of-00002.", 1)
    refused(shard, rf"is a part of several; name the folder, or {name}\.index\.json")
    (tmp_path / f"{name}.index.json").unlink()
    refused(tmp_path, rf"holds parts of a whole, but no {name}\.index\.json")
    alone = shard.rename(tmp_path / name.replace(".", "-00001-of-00001.", 1))
    assert same(read_weights(alone).tensors, {"w.w": torch.tensor(3.0)})


@pytest.mark.parametrize(
    "place", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", "a\0b", "\ud800"]
)
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path, place):
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    put(tmp_path, "x.safetensors", 1)
    put(folder / "a", "b.safetensors", 1)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w.w": place}}))
    refused(folder, "is refused: it names .*, which is not in its folder")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "index.json cannot be read"),
        (b"[]", "index.json cannot be read: it holds a list; expected an object"),
        (b"[" * 100000, "index.json cannot be read"),
        (b"{}", "is no index of weights"),
        (b'{"weight_map": {}}', "is no index of weights"),
        (b'{"weight_map": {"w.w": 3}}', "is no index of weights"),
        (b'{"weight_map": {"w.w": "a.bin", "v": "b.bin", "u": "c.bin"}}', "files that are missing: b.bin, c.bin"),
        (b'{"weight_map": {"w.w": "a.bin", "v": "a.bin"}}', "and a.bin do not go together: only one of them has v"),
        (b'{"weight_map": {"v": "a.bin"}}', "and a.bin do not go together: only one of them has v, w.w"),
        (b'{"weight_map": {"w.w": "model.safetensors.index.json"}}', "is JSON, not weights"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(tmp_path, content, words):
    put(tmp_path, "a.bin", 1)
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    refused(tmp_path, words)


def test_what_lies_beside_weights_of_a_usual_name_is_theirs(tmp_path):
    for name in ("model.safetensors", "open_clip_model.safetensors", "ViT-B-32.pt"):
        put(tmp_path, name, 1)
    (tmp_path / "config.json").write_text(json.dumps(HUGGING_FACE))
    (tmp_path / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP))
    (tmp_path / "preprocessor_config.json").write_text('{"do_resize": true}')
    (tmp_path / "tokenizer.json").write_text("{}")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        weights = read_weights(path)
        assert weights.config == HUGGING_FACE
        assert weights.preprocessor == {"do_resize": True}
        assert weights.tokenizer == tmp_path / "tokenizer.json"
    assert read_weights(tmp_path / "open_clip_model.safetensors").config == OPEN_CLIP
    other = read_weights(tmp_path / "ViT-B-32.pt")  # whose these are nobody knows
    assert (other.config, other.preprocessor, other.tokenizer) == ({}, {}, None)


def test_what_lies_beside_the_only_weight_file_is_its_own_where_it_speaks_of_weights(tmp_path):
    put(tmp_path, "ViT-B-32.pt", 1)
    for config, expected in ((HUGGING_FACE, HUGGING_FACE), ({"lr": 1}, {}), ([1], {}), (OPEN_CLIP, OPEN_CLIP)):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert read_weights(tmp_path / "ViT-B-32.pt").config == expected
    (tmp_path / "config.json").write_text("{")
    assert read_weights(tmp_path / "ViT-B-32.pt").config == {}
    refused(tmp_path, r"config\.json cannot be read")


def test_a_checkpoint_of_ours_is_read_with_its_configuration():
    from clip2video_plugin.model.installed import embedded_folder

    weights = read_weights(embedded_folder())
    assert weights.config == json.loads((embedded_folder() / "config.json").read_text())
    assert same(weights.tensors, safetensors.torch.load_file(embedded_folder() / "model.safetensors"))
    assert weights.tokenizer == embedded_folder() / "tokenizer.json"


# Memory

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
