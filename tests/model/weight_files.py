"""Small weight files of every container, and what is expected of reading them."""

import pytest
import safetensors.torch
import torch
from torch import nn

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.weights import read_weights


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


def scripted(tensors):
    """A TorchScript module that holds tensors under their dotted names."""
    root = nn.Module()
    for key, value in tensors.items():
        module, *parts = root, *key.split(".")
        for part in parts[:-1]:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_buffer(parts[-1], value)
    return torch.jit.script(root)


def save_torchscript(tensors, path):
    torch.jit.save(scripted(tensors), str(path))


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
