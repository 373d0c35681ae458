"""Which samples make up which batch, and which frames and captions a sample has."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip2video_plugin.errors import TrainingError
from clip2video_plugin.training.batches import Order, Samples
from clip2video_plugin.training.cache import FrameCache
from clip2video_plugin.training.step import _reverse
from clip2video_plugin.training.videos import VideoFile, captioned_videos
from clip2video_plugin.training.world import scene_videos
from clip2video_plugin.video.sampling import reference_indices, uniform_indices

from ..video import clips


def order(samples, **changes):
    base = {"step_size": 8, "parts": 1, "start": 0, "stop": 6, "seed": 0, "rank": 0, "world": 1}
    return list(Order(samples, None, **(base | changes)))


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(8, 60), world=st.sampled_from([1, 2, 4]), parts=st.sampled_from([1, 2]), seed=st.integers(0, 9)
)
def test_every_epoch_gives_each_sample_at_most_once_and_ranks_share_it(samples, world, parts, seed):
    steps = samples // 8
    ranks = [order(samples, stop=steps, world=world, rank=r, parts=parts, seed=seed) for r in range(world)]
    assert {len(batch) for batches in ranks for batch in batches} == {8 // world // parts}
    keys = [key for batches in ranks for batch in batches for key in batch]
    assert len(set(keys)) == len(keys) == 8 * steps
    assert {epoch for epoch, _ in keys} == {0}


@given(start=st.integers(0, 6))
@settings(max_examples=7, deadline=None)
def test_the_order_goes_on_where_it_was(start):
    assert order(20, start=start) == order(20)[start:]


def test_epochs_and_seeds_have_orders_of_their_own():
    batches = order(16)
    epochs = [[i for _, i in batches[k] + batches[k + 1]] for k in (0, 2, 4)]
    assert all(sorted(epoch) == list(range(16)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order(16, seed=1) != batches


def test_companions_stay_together():
    scenes = scene_videos(64, seed=0)
    pairs = [i for i in range(63) if scenes[i].companions == scenes[i + 1].companions]
    assert len(pairs) > 5
    units = [[i, i + 1] if i in pairs else [i] for i in range(64) if i - 1 not in pairs]
    run = Order(64, units, step_size=64, parts=1, start=0, stop=1, seed=0, rank=0, world=1)
    flat = [i for _, i in next(iter(run))]
    assert all(flat.index(i + 1) == flat.index(i) + 1 for i in pairs)


def test_jitter_is_the_references_for_its_policy_and_stays_in_its_part_for_ours():
    assert reference_indices(75, 1, 12, np.random.RandomState(0)) != reference_indices(75, 1, 12)
    for seed in range(20):
        picks = uniform_indices(100, 12, np.random.RandomState(seed))
        assert all(i * 100 // 12 <= pick < (i + 1) * 100 // 12 for i, pick in enumerate(picks))
    assert uniform_indices(5, 12, np.random.RandomState(0)) == [0, 1, 2, 3, 4]


def samples_of(videos, **changes):
    base = {"count": 4, "size": 16, "seed": 0, "jitter": True, "per_caption": True, "cache": None}
    return Samples(videos, **(base | changes))


def test_a_sample_depends_on_seed_epoch_and_number_alone(world):
    videos = [VideoFile(p, ["one", "two"]) for p in sorted(world[0].glob("*.mp4"))[:3]]
    a, b = samples_of(videos), samples_of(videos)
    assert len(a) == 6
    assert [a[0, i]["caption"] for i in range(6)] == ["one", "two"] * 3
    b[0, 5], b[3, 1]  # whatever was read before
    assert np.array_equal(a[2, 1]["frames"], b[2, 1]["frames"])
    assert not np.array_equal(a[2, 1]["frames"], a[1, 1]["frames"])
    assert not np.array_equal(a[2, 1]["frames"], samples_of(videos, seed=1)[2, 1]["frames"])
    still = samples_of(videos, jitter=False)
    assert np.array_equal(still[0, 1]["frames"], still[7, 1]["frames"])


def test_the_cache_gives_the_same_frames_and_notices_a_changed_video(tmp_path):
    path = tmp_path / "a.mp4"
    clips.write(path, count=20)
    cache = FrameCache(tmp_path / "cache", 2, 16)
    samples = samples_of([VideoFile(path, ["x"])], cache=cache)
    plain = samples_of([VideoFile(path, ["x"])])
    for epoch in (0, 1, 0, 1):
        assert np.array_equal(samples[epoch, 0]["frames"], plain[epoch, 0]["frames"])
    assert np.array_equal(samples[2, 0]["frames"], plain[0, 0]["frames"])  # two draws are kept
    path.unlink()
    assert samples.videos[0].stamp() != ""
    with pytest.raises(TrainingError, match="none of 1 videos"):
        samples[0, 0]
    clips.write(path, count=24)
    fresh = samples_of([VideoFile(path, ["x"])], cache=FrameCache(tmp_path / "cache", 2, 16))
    again = samples_of([VideoFile(path, ["x"])])
    assert np.array_equal(fresh[0, 0]["frames"], again[0, 0]["frames"])


def test_features_are_reversed_among_the_valid_frames_alone():
    features = torch.arange(2 * 4 * 1, dtype=torch.float32).view(2, 4, 1)
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    assert _reverse(features, mask)[..., 0].tolist() == [[3, 2, 1, 0], [5, 4, 6, 7]]


def test_a_view_gives_its_captioned_videos_and_a_clips_view_its_clips(world, tmp_path):
    import fiftyone as fo

    from clip2video_plugin.app.metadata import compute_video_metadata

    dataset = fo.Dataset.from_videos_dir(str(world[0])).limit(3).clone()
    first, second, third = dataset.values("id")
    dataset.set_values("captions", {first: ["a", " ", "b"], second: ["c"], third: None}, key_field="id")
    dataset.set_values("title", {first: "d"}, key_field="id")
    videos = captioned_videos(dataset)
    assert [tuple(v.captions) for v in videos] == [("a", "b"), ("c",)]
    assert [tuple(v.captions) for v in captioned_videos(dataset, captions_field="title")] == [("d",)]
    with pytest.raises(TrainingError, match="has no field 'words'"):
        captioned_videos(dataset, captions_field="words")
    with pytest.raises(TrainingError, match="no video with a caption"):
        captioned_videos(dataset.match({"captions": None}))
    sample = dataset[first]
    sample["moments"] = fo.TemporalDetections(
        detections=[
            fo.TemporalDetection(
                label="x",
                support=s,
            )
            for s in ([1, 8], [9, 24])
        ]
    )
    sample.save()
    dataset.set_values("metadata", [None] * 3)
    with pytest.raises(TrainingError, match=r"the frame rate of \S+ is unknown"):
        captioned_videos(dataset.to_clips("moments", other_fields=["captions"]))
    compute_video_metadata(dataset)
    parts = dataset.to_clips("moments")
    parts.set_values("captions", [["start"], ["end"]])
    spans = [(v.start, v.end, tuple(v.captions)) for v in captioned_videos(parts)]
    assert spans == [(0.0, 1.0, ("start",)), (1.0, 3.0, ("end",))]
    assert len({v.meaning for v in captioned_videos(parts)}) == 2
    dataset.delete()
