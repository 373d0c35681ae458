"""Checkpoints are whole or refused; foreign weights convert strictly; no code in them runs."""

import json
import os
import pickle

import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model import Clip2Video, ModelConfig, clip_tokenizer, tokenize
from clip2video_plugin.model.convert import import_checkpoint, initialise_from_clip
from clip2video_plugin.model.installed import find_checkpoint, installed_checkpoints
from clip2video_plugin.model.reference import reference_key
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.model.tokenizer import END, START, train_tokenizer
from clip2video_plugin.model.weights import read_weights

from .archive import Archive, halved

# A CLIP of the released form in miniature: 64-wide heads, CLIP's vocabulary.
SIZES = {
    "image_size": 32,
    "patch_size": 16,
    "vision_width": 64,
    "vision_layers": 1,
    "vision_heads": 1,
    "vocab_size": 49408,
    "context_length": 77,
    "text_width": 64,
    "text_layers": 5,
    "text_heads": 1,
    "embed_dim": 64,
    "temporal_heads": 1,
}


def reference_state(**options):
    torch.manual_seed(0)
    network = Clip2Video(ModelConfig(**SIZES, **options))
    return network, {reference_key(key): value.clone() for key, value in network.state_dict().items()}


def clip_state():
    _, state = reference_state()
    clip = {key.removeprefix("clip."): value for key, value in state.items() if key.startswith("clip.")}
    return clip | {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }


class Hostile:
    def __reduce__(self):
        return os.system, ("echo code was run",)


@pytest.fixture(autouse=True)
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_MODELS", str(tmp_path / "models"))


def test_the_embedded_checkpoint_loads_and_is_small():
    model = load_model(device="cpu")
    _, folder = find_checkpoint()
    assert sum(file.stat().st_size for file in folder.iterdir()) < 15_000_000
    assert model.name == "shapes"
    assert len(model.sha256) == 64


def test_a_saved_checkpoint_loads_equal(tmp_path):
    network, _ = reference_state()
    save_checkpoint(tmp_path / "mine", network, clip_tokenizer())
    loaded = load_model(tmp_path / "mine", device="cpu", precision="float32")
    for key, value in loaded.network.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[key])
    assert loaded.config == network.config


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_network_of_fewer_bits_is_not_saved_over_a_checkpoint(tmp_path, precision):
    model = load_model(device="cpu", precision=precision)
    with pytest.raises(CheckpointError, match="is for running only; load it with precision 'float32'"):
        save_checkpoint(tmp_path / "mine", model.network, model.tokenizer)
    assert not (tmp_path / "mine").exists()


def test_something_else_in_the_place_of_the_network_is_named(model, tmp_path):
    path = str(tmp_path / "mine")
    for given, said in (
        ((path, path, model.tokenizer), "network is a str, not a Clip2Video; call save_checkpoint"),
        ((path, model, model.tokenizer), "network is a Model, not a Clip2Video"),
        ((path, model.network, path), "tokenizer is a str, not a Tokenizer"),
        ((model.network, path, model.tokenizer), "network is a str, not a Clip2Video"),
    ):
        with pytest.raises(CheckpointError, match=said):
            save_checkpoint(*given)
    assert not (tmp_path / "mine").exists()


def test_a_precision_that_is_not_there_is_named():
    with pytest.raises(CheckpointError, match="precision is 'int4'; allowed are auto, float32, bfloat16, int8"):
        load_model(precision="int4")
    with pytest.raises(CheckpointError, match="precision int8 is for the CPU; on meta use auto"):
        load_model(device="meta", precision="int8")


def test_a_clip2video_file_is_converted(tmp_path):
    network, state = reference_state()
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "pytorch_model.bin.2")
    folder = import_checkpoint(tmp_path / "pytorch_model.bin.2")
    model = load_model(folder.name, device="cpu", precision="float32")
    assert model.config == network.config
    torch.testing.assert_close(model.network.alignment.centers, network.alignment.centers.half().float())
    assert folder.name in installed_checkpoints()


@pytest.mark.parametrize("form", ["state dict", "TorchScript"])
def test_openais_clip_works_at_once_and_is_a_start_for_training_when_asked(tmp_path, form):
    path, state = tmp_path / "ViT-B-32.pt", clip_state()
    if form == "TorchScript":
        torch.jit.save(torch.jit.script(Archive(halved(state))), str(path))
    else:
        torch.save(state, path)
    half = (lambda t: t.half().float()) if form == "TorchScript" else (lambda t: t)
    for init_from_clip, temporal in ((False, "mean"), (True, "difference")):
        folder = import_checkpoint(path, init_from_clip=init_from_clip)
        assert folder.name == "vit-b-32"
        network = load_model(folder, device="cpu", precision="float32").network
        assert network.config.temporal == temporal
        torch.testing.assert_close(network.image.conv1.weight, half(state["visual.conv1.weight"]))


