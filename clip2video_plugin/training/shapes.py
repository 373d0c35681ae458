"""Trains the embedded model from scratch on the shapes world.

    python -m clip2video_plugin.training.shapes OUT --minutes 60 --seed 0

A step embeds N rendered videos, each also with its frame features in reverse order under the
caption of the inverse actions, so direction must be learned; reordered twins do the same for order.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from clip2video_plugin.model import Clip2Video, ModelConfig, tokenize
from clip2video_plugin.model.checkpoint import save_checkpoint
from clip2video_plugin.model.tokenizer import train_tokenizer
from clip2video_plugin.pixels import CLIP_MEAN, CLIP_STD
from clip2video_plugin.shapes import Scene, caption, render, scenes
from clip2video_plugin.shapes.videos import SIZE
from clip2video_plugin.training.loss import contrastive_loss
from clip2video_plugin.video.transform import resize_and_crop

VOCAB = 640
CONFIG = ModelConfig(
    image_size=48,
    patch_size=8,
    vision_width=96,
    vision_layers=3,
    vision_heads=3,
    vocab_size=VOCAB,
    context_length=32,
    text_width=128,
    text_layers=2,
    text_heads=4,
    embed_dim=128,
    temporal_layers=2,
    temporal_heads=4,
    max_frames=12,
    max_words=32,
)


class Batches(IterableDataset[dict[str, Any]]):
    """Endless batches of rendered scenes with a caption each way in time."""

    def __init__(self, tokenizer: Tokenizer, size: int, seed: int) -> None:
        self.tokenizer, self.size, self.seed = tokenizer, size, seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        seed = self.seed * 1000 + (worker.id if worker else 0)
        random, source = Random(seed), scenes(seed)
        while True:
            batch = list[Scene]()
            while len(batch) < self.size:
                scene = next(source)
                batch.append(scene)
                if len(scene.phases) == 2 and len(scene.things) == 2 and random.random() < 0.5:
                    batch.append(scene.reordered())
            yield self._batch(batch[: self.size], random)

    def _batch(self, batch: list[Scene], random: Random) -> dict[str, Any]:
        pixels = np.stack([sample(scene, random) for scene in batch])  # [N, F, R, R, 3]
        both = [*batch, *(scene.reversed() for scene in batch)]
        ids, mask = tokenize([caption(scene, random) for scene in both], self.tokenizer, CONFIG.max_words)
        groups = {meaning: number for number, meaning in enumerate({scene.meaning for scene in both})}
        return {
            "pixels": torch.from_numpy(pixels),
            "ids": ids,
            "mask": mask,
            "group": torch.tensor([groups[scene.meaning] for scene in both]),
        }


def sample(scene: Scene, random: Random) -> np.ndarray:
    """Frames uint8 [F, R, R, 3] as reading a video of the scene would give them, at slightly varied times."""
    f = CONFIG.max_frames
    shift = random.random()
    frames = render(scene, [(i + shift) / f for i in range(f)], SIZE)
    return np.stack([resize_and_crop(frame, CONFIG.image_size) for frame in frames])


def normalised(pixels: Tensor) -> Tensor:
    """uint8 [N, F, R, R, 3] -> float32 [N, F, 3, R, R]."""
    mean, std = torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None]
    return (pixels.permute(0, 1, 4, 2, 3).float() / 255 - mean) / std


def train(
    out: Path, *, minutes: float, seed: int, batch: int = 32, rate: float = 1e-3, config: ModelConfig = CONFIG
) -> None:
    """Trains for a time budget (the schedule follows the clock) and writes a float16 checkpoint to ``out``."""
    torch.manual_seed(seed)
    random = Random(seed)
    tokenizer = train_tokenizer((caption(scene, random) for scene in islice(scenes(seed), 20000)), VOCAB)
    config = ModelConfig.from_dict(config.to_dict() | {"vocab_size": tokenizer.get_vocab_size()})
    network = Clip2Video(config)
    if config.temporal != "mean":
        torch.nn.init.normal_(network.frame_positions.weight, std=0.3)
    decayed = [p for p in network.parameters() if p.ndim >= 2]
    other = [p for p in network.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": other, "weight_decay": 0.0}], lr=rate, betas=(0.9, 0.98)
    )
    loader = DataLoader(Batches(tokenizer, batch, seed), batch_size=None, num_workers=1, prefetch_factor=4)
    mask = torch.ones(batch, config.max_frames)
    start = time.monotonic()
    for step, data in enumerate(loader):
        share = (time.monotonic() - start) / (60 * minutes)
        if share >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * share))
        features = network.frame_features(normalised(data["pixels"]), mask)  # [N, F, D]
        video = network.embed_features(torch.cat([features, features.flip(1)]), torch.cat([mask, mask]))  # [2N, ...]
        text = network.encode_text(data["ids"], data["mask"])
        loss = contrastive_loss(
            text, video, logit_scale=network.logit_scale.exp(), weight=config.center_weight, same_video=data["group"]
        ).loss
        if not torch.isfinite(loss):
            raise FloatingPointError(f"step {step}: the loss is {loss.item()}")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            network.logit_scale.clamp_(max=math.log(100))
        if step % 50 == 0:
            hits = (text.vector @ video.vector.T).argmax(dim=1).eq(torch.arange(2 * batch)).float().mean()
            row = {
                "step": step,
                "minutes": round(share * minutes, 2),
                "loss": round(loss.item(), 4),
                "batch R@1": round(hits.item(), 3),
            }
            print(json.dumps(row), flush=True)
        if step % 1000 == 999:
            save_checkpoint(out, network, tokenizer, half=True)
    save_checkpoint(out, network, tokenizer, half=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temporal", default="difference", choices=("difference", "transformer", "mean"))
    args = parser.parse_args()
    config = CONFIG
    if args.temporal != "difference":
        config = ModelConfig.from_dict(CONFIG.to_dict() | {"temporal": args.temporal, "alignment": "none"})
    train(args.out, minutes=args.minutes, seed=args.seed, config=config)


if __name__ == "__main__":
    main()
