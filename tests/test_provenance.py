"""Vectors of an index are of one network: other weights, heads, blocks or words are refused."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from clip2video_plugin import embed_videos, load_model, open_index, search
from clip2video_plugin.errors import Clip2VideoError, VideoIndexError
from clip2video_plugin.index import VideoIndex
from clip2video_plugin.model.installed import find_checkpoint
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.provenance import provenance
from clip2video_plugin.rows import video_id
from clip2video_plugin.video import preprocess
from clip2video_plugin.video.sampling import uniform_indices

from .video import clips

QUERY = "a red square moves left"


def changed(tmp_path, *, words=None, **config):
    """The embedded model's weights under another config.json or tokenizer.json, as files."""
    folder = tmp_path / "changed"
    folder.mkdir()
    for file in find_checkpoint()[1].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    found = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(found | config))
    if words:
        text = json.loads((folder / "tokenizer.json").read_text())
        vocab = text["model"]["vocab"]
        one, other = words
        vocab[one], vocab[other] = vocab[other], vocab[one]
        (folder / "tokenizer.json").write_text(json.dumps(text))
    return folder


CHANGES = [
    ({"vision_heads": 1}, "vision_heads 1"),
    ({"text_heads": 1}, "text_heads 1"),
    ({"temporal_heads": 1}, "temporal_heads 1"),
    ({"alignment": "clips"}, "alignment 'clips'"),
    ({"words": ("left</w>", "right</w>")}, "vocabulary"),
    ({"resize": "squash"}, "resize 'squash'"),
    ({"interpolation": "bilinear"}, "interpolation 'bilinear'"),
    ({"image_mean": [0.5, 0.5, 0.5]}, "image_mean [0.5, 0.5, 0.5]"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_the_same_weights_in_another_network_are_refused(world, world_index, tmp_path, change, named):
    other = load_model(changed(tmp_path, **change), device="cpu")
    assert other.sha256 == open_index(world_index).provenance.sha256
    for ask in (
        lambda: embed_videos([world[0]], index=world_index, model=other),
        lambda: search(QUERY, index=world_index, model=other),
        lambda: search(QUERY, index=world_index, model=tmp_path / "changed"),
    ):
        with pytest.raises(VideoIndexError, match="the same weights with") as error:
            ask()
        assert named in str(error.value)
        assert "\n" not in str(error.value)


def test_pictures_made_in_another_way_have_other_vectors_and_an_index_of_their_own(world, model, tmp_path):
    """Also of an index that was made before there were two ways: it is CLIP's."""
    wide = clips.write(tmp_path / "wide.mp4", size=(96, 32))
    squash = load_model(changed(tmp_path, resize="squash", image_std=[0.5, 0.5, 0.5]), device="cpu")
    vectors = {}
    for name, made_by, other in (("crop", model, squash), ("squash", squash, model)):
        uri = tmp_path / name
        embed_videos([wide], index=uri, model=made_by)
        vectors[name] = open_index(uri).vectors([video_id(wide)])[video_id(wide)]
        decoded = clips.sequential(wide)
        pictures = [preprocess(decoded[i][1], made_by.config.preprocessing) for i in uniform_indices(len(decoded), 12)]
        with torch.no_grad():
            seen = made_by.network.encode_video(torch.from_numpy(np.stack(pictures))[None], torch.ones(1, 12))
        np.testing.assert_allclose(vectors[name], seen.vector[0].numpy(), atol=1e-5)
        for ask in (
            lambda uri=uri, other=other: embed_videos([world[0]], index=uri, model=other),
            lambda uri=uri, other=other: search(QUERY, index=uri, model=other),
        ):
            with pytest.raises(VideoIndexError, match="resize 'squash'") as error:
                ask()
            assert "the usual resize" in str(error.value)
    assert vectors["crop"] @ vectors["squash"] < 0.99
    kept = json.loads(open_index(tmp_path / "crop").provenance.network)
    assert not {"resize", "interpolation", "image_mean", "image_std"} & kept.keys()  # as of indexes made before
    assert json.loads(open_index(tmp_path / "squash").provenance.network)["resize"] == "squash"


def test_a_loaded_model_of_other_weights_is_refused_in_a_search(world_index, tmp_path):
    own = load_model(device="cpu", precision="float32")
    with torch.no_grad():
        own.network.image.conv1.weight.mul_(1.5)
    save_checkpoint(tmp_path / "other", own.network, own.tokenizer)
    with pytest.raises(VideoIndexError, match="was made with model 'shapes'"):
        search(QUERY, index=world_index, model=load_model(tmp_path / "other", device="cpu"))


def test_what_belongs_to_a_query_alone_may_differ(world_index, tmp_path):
    other = load_model(changed(tmp_path, center_weight=0.3, max_words=20), device="cpu")
    assert search(QUERY, index=world_index, model=other, k=1).hits


def test_a_table_made_before_the_network_was_kept_takes_its_weights_as_before(model, tmp_path):
    made = replace(provenance(model), network="")
    VideoIndex.create(tmp_path, model.config.vector_dim, made)
    assert open_index(tmp_path).provenance == made
    assert search(QUERY, index=tmp_path, model=model).hits == []
    assert "network" not in str(open_index(tmp_path).provenance)


def test_a_model_has_its_identity_from_the_moment_of_loading(world, world_index, tmp_path):
    folder = changed(tmp_path)
    loaded = load_model(folder, device="cpu", precision="float32")
    (folder / "model.safetensors").write_bytes(b"replaced on disk afterwards")
    assert search(QUERY, index=world_index, model=loaded, k=1).hits
    assert search(QUERY, index=world_index, model=copy.deepcopy(loaded), k=1).hits
    weights, config = copy.copy(loaded.network.image.conv1.weight.data), loaded.config
    with torch.no_grad():
        loaded.network.image.conv1.weight.mul_(1.01)  # as training does
    refused(world, world_index, loaded)
    other = load_model(device="cpu", precision="float32")
    other.network.config = replace(config, alignment="clips")
    refused(world, world_index, other)
    other.network.config = config
    assert search(QUERY, index=world_index, model=other, k=1).hits
    other.network.load_state_dict({**other.network.state_dict(), "image.conv1.weight": weights * 2})
    refused(world, world_index, other)


def refused(world, index, model):
    for ask in (
        lambda: search(QUERY, index=index, model=model),
        lambda: embed_videos([world[0]], index=index, model=model),
    ):
        with pytest.raises(Clip2VideoError, match="was changed after it was loaded; save it"):
            ask()