def test_temporal_parts_come_from_clip_as_in_the_reference():
    state = clip_state()
    network = initialise_from_clip(state)
    positions = state["positional_embedding"]
    torch.testing.assert_close(network.frame_positions.weight, positions)
    torch.testing.assert_close(network.difference.types.weight, positions[:2])
    assert network.config.temporal_layers == 4
    for i in range(4):
        ours = network.temporal.resblocks[i].state_dict()
        for key, value in ours.items():
            torch.testing.assert_close(value, state[f"transformer.resblocks.{i}.{key}"])
    for block in (network.difference.attention, network.alignment.clip_transformer):
        torch.testing.assert_close(block.resblocks[0].mlp.c_fc.weight, state["transformer.resblocks.0.mlp.c_fc.weight"])
    assert network.difference.norm.weight.eq(1).all()
    assert network.alignment.centers.std().item() == pytest.approx(0.125, rel=0.2)


def test_init_from_clip_is_for_clip_alone(tmp_path):
    torch.save(reference_state()[1], tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match="no OpenAI CLIP"):
        import_checkpoint(tmp_path / "model.bin", init_from_clip=True)


@pytest.mark.parametrize("key", ["emb_center", "clip.visual.proj"])
def test_a_missing_key_is_listed(tmp_path, key):
    _, state = reference_state()
    del state[key]
    torch.save(state, tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match=f"missing {key}"):
        import_checkpoint(tmp_path / "model.bin")


@pytest.mark.parametrize("wrap", [lambda h: h, lambda h: {"clip.visual.proj": torch.zeros(2), "x": h}])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, capfd, wrap):
    torch.save(wrap(Hostile()), tmp_path / "new.bin")
    torch.save(wrap(Hostile()), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(wrap(Hostile()) if wrap(1) == 1 else Hostile()))
    for name in ("new.bin", "old.bin", "plain.bin"):
        with pytest.raises(CheckpointError, match="refused"):
            import_checkpoint(tmp_path / name)
    assert "code was run" not in capfd.readouterr().out


def test_weights_that_are_whole_numbers_are_refused(tmp_path):
    state = reference_state()[1]
    torch.save(state | {"clip.visual.proj": state["clip.visual.proj"].long()}, tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match=r"clip\.visual\.proj holds torch\.int64; weights are floating numbers"):
        import_checkpoint(tmp_path / "model.bin")


def header(**tensors):
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (2**40).to_bytes(8, "little") + b"{}",
        header(w={"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}) + bytes(16),
        header(w={"dtype": "F32", "shape": [4], "data_offsets": [0, 2**50]}) + bytes(16),
        header(w={"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}) + bytes(16),
        header(w={"dtype": "F8_E8M0", "shape": [16], "data_offsets": [0, 16]}) + bytes(16),
        header(w={"dtype": "Q7", "shape": [4], "data_offsets": [0, 16]}) + bytes(16),
        header(w={"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}) + bytes(16),
        header(w=7) + bytes(16),
        header(),
    ],
)
def test_a_hostile_safetensors_header_is_one_line(tmp_path, content):
    model = load_model(device="cpu", precision="float32")
    save_checkpoint(tmp_path / "mine", model.network, model.tokenizer)
    (tmp_path / "mine" / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_model(tmp_path / "mine", device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04broken"])
def test_what_is_no_weight_file_is_named(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.bin"):
        read_weights(tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match="no file"):
        read_weights(tmp_path / "absent.bin")


@pytest.mark.parametrize("name", ["../escape", "a/b", "shapes", ".hidden"])
def test_a_bad_name_is_refused(tmp_path, name):
    torch.save(reference_state()[1], tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match="name is"):
        import_checkpoint(tmp_path / "model.bin", name=name)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_an_incomplete_or_damaged_checkpoint_is_named(tmp_path, file, damage):
    model = load_model(device="cpu", precision="float32")
    folder = tmp_path / "broken"
    save_checkpoint(folder, model.network, model.tokenizer)
    if damage == "missing":
        (folder / file).unlink()
    else:
        (folder / file).write_bytes((folder / file).read_bytes()[:100])
    with pytest.raises(CheckpointError):
        load_model(folder, device="cpu")


def test_weights_that_do_not_fit_the_configuration_are_refused(tmp_path):
    model = load_model(device="cpu", precision="float32")
    save_checkpoint(tmp_path / "other", model.network, model.tokenizer)
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps(config | {"centers": 7}))
    with pytest.raises(CheckpointError, match=r"misshapen alignment\.centers"):
        load_model(tmp_path / "other", device="cpu")


def test_an_unknown_model_lists_those_there_are():
    with pytest.raises(CheckpointError, match="no model 'nope'; there are shapes"):
        load_model("nope")
    with pytest.raises(CheckpointError, match="device 'quantum' cannot be used"):
        load_model(device="quantum")


def test_a_tokenizer_learned_from_captions_is_of_clips_form():
    captions = ["a red square moves left", "a blue circle grows", "two things at once"]
    tokenizer = train_tokenizer(captions, 700)
    ids, mask = tokenize([*captions, "never seen wörds ✓"], tokenizer, 16)
    assert tokenizer.token_to_id(END) == tokenizer.get_vocab_size() - 1
    assert ids[:, 0].eq(tokenizer.token_to_id(START)).all()
    assert ids.argmax(dim=1).tolist() == (mask.sum(dim=1) - 1).tolist()
    assert mask[0].sum() == 7  # one token a word
