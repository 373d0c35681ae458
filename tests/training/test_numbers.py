"""What a step computes, against numpy and against other ways to the same number.

The world's videos are given as still data here, so that every batch is known.
"""

import math
from dataclasses import dataclass, field

import fiftyone as fo
import numpy as np
import pytest
import torch

from clip2video_plugin import embed_videos, load_model, open_index, read_frames
from clip2video_plugin.model import Model
from clip2video_plugin.model.tokenizer import tokenize
from clip2video_plugin.pixels import CLIP_MEAN, CLIP_STD
from clip2video_plugin.rows import video_id
from clip2video_plugin.training import TrainConfig, contrastive_loss, train
from clip2video_plugin.training.start import start
from clip2video_plugin.training.state import read_log
from clip2video_plugin.training.videos import VideoFile

from ..model.test_golden import SPEC, build, captions, videos
from ..video import clips
from .tiny import config


@dataclass
class Still:
    """A video of known frames; ``asked`` collects the jitter of every reading, ``shown`` how pictures are made."""

    number: int
    captions: tuple[str, ...]
    meaning: int
    companions: int | None = None
    asked: list = field(default_factory=list)
    shown: list = field(default_factory=list)
    reverse_captions = ()
    reverse_meaning = -1

    def __post_init__(self):
        self.name = self.source = self.identity = f"video {self.number}"
        self.pixels = np.random.default_rng(self.number % 100).integers(0, 255, (4, 16, 16, 3), np.uint8)

    def stamp(self):
        return self.name

    def frames(self, count, size, random, **how):
        self.asked.append(random)
        self.shown.append(how)
        return self.pixels


WORDS = ("a red square moves left", "a blue star grows", "a green bar turns", "a white cross blinks")


def stills(count, first=0, **changes):
    return [Still(first + i, (f"{WORDS[i % 4]} {i}",), first + i, **changes) for i in range(count)]


def first_step(tmp_path, training, **changes):
    result = train(
        config(steps=1, batch_size=len(training), **changes), training, stills(2, 50), out=tmp_path, progress=False
    )
    return next(row for row in read_log(result.folder) if "loss" in row)


def embeddings(settings, training, mean=CLIP_MEAN, std=CLIP_STD):
    """(text, video) x (global, aligned) of the network that a run starts from, as numpy, and its logit scale."""
    network, tokenizer = start(settings, training)
    pixels = np.stack([video.pixels for video in training]).astype(np.float32) / 255
    frames = ((pixels - np.array(mean)) / np.array(std)).transpose(0, 1, 4, 2, 3).astype(np.float32)
    ids, mask = tokenize([video.captions[0] for video in training], tokenizer, network.config.max_words)
    with torch.no_grad():
        video = network.encode_video(torch.from_numpy(frames), torch.ones(frames.shape[:2]))
        text = network.encode_text(ids, mask)
    parts = (text.global_vector, text.aligned_vector, video.global_vector, video.aligned_vector)
    return [part.numpy().astype(np.float64) for part in parts], math.exp(network.logit_scale.item())


def info_nce(text, video, scale, left_out=()):
    """By the formula of section 3.4 of the paper, pair by pair."""
    logits = scale * text @ video.T
    for i, j in left_out:
        logits[i, j] = -np.inf
    rows = [np.log(np.exp(logits[i] - logits[i, i]).sum()) for i in range(len(logits))]
    columns = [np.log(np.exp(logits[:, i] - logits[i, i]).sum()) for i in range(len(logits))]
    return (np.mean(rows) + np.mean(columns)) / 2


