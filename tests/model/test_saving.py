"""A checkpoint is written tensor by tensor, as safetensors would write it, or not at all."""

import hashlib
import json
import resource
import subprocess
import sys

import pytest
import safetensors
import safetensors.torch
import torch

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model import Clip2Video, ModelConfig, clip_tokenizer
from clip2video_plugin.model.saving import CHUNK, write_checkpoint, write_safetensors

CONFIG = ModelConfig(
    image_size=32,
    patch_size=16,
    vision_width=64,
    vision_layers=1,
    vision_heads=1,
    vocab_size=49408,
    context_length=77,
    text_width=64,
    text_layers=1,
    text_heads=1,
    embed_dim=64,
    temporal_heads=1,
)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return {key: value.clone() for key, value in Clip2Video(CONFIG).state_dict().items()}


def makers(state):
    return {key: lambda key=key: state[key] for key in state}


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_file_is_byte_for_byte_what_safetensors_writes(tmp_path, dtype):
    torch.manual_seed(0)
    tensors = {
        "z.none": torch.zeros(0, 3),
        "scale": torch.tensor(4.5),
        "turned": torch.randn(5, 7).t(),
        "every other": torch.randn(20)[3::2],
        "of one number": torch.randn(1).expand(4, 3),
        "half": torch.randn(3).half(),
        "bfloat16": torch.randn(3, 2).bfloat16(),
        "double": torch.randn(2).double(),
        "trained": torch.nn.Parameter(torch.randn(2)),
        "long": torch.randn(CHUNK + 3),
        "Grösse": torch.randn(1),
    }
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    digest = write_safetensors(tmp_path / "ours", shapes, makers(tensors), dtype)
    expected = {key: value.detach().to(dtype).contiguous() for key, value in tensors.items()}
    safetensors.torch.save_file(expected, tmp_path / "theirs")
    written = (tmp_path / "ours").read_bytes()
    assert written == (tmp_path / "theirs").read_bytes()
    assert digest == hashlib.sha256(written).hexdigest()
    read = safetensors.torch.load_file(tmp_path / "ours")
    assert all(torch.equal(read[key], value) for key, value in expected.items())


@pytest.mark.parametrize("half", [False, True])
def test_a_network_made_while_it_is_written_loads_equal(tmp_path, state, half):
    digest = write_checkpoint(tmp_path / "mine", CONFIG, makers(state), clip_tokenizer(), half=half)
    model = load_model(tmp_path / "mine", device="cpu", precision="float32")
    assert model.sha256 == digest
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, state[key].half().float() if half else state[key])


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says what the peak was")
def test_only_one_tensor_is_in_memory_at_a_time(tmp_path):
    """A process that writes 200 MB grows by little more than a tensor of 20 MB."""
    done = subprocess.run([sys.executable, "-c", STREAMED, tmp_path / "big"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert (tmp_path / "big").stat().st_size > 200e6
    assert grown < 80e6


STREAMED = """
import sys
from pathlib import Path
import torch
from clip2video_plugin.model.saving import write_safetensors

def peak():  # ru_maxrss counts the parent's too
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

shapes = {f"layer.{n}": (5_000_000,) for n in range(10)}
write_safetensors(Path(sys.argv[1] + ".first"), {"a": (1,)}, {"a": lambda: torch.zeros(1)}, torch.float32)
before = peak()
write_safetensors(Path(sys.argv[1]), shapes, {key: lambda: torch.ones(5_000_000) for key in shapes}, torch.float32)
print(peak() - before)
"""


def wrong_keys(state):
    return makers({key: value for key, value in state.items() if key != "logit_scale"} | {"extra": torch.ones(1)})


def another_shape(state):
    return makers(state | {"text.ln_final.weight": torch.ones(65)})


def not_a_number(state):
    return makers(state | {"text.ln_final.weight": torch.full((64,), torch.nan)})


def too_large_for_float16(state):
    return makers(state | {"text.ln_final.weight": torch.full((64,), 1e5)})


def fails(state):
    def fail():
        raise CheckpointError("block 7 does not fit")

    return makers(state) | {"text.ln_final.weight": fail}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (wrong_keys, r"2 keys do not fit the network: missing logit_scale \[\]; unexpected extra"),
        (another_shape, r"misshapen text.ln_final.weight: \[65\], expected \[64\]"),
        (not_a_number, r"text.ln_final.weight has numbers that are not finite"),
        (too_large_for_float16, r"text.ln_final.weight has numbers that are not finite as float16"),
        (fails, "block 7 does not fit"),
    ],
)
def test_what_cannot_be_a_network_leaves_the_old_checkpoint(tmp_path, state, wrong, message):
    folder = tmp_path / "mine"
    write_checkpoint(folder, CONFIG, makers(state), clip_tokenizer())
    before = content(folder)
    with pytest.raises(CheckpointError, match=message):
        write_checkpoint(folder, CONFIG, wrong(state), clip_tokenizer(), half=True)
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, state):
    folder = tmp_path / "mine"
    write_checkpoint(folder, CONFIG, makers(state), clip_tokenizer(), half=True)
    before = content(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, limits[1]))  # of a file; the tokenizer takes 2 MB
    try:
        with pytest.raises(CheckpointError, match="File too large; what was there is kept"):
            write_checkpoint(folder, CONFIG, makers(state), clip_tokenizer())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
