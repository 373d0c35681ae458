"""Memory and time of ``c2v models import`` for a full-size CLIP ViT-B/32 of random weights, in files of every form.

    python benchmarks/import_weights.py [--quick]

Every import is a process of its own. The memory counts what is mapped from the file while it is held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors.torch
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from vit_b32 import SIZES

from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.reference import reference_key

State = dict[str, Tensor]
BASE = SIZES | {"temporal": "mean", "alignment": "none"}
SMALL = {"vision_layers": 1, "text_layers": 1}
C2V = [sys.executable, "-m", "clip2video_plugin.cli"]
MEASURED = """
import resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit, time.monotonic() - start)
"""  # a small process starts it: a child's memory counts from its parent's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one layer")
    args = parser.parse_args()
    state = clip_state(ModelConfig(**(BASE | (SMALL if args.quick else {}))))
    table = Table("file", "MB", "peak memory, MB", "of the file's size", "seconds")
    with tempfile.TemporaryDirectory() as folder:
        for form, path in files(state, Path(folder)):
            peak, seconds = measured(path, Path(folder) / "models")
            size = sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
            table.add_row(form, f"{size / 1e6:.0f}", f"{peak / 1e6:.0f}", f"{peak / size:.2f}", f"{seconds:.1f}")
    Console().print(table)


def clip_state(config: ModelConfig) -> State:
    """Random weights by OpenAI's names."""
    torch.manual_seed(0)
    network = Clip2Video(config)
    return {reference_key(key).removeprefix("clip."): value for key, value in network.state_dict().items()}


def files(state: State, folder: Path) -> Iterator[tuple[str, Path]]:
    """One after another, each gone before the next."""
    half = {key: value.half() for key, value in state.items()}
    forms: dict[str, Callable[[Path], object]] = {
        "torch zip, float32": lambda path: torch.save(state, path),
        "torch zip, float16": lambda path: torch.save(half, path),
        "torch before 1.6": lambda path: torch.save(state, path, _use_new_zipfile_serialization=False),
        "TorchScript, float32": lambda path: torchscript(state, path),
        "TorchScript, float16": lambda path: torchscript(half, path),
        "safetensors": lambda path: safetensors.torch.save_file(state, path),
        "safetensors in 3 files": lambda path: sharded(state, path),
    }
    for form, write in forms.items():
        path = folder / "ViT-B-32"
        write(path)
        yield form, path
        for file in path.iterdir() if path.is_dir() else [path]:
            file.unlink()
        if path.is_dir():
            path.rmdir()


def torchscript(state: State, path: Path) -> None:
    root = nn.Module()
    for key, value in state.items():
        module, *parts = root, *key.split(".")
        for part in parts[:-1]:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(parts[-1], nn.Parameter(value))
    torch.jit.save(torch.jit.script(root), str(path))


def sharded(state: State, folder: Path) -> None:
    folder.mkdir()
    places = {key: f"model-0000{n % 3 + 1}-of-00003.safetensors" for n, key in enumerate(state)}
    for name in set(places.values()):
        safetensors.torch.save_file({key: state[key] for key in state if places[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def measured(path: Path, models: Path) -> tuple[float, float]:
    """Bytes at the peak, and seconds."""
    command = [*C2V, "models", "import", str(path), "--name", "measured", "--activation", "quick_gelu"]
    environment = os.environ | {"C2V_MODELS": str(models)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    peak, seconds = done.stdout.split()
    return float(peak), float(seconds)


if __name__ == "__main__":
    main()