@pytest.mark.parametrize("weight", [0.2, 0.5, 1.0])
def test_the_loss_weighs_the_global_part_with_w_and_the_aligned_one_with_the_rest(weight):
    golden = SPEC["variants"]["main"]["train_fixed"]
    network = build("main")
    frames, mask = videos()
    ids, token_mask = (t[: len(frames)] for t in captions())
    with torch.no_grad():
        text, video = network.encode_text(ids, token_mask), network.encode_video(frames, mask)
        loss = contrastive_loss(text, video, logit_scale=network.logit_scale.exp(), weight=weight).loss
    assert abs(golden["sim_loss"] - golden["tab_loss"]) > 0.1
    assert loss.item() == pytest.approx(weight * golden["sim_loss"] + (1 - weight) * golden["tab_loss"], rel=1e-3)


def test_a_run_takes_w_of_its_network(tmp_path):
    training = stills(8)
    settings = config(network={"center_weight": 0.2})
    (t, at, v, av), scale = embeddings(settings, training)
    parts = info_nce(t, v, scale), info_nce(at, av, scale)
    assert abs(parts[0] - parts[1]) > 0.02
    row = first_step(tmp_path, training, network={"center_weight": 0.2})
    assert row["loss"] == pytest.approx(0.2 * parts[0] + 0.8 * parts[1], abs=1e-4)
    assert (row["global_loss"], row["aligned_loss"]) == pytest.approx(parts, abs=1e-4)


def test_a_run_asks_for_the_pictures_of_its_network_and_takes_out_its_mean(tmp_path):
    training, held, half, spread = stills(8), stills(2, 50), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
    how = {"resize": "squash", "interpolation": "bilinear"}
    settings = config(steps=1, network={**how, "image_mean": list(half), "image_std": list(spread)})
    (t, at, v, av), scale = embeddings(settings, training, half, spread)
    result = train(settings, training, held, out=tmp_path, progress=False)
    expected = 0.5 * info_nce(t, v, scale) + 0.5 * info_nce(at, av, scale)
    assert read_log(result.folder)[0]["loss"] == pytest.approx(expected, abs=1e-4)
    assert all(shown == how for video in [*training, *held] for shown in video.shown)
    assert all(video.shown for video in [*training, *held])
    assert load_model(result.checkpoint, device="cpu").config.image_mean == half


def test_validation_has_the_vectors_that_embed_gives(tmp_path, monkeypatch):
    """Of videos that are not square, for a network that sees them whole; the first step changes no weight."""
    files = [clips.write(tmp_path / f"{i}.mp4", count=20 + i, size=(96, 32 + 16 * (i % 3))) for i in range(10)]
    videos = [VideoFile(path, [WORDS[i % 4]]) for i, path in enumerate(files)]
    seen, encode = [], Model.encode_frames
    monkeypatch.setattr(Model, "encode_frames", lambda *args: seen.append(encode(*args)) or seen[-1])
    changes = {"resize": "squash", "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    result = train(config(steps=1, network=changes), videos[:8], videos[8:], out=tmp_path / "run", progress=False)
    (found,) = seen
    model = load_model(result.checkpoint, device="cpu", precision="float32")
    embed_videos(files[8:], index=tmp_path / "index", model=model)
    stored = open_index(tmp_path / "index").vectors([video_id(path) for path in files[8:]])
    for vector, path in zip(found.vector.numpy(), files[8:], strict=True):
        np.testing.assert_allclose(vector, stored[video_id(path)], atol=1e-5)


def test_captions_of_one_video_are_negatives_for_the_reference_alone(tmp_path):
    """A video with two captions, each a sample of its own."""
    training = stills(7)
    training[0].captions += ("something else",)
    once = [Still(0, (caption,), 0) for caption in training[0].captions] + training[1:]
    (t, at, v, av), scale = embeddings(config(), once)
    for negatives, left_out in (("other-videos", [(0, 1), (1, 0)]), ("reference", [])):
        expected = 0.5 * info_nce(t, v, scale, left_out) + 0.5 * info_nce(at, av, scale, left_out)
        settings = config(steps=1, per_epoch="captions", negatives=negatives)
        result = train(settings, training, stills(2, 50), out=tmp_path / negatives, progress=False)
        assert read_log(result.folder)[0]["loss"] == pytest.approx(expected, abs=1e-4)


def test_accumulated_parts_count_as_one_step(tmp_path):
    """The same eight videos twice, in two parts: the mean of two equal gradients is that of one."""
    once = stills(8)
    twice = [
        Still(video.number + 100 * part, video.captions, video.meaning + 100 * part, companions=part)
        for part in (0, 1)
        for video in once
    ]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(once, twice[8:], strict=True))
    common = {"steps": 3, "optimiser": "reference", "clip_norm": 0.0}
    small = train(config(**common), once, stills(2, 50), out=tmp_path / "once", progress=False)
    large = train(
        config(**common, batch_size=16, accumulate=2), twice, stills(2, 50), out=tmp_path / "twice", progress=False
    )
    rows = [[row for row in read_log(result.folder) if "loss" in row] for result in (small, large)]
    for a, b in zip(*rows, strict=True):
        assert (b["loss"], b["gradient"]) == pytest.approx((a["loss"], a["gradient"]), rel=1e-3)
    weights = [load_model(r.folder / "last", device="cpu").network.state_dict() for r in (small, large)]
    assert all(torch.allclose(value, weights[1][key], atol=1e-4) for key, value in weights[0].items())


