"""The whole trainer can learn 32 windows of real clips by heart."""

import numpy as np

from clip2video_plugin import load_model
from clip2video_plugin.evaluation import retrieval_metrics
from clip2video_plugin.training import train
from clip2video_plugin.training.videos import VideoFile

from .tiny import config

WINDOWS = [  # file, from and to in seconds, what can be seen
    ("asl_again.mkv", 0.0, 1.3, "a man in a black pullover lifts his hands and begins to sign"),
    ("asl_again.mkv", 1.3, 2.6, "a man in a black pullover stops signing and lowers his hands"),
    ("asl_bird.mkv", 0.0, 1.0, "a man in a grey shirt raises one hand to his mouth"),
    ("asl_bird.mkv", 1.0, 2.1, "a man in a grey shirt takes his hand from his mouth and lets it sink"),
    ("asl_book.mkv", 0.0, 1.8, "a woman in a yellow hoodie puts her palms together"),
    ("asl_book.mkv", 1.8, 3.6, "a woman in a yellow hoodie opens her palms like a book and drops them"),
    ("asl_eat.mkv", 0.0, 1.6, "a man in a patterned jacket moves his fingers to his lips"),
    ("asl_walk.mkv", 0.0, 1.5, "a woman in yellow holds both hands flat before her and moves them in turn"),
    ("asl_walk.mkv", 1.5, 3.0, "a woman in yellow ends a sign with flat hands and relaxes"),
    ("bbb_480p.mp4", 0.0, 1.2, "a black screen slowly becomes brighter"),
    ("bbb_480p.mp4", 2.0, 3.0, "pink clouds fill the sky of a cartoon"),
    ("bbb_480p.mp4", 4.0, 5.0, "green trees rise in front of pink clouds in a cartoon"),
    ("bikes.mp4", 0.0, 1.2, "brown blocks slide along a white wall"),
    ("bikes.mp4", 1.5, 3.0, "blurred cars pass and a taxi sign appears"),
    ("bikes.mp4", 3.5, 4.8, "a man with a bicycle stands beside a car with an orange light"),
    ("bikes.mp4", 5.2, 6.5, "a bicycle leans on a railing beside a street of parked cars"),
    ("bikes.mp4", 7.0, 8.2, "legs of people walk past a stone post"),
    ("bikes.mp4", 8.6, 10.0, "an old bicycle stands behind two posts on a pavement"),
    ("carphone.mp4", 0.0, 1.3, "a man with a red bow tie sits in a car and talks quietly"),
    ("carphone.mp4", 1.3, 2.6, "a man with a bow tie in a car tilts his head and speaks with open mouth"),
    ("carphone.mp4", 2.6, 4.0, "a man in a car leans towards the camera and shouts"),
    ("intel_bottle-detection.mp4", 0.0, 8.0, "a bottle of water stands on a table"),
    ("intel_bottle-detection.mp4", 16.0, 22.0, "a hand takes a bottle away and the table is empty"),
    ("intel_bottle-detection.mp4", 30.0, 39.0, "a hand reaches for a water bottle from above"),
    ("intel_car-detection.mp4", 4.0, 8.0, "a white car drives up a grey road, seen from above"),
    ("intel_car-detection.mp4", 12.0, 16.0, "an empty road from above, then a red car enters"),
    ("intel_car-detection.mp4", 16.0, 20.0, "a red car and a white car leave an asphalt road"),
    ("intel_car-detection.mp4", 24.0, 30.0, "a white car drives down the road and turns left"),
    ("tc_nasa_13013.mp4", 0.0, 3.0, "a worker on a red lift beside machinery in the dark"),
    ("tc_nasa_13013.mp4", 5.0, 6.5, "machinery in the dark dissolves into a man before bright panels"),
    ("tc_test_non_zero_start.mp4", 0.0, 0.4, "sunlit trees with green leaves by a path"),
    ("rot0.mov", 0.0, 0.1, "the keys of a keyboard around a red button"),
]


def test_32_windows_of_real_clips_are_learned_by_heart(shared_videos, world, tmp_path):
    videos = [VideoFile(shared_videos / name, [text], start or None, end) for name, start, end, text in WINDOWS]
    assert len({v.meaning for v in videos}) == 32
    settings = config(
        network={"image_size": 32, "vision_width": 64, "text_width": 64, "embed_dim": 64, "max_frames": 6},
        batch_size=32,
        epochs=20,
        jitter=False,
        cache=str(tmp_path / "cache"),
    )
    # Ten times the same: an epoch of ten steps, with one validation.
    held = [VideoFile(path, ["not trained on"]) for path in sorted(world[0].glob("*.mp4"))[:2]]
    result = train(settings, videos * 10, held, out=tmp_path / "run", progress=False)
    model = load_model(result.folder / "last", device="cpu", precision="float32")
    frames = [video.frames(6, 32, None) for video in videos]
    scores = (
        model.encode_captions([t for *_, t in WINDOWS]).vector.numpy() @ model.encode_frames(frames).vector.numpy().T
    )
    metrics = retrieval_metrics(scores, np.arange(32))
    assert (metrics["t2v"]["R@1"], metrics["v2t"]["R@1"]) == (100, 100)
