"""Run by test_distributed.py under torchrun: loss and gradients of one batch, shared between the processes."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # last: the folder datasets/ must not shadow a package

import torch
from torch.nn.parallel import DistributedDataParallel

from clip2video_plugin.training import train
from clip2video_plugin.training.distributed import processes
from clip2video_plugin.training.step import Step
from clip2video_plugin.training.world import scene_videos
from tests.training import tiny


def main(out: str, what: str) -> None:
    torch.set_num_threads(1)
    if what == "train":
        train(tiny.config(epochs=1), scene_videos(48, 1), out=out, progress=False)
        return
    with processes("cpu") as place:
        network, batch = tiny.network_and_batch(int(what), rows=slice(place.rank, None, place.world))
        step = Step(network, mask_same_video=True, autocast=None)
        wrapped = DistributedDataParallel(step) if place.world > 1 else step
        loss, _ = wrapped(batch)
        loss.loss.backward()
        if place.first:
            gradients = {key: p.grad for key, p in network.named_parameters()}
            torch.save({"loss": loss.loss.detach(), "gradients": gradients}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
