"""A sentence loads the text tower alone, from the file itself, and says what the whole model says."""

import dataclasses
import hashlib
import os
import shutil
import sys

import pytest
import torch

from clip2video_plugin import embed_videos, load_model, open_index, search
from clip2video_plugin.errors import CheckpointError, Clip2VideoError
from clip2video_plugin.model import Clip2Video, ModelConfig, tokenize
from clip2video_plugin.model.checkpoint import describe_checkpoint
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.model.tokenizer import load_tokenizer, train_tokenizer
from clip2video_plugin.provenance import provenance
from clip2video_plugin.query import load_for

from .gemma import gemma_json
from .test_siglip import SMALL as SIGLIP

WORDS = train_tokenizer(["a dog runs on the beach", "two people shake hands"], 600)
SIZES = {
    "image_size": 32,
    "patch_size": 16,
    "vision_width": 128,
    "vision_layers": 2,
    "vision_heads": 2,
    "vocab_size": WORDS.get_vocab_size(),
    "context_length": 77,
    "text_width": 64,
    "text_layers": 2,
    "text_heads": 1,
    "embed_dim": 32,
    "temporal_heads": 1,
}
VARIANTS = [
    {},
    {"temporal": "mean", "alignment": "none"},
    {"temporal": "mean", "alignment": "frames"},
    {"temporal": "transformer", "alignment": "clips"},
]
CAPTIONS = ["a dog runs on the beach", "two people shake hands", "Größe &amp; Form ✓"]


def saved(folder, *, seed=0, half=False, **options):
    torch.manual_seed(seed)
    save_checkpoint(folder, Clip2Video(ModelConfig(**SIZES, **options)), WORDS, half=half)
    return folder


def text_of(folder):
    return load_model(folder, device="cpu", text_only=True)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("options", VARIANTS)
def test_the_text_tower_alone_says_what_the_whole_model_says(tmp_path, options, half):
    folder = saved(tmp_path / "mine", half=half, **options)
    whole, text = load_model(folder, device="cpu"), text_of(folder)
    assert torch.equal(text.encode_captions(CAPTIONS).vector, whole.encode_captions(CAPTIONS).vector)
    assert provenance(text) == provenance(whole)
    assert text.card == whole.card
    assert text.network.image is None
    kept = {key.split(".")[0] for key in text.network.state_dict()}
    assert kept == {"text", "logit_scale"} | ({"alignment"} if whole.config.alignment != "none" else set())


@pytest.mark.parametrize("options", VARIANTS)
def test_padding_that_no_word_sees_is_left_out(tmp_path, options):
    text = text_of(saved(tmp_path / "mine", **options))
    padded = text.network.encode_text(*tokenize(CAPTIONS, text.tokenizer, text.config.max_words))
    torch.testing.assert_close(text.encode_captions(CAPTIONS).vector, padded.vector, atol=1e-6, rtol=0)
    assert len(text.encode_captions([]).vector) == 0


def test_siglip_for_sentences_alone(tmp_path):
    torch.manual_seed(0)
    config = dataclasses.replace(SIGLIP, temporal="mean", alignment="none")
    save_checkpoint(tmp_path / "siglip", Clip2Video(config), load_tokenizer(gemma_json()))
    whole, text = load_model(tmp_path / "siglip", device="cpu"), text_of(tmp_path / "siglip")
    assert torch.equal(text.encode_captions(CAPTIONS).vector, whole.encode_captions(CAPTIONS).vector)
    assert {key.split(".")[0] for key in text.network.state_dict()} == {"text", "logit_scale", "logit_bias"}
    assert provenance(text) == provenance(whole)


def test_its_weights_stay_in_the_file(tmp_path):
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("this system does not say what is mapped")
    folder = saved(tmp_path / "mine")
    text, whole = text_of(folder), load_model(folder, device="cpu")

    def mapped(network):
        with open("/proc/self/maps") as lines:
            ours = [line.split()[0].split("-") for line in lines if line.endswith(f"{folder}/model.safetensors\n")]
        places = [(int(begin, 16), int(end, 16)) for begin, end in ours]
        return [any(begin <= p.data_ptr() < end for begin, end in places) for p in network.parameters()]

    assert all(mapped(text.network))
    assert not any(mapped(whole.network))


def test_writing_to_its_weights_does_not_change_the_file(tmp_path):
    folder = saved(tmp_path / "mine")
    before = (folder / "model.safetensors").read_bytes()
    text = text_of(folder)
    with torch.no_grad():
        text.network.text.text_projection.zero_()
    assert (folder / "model.safetensors").read_bytes() == before
    with pytest.raises(CheckpointError, match="was changed after it was loaded"):
        provenance(text)


def test_videos_are_refused_with_what_to_do(model, world, tmp_path):
    text = load_model(device="cpu", text_only=True)
    frames = torch.zeros(2, 3, model.config.image_size, model.config.image_size)
    for ask in (
        lambda: text.encode_frames([frames.permute(0, 2, 3, 1).byte().numpy()]),
        lambda: text.network.encode_video(frames[None], torch.ones(1, 2)),
        lambda: text.network.frame_vectors(frames[None], torch.ones(1, 2)),
        lambda: text.network.embed_features(torch.zeros(1, 2, text.config.embed_dim), torch.ones(1, 2)),
        lambda: embed_videos([world[0]], index=tmp_path / "index", model=text),
        lambda: save_checkpoint(tmp_path / "mine", text.network, text.tokenizer),
    ):
        with pytest.raises(Clip2VideoError, match="loaded for sentences alone; load it wholly") as error:
            ask()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "mine").exists()


