"""The trainer of the embedded model learns, and what ships meets its promises on a small sample."""

import json

import numpy as np
import torch

from clip2video_plugin import load_model, read_frames
from clip2video_plugin.shapes import caption, held_out_scenes, write_videos
from clip2video_plugin.training.shapes import train


def test_a_short_training_lowers_the_loss_and_writes_a_checkpoint(tmp_path, capsys):
    train(tmp_path / "model", minutes=0.3, seed=0, batch=8)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model = load_model(tmp_path / "model", device="cpu")
    assert rows[0]["loss"] > 2
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert model.config.max_frames == 12
    assert all(torch.isfinite(p).all() for p in model.network.parameters())


def test_the_embedded_model_tells_a_video_from_its_reverse(model, tmp_path):
    """A sample of what benchmarks/shapes_retrieval.py measures on 1,000."""
    scenes = [s for s in held_out_scenes(160, seed=11) if s.meaning != s.reversed().meaning]
    size = model.config.image_size

    def vectors(folder, these):
        paths = [path for path, _ in write_videos(folder, these, paraphrases=1)]
        return model.encode_frames([read_frames(path, size=size).pixels for path in paths]).vector.numpy()

    forward, backward = vectors(tmp_path / "f", scenes), vectors(tmp_path / "b", [s.reversed() for s in scenes])
    queries = model.encode_captions([caption(s) for s in scenes]).vector.numpy()
    right = (queries * forward).sum(1) > (queries * backward).sum(1)
    assert right.mean() >= 0.85
    assert ((queries @ forward.T).argmax(1) == np.arange(len(scenes))).mean() >= 0.65
