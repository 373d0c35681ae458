"""Of trainers' files the weights are read; what is no weight is named, and what cannot be one refused."""

import argparse

import numpy as np
import pytest
import torch
from torch import nn

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.weights import read_weights

from .weight_files import refused, same, save_legacy, save_zip, state


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