def test_a_search_by_name_finds_what_a_loaded_model_finds(world_index, model):
    text = load_model(device="cpu", text_only=True)
    query = "a red square moves left"
    hits = [search(query, index=world_index, model=given).hits for given in (None, model, text)]
    assert hits[0] == hits[1] == hits[2]
    assert hits[0]
    index = open_index(world_index)
    assert load_for(index).network.image is None
    assert load_for(index, model) is model


@pytest.mark.parametrize("content", [b"", b"cut off", "same size"])
def test_a_file_that_was_written_into_is_refused_and_ends_no_process(tmp_path, content):
    path = saved(tmp_path / "mine") / "model.safetensors"
    text = text_of(path.parent)
    text.encode_captions(CAPTIONS)
    with path.open("r+b") as file:
        if content == "same size":
            file.seek(-4096, os.SEEK_END)
            file.write(bytes(4096))
        else:
            file.truncate()
            file.write(content)
            file.truncate()
    with pytest.raises(CheckpointError, match=r"model\.safetensors was written to after model 'mine' was loaded; load"):
        text.encode_captions(CAPTIONS)


@pytest.mark.parametrize("change", ["replaced", "removed", "renamed"])
def test_a_folder_that_is_replaced_or_removed_later_changes_nothing(tmp_path, change):
    folder = saved(tmp_path / "mine")
    text = text_of(folder)
    if change == "replaced":
        saved(folder, seed=1)
    elif change == "removed":
        shutil.rmtree(folder)
    else:
        folder.rename(tmp_path / "yours")
    vectors = text.encode_captions(CAPTIONS).vector
    expected = load_model(saved(tmp_path / "same"), device="cpu").encode_captions(CAPTIONS).vector
    assert torch.equal(vectors, expected)


class When:
    """Does something once, when a file is opened next."""

    def __init__(self):
        self.path = self.act = None
        sys.addaudithook(self._watch)

    def opened(self, path, act):
        self.path, self.act = str(path), act

    def _watch(self, event, arguments):
        if event == "open" and self.path and str(arguments[0]) == self.path:
            self.path = None
            self.act()


@pytest.fixture(scope="module")
def when():
    return When()


@pytest.mark.parametrize("text_only", [False, True])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_is_replaced_while_it_is_read_is_one_of_the_two(tmp_path, when, file, text_only):
    folder, other = saved(tmp_path / "mine"), saved(tmp_path / "other", seed=1, centers=7, max_frames=6)
    when.opened(folder / file, lambda: saved(folder, seed=1, centers=7, max_frames=6))
    found, new = load_model(folder, device="cpu", text_only=text_only), load_model(other, device="cpu")
    assert when.path is None
    assert (found.sha256, found.config) == (new.sha256, new.config)
    assert torch.equal(found.encode_captions(CAPTIONS).vector, new.encode_captions(CAPTIONS).vector)


@pytest.mark.parametrize("text_only", [False, True])
def test_weights_that_are_written_into_while_they_are_read_are_refused(tmp_path, when, text_only):
    path = saved(tmp_path / "mine", vision_mlp_width=35_000) / "model.safetensors"  # large enough for a memo

    def overwrite():
        with path.open("r+b") as file:
            file.seek(-4096, os.SEEK_END)
            file.write(bytes(4096))

    when.opened(f"{path}.json", overwrite)
    with pytest.raises(CheckpointError, match=r"model\.safetensors was written to while it was read; try again"):
        load_model(path.parent, device="cpu", text_only=text_only)
    assert when.path is None
    found = load_model(path.parent, device="cpu", text_only=text_only)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "a folder", "bytes"])
def test_a_damaged_checkpoint_is_one_line_for_sentences_too(tmp_path, file, damage):
    path = saved(tmp_path / "mine") / file
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\xff\xfe" * 100)
    for ask in (lambda: text_of(path.parent), lambda: load_model(path.parent, device="cpu")):
        with pytest.raises(CheckpointError) as error:
            ask()
        assert "\n" not in str(error.value)
    if damage == "missing" and file != "config.json":
        assert str(error.value) == f"checkpoint {path.parent} has no {file}"


def test_weights_of_another_shape_are_refused_though_a_sentence_does_not_need_them(tmp_path):
    folder, other = saved(tmp_path / "mine"), saved(tmp_path / "other", max_frames=6, centers=7)
    shutil.copyfile(other / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"misshapen alignment\.centers: \[7, 32\], expected \[5, 32\]"):
        text_of(folder)


@pytest.mark.parametrize("options", VARIANTS)
def test_a_checkpoint_is_described_without_loading_it(tmp_path, options):
    folder = saved(tmp_path / "mine", **options)
    whole, described = load_model(folder, device="cpu", precision="float32"), describe_checkpoint(folder)
    for name in ("name", "folder", "config", "card", "sha256"):
        assert getattr(described, name) == getattr(whole, name)
    assert described.parameters == sum(p.numel() for p in whole.network.parameters())


def test_what_would_not_load_is_not_described(tmp_path):
    folder = saved(tmp_path / "mine")
    shutil.copyfile(saved(tmp_path / "other", centers=7) / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"misshapen alignment\.centers"):
        describe_checkpoint(folder)
    assert describe_checkpoint().name == load_model(device="cpu").name


def test_an_index_that_is_open_is_searched_with_its_own_model(world_index):
    assert search("a blue circle grows", index=open_index(world_index), k=1).hits