def test_the_moving_average_is_mostly_what_it_was(tmp_path):
    """The first step's rate is 0, so after two steps it is 0.9 of the start and 0.1 of the weights now."""
    training, settings = stills(8), config(steps=2, ema=0.9)
    begin = start(settings, training)[0].state_dict()
    result = train(settings, training, stills(2, 50), out=tmp_path, progress=False)
    now = torch.load(result.folder / "state.pt", weights_only=True)["parts"]["network"]
    kept = load_model(result.folder / "last", device="cpu", precision="float32").network.state_dict()
    moved = 0.0
    for key, value in kept.items():
        expected = 0.9 * begin[key].double() + 0.1 * now[key].double()
        assert torch.allclose(value.double(), expected, atol=1e-6), key
        moved += (now[key] - begin[key]).abs().sum().item()
    assert moved > 1


def test_the_logit_scale_is_clamped_after_every_step(tmp_path):
    assert TrainConfig().max_logit_scale == 100  # the reference's
    result = train(config(steps=2, max_logit_scale=10.0), stills(8), stills(2, 50), out=tmp_path, progress=False)
    assert read_log(result.folder)[0]["logit_scale"] == pytest.approx(10, abs=1e-3)
    kept = load_model(result.folder / "last", device="cpu", precision="float32").network.logit_scale
    assert kept.exp().item() <= 10 + 1e-4


def test_validation_reads_frames_without_jitter(tmp_path):
    training, held = stills(8), stills(2, 50)
    train(config(epochs=2), training, held, out=tmp_path, progress=False)
    assert len(held[0].asked) == 2
    assert [random for video in held for random in video.asked] == [None] * 4
    assert all(isinstance(random, np.random.RandomState) for video in training for random in video.asked)


def test_the_rate_of_a_recipe_decides_which_frames_are_trained_on(world, tmp_path):
    """Of a FiftyOne view, against frames that ``read_frames`` gives."""
    files = sorted(world[0].glob("*.mp4"))[:8]
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=str(path), captions=path.stem) for path in files])
    losses = {}
    for fps in (2.5, 5.0):
        settings = config(steps=1, sampling="reference", fps=fps, jitter=False, network={"max_frames": 20})
        result = train(settings, dataset, stills(2, 50), out=tmp_path / f"view-{fps}", progress=False)
        known = stills(8)
        for video, path in zip(known, files, strict=True):
            video.captions = (path.stem,)
            video.pixels = read_frames(path, policy="reference", fps=fps, count=20, size=16).pixels
        expected = train(settings, known, stills(2, 50), out=tmp_path / f"known-{fps}", progress=False)
        losses[fps] = read_log(result.folder)[0]["loss"]
        assert losses[fps] == read_log(expected.folder)[0]["loss"]
    assert losses[2.5] != losses[5.0]
    dataset.delete()
