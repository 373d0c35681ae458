"""Peak memory and videos a second of a training step of the full ViT-B/32 network, weights and frames random.

    python benchmarks/training_step.py                      # batch 128 on a GPU, batch 4 on a CPU
    python benchmarks/training_step.py --batch 64 --recompute --freeze-layers 9

A step is what the trainer does: pixels to loss over both towers and all temporal parts, backwards, clipping,
AdamW. The first step, which allocates, is not counted in the time.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time

import torch
from encode import VIT_B32

from clip2video_plugin.model import Clip2Video
from clip2video_plugin.model.checkpoint import best_device
from clip2video_plugin.training import TrainConfig
from clip2video_plugin.training.batches import Batch
from clip2video_plugin.training.optimiser import freeze, make_optimiser
from clip2video_plugin.training.step import Step


def random_batch(count: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 49000, (count, 32), generator=generator)
    ids[:, -1] = 49407
    return Batch(
        pixels=torch.randint(0, 256, (count, 12, 224, 224, 3), dtype=torch.uint8, generator=generator),
        frame_mask=torch.ones(count, 12),
        ids=ids,
        mask=torch.ones_like(ids),
        meaning=torch.arange(count),
        reversed_rows=torch.zeros(0, dtype=torch.int64),
        names=[str(i) for i in range(count)],
        failures=[],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=str(best_device()))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--freeze-layers", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one step")
    args = parser.parse_args()
    if args.quick:
        args.steps = 1
    device = torch.device(args.device)
    gpu = device.type == "cuda"
    batch = random_batch(args.batch or (128 if gpu else 4))
    torch.manual_seed(0)
    network = Clip2Video(VIT_B32).to(device).train()
    freeze(network, args.freeze_layers)
    network.image.transformer.recompute = args.recompute
    optimiser = make_optimiser(network, TrainConfig())
    step = Step(network, mask_same_video=True, autocast=torch.bfloat16 if gpu else None)
    seconds = []
    for _ in range(args.steps + 1):
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss, _ = step(batch)
        loss.loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], 1.0)
        optimiser.step()
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    best = min(seconds[1:])
    report = {
        "device": torch.cuda.get_device_name()
        if gpu
        else f"{platform.processor() or 'CPU'}, {torch.get_num_threads()} threads",
        "batch": len(batch.names),
        "recompute": args.recompute,
        "freeze_layers": args.freeze_layers,
        "peak GB": round(peak / 1e9, 2),
        "seconds a step": round(best, 3),
        "videos/s": round(len(batch.names) / best, 2),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
