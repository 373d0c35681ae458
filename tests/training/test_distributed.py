"""Two processes with half of a batch each have the loss and the gradients of one with all of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.training.state import read_log

SCRIPT = Path(__file__).parent / "two_ranks.py"


def torchrun(processes, *args):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run([*command, str(SCRIPT), *map(str, args)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_loss_and_gradients_of_two_ranks_equal_those_of_one(tmp_path):
    torchrun(1, tmp_path / "one.pt", 16)
    torchrun(2, tmp_path / "two.pt", 16)
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    assert two["loss"].item() == pytest.approx(one["loss"].item(), abs=1e-5)
    assert one["gradients"].keys() == two["gradients"].keys()
    for key, gradient in one["gradients"].items():
        assert torch.allclose(two["gradients"][key], gradient, rtol=1e-5, atol=1e-5), key
    assert sum(gradient.abs().sum() for gradient in one["gradients"].values()) > 1


def test_two_ranks_train_to_the_weights_of_one(tmp_path):
    torchrun(1, tmp_path / "one", "train")
    torchrun(2, tmp_path / "two", "train")
    logs = [[row for row in read_log(tmp_path / name) if "loss" in row] for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 5
    for one, two in zip(*logs, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-4)
        assert two["gradient"] == pytest.approx(one["gradient"], rel=1e-3)
    weights = [load_model(tmp_path / n / "last", precision="float32").network.state_dict() for n in ("one", "two")]
    for key, value in weights[0].items():
        assert torch.allclose(weights[1][key], value, atol=1e-3), key
