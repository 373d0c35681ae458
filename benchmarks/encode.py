"""Encoding speed: videos per second of the image tower in float32 and in bfloat16, interleaved in one run.

    python benchmarks/encode.py [--size shapes|vit-b32] [--batch 4] [--device cpu]

bfloat16 is worth its rounding only where it is clearly faster; `model.checkpoint.pays_in_bfloat16` states the rule
that these measurements led to.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table

from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.checkpoint import find_checkpoint, load_config

VIT_B32 = ModelConfig(
    image_size=224,
    patch_size=32,
    vision_width=768,
    vision_layers=12,
    vision_heads=12,
    vocab_size=49408,
    context_length=77,
    text_width=512,
    text_layers=12,
    text_heads=8,
    embed_dim=512,
)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("shapes", "vit-b32"), default="vit-b32")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    config = load_config(find_checkpoint()[1]) if args.size == "shapes" else VIT_B32
    torch.manual_seed(0)
    network = Clip2Video(config).to(args.device).eval()
    half = copy.deepcopy(network)
    half.image.to(torch.bfloat16)
    side = config.image_size
    frames = torch.randn(args.batch, config.max_frames, 3, side, side, device=args.device)
    mask = torch.ones(args.batch, config.max_frames, device=args.device)
    times: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    vectors = {}
    for round_ in range(args.rounds + 1):
        for name, model in (("float32", network), ("bfloat16", half)):
            start = time.perf_counter()
            vectors[name] = model.encode_video(frames, mask).vector.cpu()
            if round_:  # the first warms up
                times[name].append(time.perf_counter() - start)
    cosine = (vectors["float32"] * vectors["bfloat16"]).sum(dim=-1).min().item()
    table = Table("precision", "videos/s", "ratio", "least cosine to float32")
    base = statistics.median(times["float32"])
    for name, spent in times.items():
        middle = statistics.median(spent)
        table.add_row(
            name, f"{args.batch / middle:.2f}", f"{base / middle:.2f}", "1" if name == "float32" else f"{cosine:.5f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
