"""Which file of a folder is read, and what beside it belongs to it."""

import json

import pytest
import safetensors.torch
import torch

from clip2video_plugin.model.weights import read_weights

from .weight_files import refused, same, save_safetensors, save_zip

HUGGING_FACE = {"model_type": "clip", "hidden_act": "gelu"}
OPEN_CLIP = {"model_cfg": {"embed_dim": 4}, "preprocess_cfg": {}}


def value(path):
    return read_weights(path).tensors["w.w"].item()


def put(folder, name, number):
    save = save_safetensors if name.endswith("safetensors") else save_zip
    save({"w.w": torch.tensor(float(number))}, folder / name)


def put_sharded(folder, name, number):
    first, last = (name.replace(".", f"-0000{n}-of-00002.", 1) for n in (1, 2))
    save = save_safetensors if name.endswith("safetensors") else save_zip
    save({"w.w": torch.tensor(float(number))}, folder / first)
    save({"v.w": torch.tensor(-1.0)}, folder / last)
    index = {"metadata": {"total_size": 8}, "weight_map": {"w.w": first, "v.w": last}}
    (folder / f"{name}.index.json").write_text(json.dumps(index))


def test_of_several_files_in_a_folder_the_first_of_a_fixed_order_is_read(tmp_path):
    order = (
        (put, "epoch_3.pt"),
        (put, "open_clip_pytorch_model.bin"),
        (put_sharded, "pytorch_model.bin"),
        (put, "pytorch_model.bin"),
        (put, "open_clip_model.safetensors"),
        (put_sharded, "model.safetensors"),
        (put, "model.safetensors"),
    )
    for number, (write, name) in enumerate(order):
        write(tmp_path, name, number)
        assert value(tmp_path) == number
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert value(link) == 6


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.ckpt", "a.bin", "pytorch_model.bin.2", "a.safetensors"])
def test_the_only_weight_file_of_a_folder_is_read(tmp_path, name):
    put(tmp_path, name, 1)
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / ".a.pt").write_text("x")
    assert value(tmp_path) == 1


def test_a_folder_of_several_or_no_weights_says_so(tmp_path):
    refused(tmp_path, "holds no weight file; expected model.safetensors, ")
    put(tmp_path, "b.pt", 1)
    put(tmp_path, "a.bin", 2)
    refused(tmp_path, r"holds a\.bin, b\.pt; name the one that is meant")
    assert value(tmp_path / "b.pt") == 1


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_shards_are_read_together_by_folder_or_index_and_not_one_by_one(tmp_path, name):
    put_sharded(tmp_path, name, 3)
    for path in (tmp_path, tmp_path / f"{name}.index.json"):
        assert same(read_weights(path).tensors, {"w.w": torch.tensor(3.0), "v.w": torch.tensor(-1.0)})
    shard = tmp_path / name.replace(".", "-00001-of-00002.", 1)
    refused(shard, rf"is a part of several; name the folder, or {name}\.index\.json")
    (tmp_path / f"{name}.index.json").unlink()
    refused(tmp_path, rf"holds parts of a whole, but no {name}\.index\.json")
    alone = shard.rename(tmp_path / name.replace(".", "-00001-of-00001.", 1))
    assert same(read_weights(alone).tensors, {"w.w": torch.tensor(3.0)})


@pytest.mark.parametrize(
    "place", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", "a\0b", "\ud800"]
)
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path, place):
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    put(tmp_path, "x.safetensors", 1)
    put(folder / "a", "b.safetensors", 1)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w.w": place}}))
    refused(folder, "is refused: it names .*, which is not in its folder")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "index.json cannot be read"),
        (b"[]", "index.json cannot be read: it holds a list; expected an object"),
        (b"[" * 100000, "index.json cannot be read"),
        (b"{}", "is no index of weights"),
        (b'{"weight_map": {}}', "is no index of weights"),
        (b'{"weight_map": {"w.w": 3}}', "is no index of weights"),
        (b'{"weight_map": {"w.w": "a.bin", "v": "b.bin", "u": "c.bin"}}', "files that are missing: b.bin, c.bin"),
        (b'{"weight_map": {"w.w": "a.bin", "v": "a.bin"}}', "and a.bin do not go together: only one of them has v"),
        (b'{"weight_map": {"v": "a.bin"}}', "and a.bin do not go together: only one of them has v, w.w"),
        (b'{"weight_map": {"w.w": "model.safetensors.index.json"}}', "is JSON, not weights"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(tmp_path, content, words):
    put(tmp_path, "a.bin", 1)
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    refused(tmp_path, words)


def test_what_lies_beside_weights_of_a_usual_name_is_theirs(tmp_path):
    for name in ("model.safetensors", "open_clip_model.safetensors", "ViT-B-32.pt"):
        put(tmp_path, name, 1)
    (tmp_path / "config.json").write_text(json.dumps(HUGGING_FACE))
    (tmp_path / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP))
    (tmp_path / "preprocessor_config.json").write_text('{"do_resize": true}')
    (tmp_path / "tokenizer.json").write_text("{}")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        weights = read_weights(path)
        assert weights.config == HUGGING_FACE
        assert weights.preprocessor == {"do_resize": True}
        assert weights.tokenizer == tmp_path / "tokenizer.json"
    assert read_weights(tmp_path / "open_clip_model.safetensors").config == OPEN_CLIP
    other = read_weights(tmp_path / "ViT-B-32.pt")  # whose these are nobody knows
    assert (other.config, other.preprocessor, other.tokenizer) == ({}, {}, None)


def test_what_lies_beside_the_only_weight_file_is_its_own_where_it_speaks_of_weights(tmp_path):
    put(tmp_path, "ViT-B-32.pt", 1)
    for config, expected in ((HUGGING_FACE, HUGGING_FACE), ({"lr": 1}, {}), ([1], {}), (OPEN_CLIP, OPEN_CLIP)):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert read_weights(tmp_path / "ViT-B-32.pt").config == expected
    (tmp_path / "config.json").write_text("{")
    assert read_weights(tmp_path / "ViT-B-32.pt").config == {}
    refused(tmp_path, r"config\.json cannot be read")


def test_a_checkpoint_of_ours_is_read_with_its_configuration():
    from clip2video_plugin.model.installed import embedded_folder

    weights = read_weights(embedded_folder())
    assert weights.config == json.loads((embedded_folder() / "config.json").read_text())
    assert same(weights.tensors, safetensors.torch.load_file(embedded_folder() / "model.safetensors"))
    assert weights.tokenizer == embedded_folder() / "tokenizer.json"
