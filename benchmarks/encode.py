"""Encoding speed: 12 frames a video, beside the released form of the network, interleaved in one run.

    python benchmarks/encode.py [--size vit-b32|shapes] [--batch 12] [--device cpu] [--rounds 5] [--quick]

The peer is the released code's image tower: nn.MultiheadAttention on [tokens, images, width], x * sigmoid(1.702 x),
float32 under no_grad. Ours are the precisions of ``load_model``. Cosines are the least of the videos' vectors to the
peer's; ``--size shapes`` takes the embedded model and generated videos, else weights and frames are random.
`model.checkpoint.pays_in_bfloat16` states the rule that these measurements led to.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import show, timed
from torch import Tensor, nn
from vit_b32 import SIZES

from clip2video_plugin import read_frames
from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.checkpoint import load_model
from clip2video_plugin.model.frozen import freeze
from clip2video_plugin.model.layers import ResidualBlock
from clip2video_plugin.shapes import scenes, write_videos
from clip2video_plugin.video.transform import normalise

VIT_B32 = ModelConfig(**SIZES)


class ReleasedBlock(nn.Module):
    """A residual block as the released code computes it."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        width = block.attn.in_proj_weight.shape[1]
        self.attn = nn.MultiheadAttention(width, block.attn.heads)
        self.attn.load_state_dict(block.attn.state_dict())
        self.ln_1, self.ln_2, self.c_fc, self.c_proj = block.ln_1, block.ln_2, block.mlp.c_fc, block.mlp.c_proj

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        h = self.c_fc(self.ln_2(x))
        return x + self.c_proj(h * torch.sigmoid(1.702 * h))


class ReleasedTransformer(nn.Module):
    """Images second, as the released code lays them out."""

    def __init__(self, blocks: Any) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ReleasedBlock(block) for block in blocks))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x.transpose(0, 1)).transpose(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("shapes", "vit-b32"), default="vit-b32")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    batch, rounds = (4, 2) if args.quick else (args.batch, args.rounds)
    torch.manual_seed(0)
    if args.size == "shapes":
        network = load_model("shapes", device=args.device, precision="float32").network
        frames = generated(batch, network.config)
    else:
        network = Clip2Video(VIT_B32).to(args.device).eval()
        frames = torch.randn(batch, 12, 3, 224, 224)
    frames, mask = frames.to(args.device), torch.ones(frames.shape[:2], device=args.device)
    released = copy.deepcopy(network)
    released.image.transformer = ReleasedTransformer(network.image.transformer.resblocks)
    networks = {"released form, float32": released, "float32": network}
    for precision in ("bfloat16", *(["int8"] if args.device == "cpu" else [])):
        networks[precision] = copy.deepcopy(network)
        freeze(networks[precision].image, precision)
    vectors: dict[str, Tensor] = {}

    def encode(name: str) -> None:
        with torch.no_grad() if name.startswith("released") else torch.inference_mode():
            vectors[name] = networks[name].encode_video(frames, mask).vector.cpu()

    spent = timed({name: lambda name=name: encode(name) for name in networks}, rounds)
    whole = next(iter(vectors.values()))
    cosines = {name: f"{(v * whole).sum(dim=1).min().item():.5f}" for name, v in vectors.items()}
    show(f"{args.size}, {batch} videos of {frames.shape[1]} frames, {args.device}", spent, cosines, more="least cosine")


def generated(count: int, config: ModelConfig) -> Tensor:
    """Frames of generated videos, normalised, [count, frames, 3, side, side]."""
    with tempfile.TemporaryDirectory() as folder:
        videos = write_videos(Path(folder), list(islice(scenes(0), count)), paraphrases=1)
        how = config.preprocessing
        read = [read_frames(path, count=config.max_frames, **how.options).pixels for path, _ in videos]
    return torch.from_numpy(normalise(np.stack(read), how.mean, how.std)).contiguous()


if __name__ == "__main__":
    main()
