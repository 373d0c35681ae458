"""What ships meets its promises on a small sample of what benchmarks/shapes_retrieval.py measures."""

import numpy as np

from clip2video_plugin import read_frames
from clip2video_plugin.shapes import caption, held_out_scenes, write_videos


def test_the_embedded_model_tells_a_video_from_its_reverse(model, tmp_path):
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
