"""A network of a few thousand numbers and data it learns from in seconds."""

from dataclasses import replace

from clip2video_plugin.training.batches import Collate, Samples
from clip2video_plugin.training.config import config_of
from clip2video_plugin.training.start import start
from clip2video_plugin.training.world import scene_videos

NETWORK = {
    "image_size": 16, "patch_size": 8, "vision_width": 32, "vision_layers": 2, "vision_heads": 2,
    "vocab_size": 700, "context_length": 32, "text_width": 32, "text_layers": 2, "text_heads": 2,
    "embed_dim": 32, "temporal_layers": 1, "temporal_heads": 2, "max_frames": 4, "max_words": 24,
}  # fmt: skip


def config(**changes):
    """The settings of a short run on the CPU, in this process alone."""
    base = {
        "network": NETWORK | changes.pop("network", {}),
        "batch_size": 8,
        "per_epoch": "videos",
        "learning_rate": 1e-3,
        "clip_coefficient": 1.0,
        "freeze_layers": -1,
        "warmup": 0.1,
        "workers": 1,
        "device": "cpu",
        "frame_position_std": 0.3,
    }
    return config_of(base | changes)


def network_and_batch(count, rows=slice(None), **network):
    """A fixed network, and the given rows of a fixed batch of ``count`` videos, half of them trained both ways."""
    scenes = [replace(s, paraphrases=1) for s in scene_videos(count, seed=2)]
    net, tokenizer = start(config(network=network), scenes)
    samples = Samples(scenes, count=4, size=16, seed=0, jitter=False, per_caption=False, cache=None)
    items = [samples[0, i] for i in range(count)]
    for item in items[1::4]:
        item["meaning"] = items[0]["meaning"]  # several captions of one video
    return net, Collate(tokenizer, 4, 24)(items[rows])
