"""Checkpoints: ours, and those of others in every container."""

import io
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..target import Files, Room, Target, Wrong

SIZES = {
    "image_size": 16, "patch_size": 8, "vision_width": 8, "vision_layers": 1, "vision_heads": 2,
    "vocab_size": 520, "context_length": 16, "text_width": 8, "text_layers": 1, "text_heads": 2,
    "embed_dim": 8, "temporal_layers": 1, "temporal_heads": 2, "max_frames": 4, "max_words": 8,
}  # fmt: skip


def _state():
    import torch

    torch.manual_seed(0)
    return {
        "visual.conv1.weight": torch.randn(4, 3, 2, 2),
        "visual.proj": torch.randn(4, 3).bfloat16(),
        "ln_final.weight": torch.randn(3).half(),
        "positional_embedding": torch.randn(5, 3).double(),
        "logit_scale": torch.tensor(4.6),
        "steps.num_batches_tracked": torch.tensor(3),
    }


def _script(state) -> bytes:
    import torch

    from tests.model.weight_files import scripted

    target = io.BytesIO()
    torch.jit.save(scripted(state), target)
    return target.getvalue()


def make_weights(place: Path) -> Iterator[tuple[str, Files]]:
    import safetensors.torch
    import torch

    def saved(value, **how) -> bytes:
        target = io.BytesIO()
        torch.save(value, target, **how)
        return target.getvalue()

    state = _state()
    wrapped = {
        "epoch": 3,
        "state_dict": {f"module.{key}": value for key, value in state.items()},
        "optimizer": {"lr": 0.1},
    }
    large = {**state, "large.weight": torch.zeros(200, 200)}
    for name, value in {"plain": state, "wrapped": wrapped, "large": large}.items():
        yield f"zip-{name}", {"weights.pt": saved(value)}
        yield f"legacy-{name}", {"weights.pt": saved(value, _use_new_zipfile_serialization=False)}
    yield "torchscript", {"weights.pt": _script(state)}
    whole = safetensors.torch.save(state, {"format": "pt"})
    yield "safetensors", {"model.safetensors": whole}
    yield (
        "folder",
        {
            "model.safetensors": whole,
            "config.json": b'{"model_type": "clip"}',
            "preprocessor_config.json": b'{"size": 224}',
        },
    )
    names = list(state)
    parts = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    index = {"weight_map": {name: file for file, some in parts.items() for name in some}}
    shards = {file: safetensors.torch.save({name: state[name] for name in some}) for file, some in parts.items()}
    yield "shards", {"model.safetensors.index.json": json.dumps(index).encode(), **shards}


def read_weights(files: Files, room: Room) -> None:
    from clip2video_plugin.model.formats import recognise
    from clip2video_plugin.model.weights import read_weights as read

    place = room.put(files)
    found = read(place / next(iter(files)) if len(files) == 1 else place)
    total = sum(
        float(value.double().nan_to_num().sum()) for value in found.tensors.values()
    )  # all numbers are looked at
    found.give_back()
    if not isinstance(total, float):
        raise Wrong("weights that are no numbers")
    recognise(found)


@lru_cache
def _checkpoint() -> Files:
    """A checkpoint of a few thousand numbers."""
    import tempfile

    import torch

    from clip2video_plugin.model import Clip2Video, ModelConfig
    from clip2video_plugin.model.card import Card
    from clip2video_plugin.model.saving import save_checkpoint
    from clip2video_plugin.model.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["a dog runs", "a cat sleeps", "a bird"], 520)
    torch.manual_seed(0)
    network = Clip2Video(ModelConfig(**SIZES | {"vocab_size": tokenizer.get_vocab_size()}))
    with tempfile.TemporaryDirectory() as place:
        card = Card(training="trained", trained_on="nothing", licence="MIT")
        save_checkpoint(Path(place) / "model", network, tokenizer, card=card)
        return {path.name: path.read_bytes() for path in (Path(place) / "model").iterdir()}


def make_checkpoints(place: Path) -> Iterator[tuple[str, Files]]:
    yield "checkpoint", _checkpoint()


def read_config(files: Files, room: Room) -> None:
    from clip2video_plugin.model.checkpoint import describe_checkpoint

    found = describe_checkpoint(room.put(files))
    json.dumps(found.config.to_dict())
    str(found.card.sentence).encode()


def read_checkpoint(files: Files, room: Room) -> None:
    import torch

    from clip2video_plugin import load_model

    model = load_model(room.put(files), device="cpu", precision="float32")
    found = model.encode_captions(["a dog runs", "Ein Hund läuft \U0001f600"])
    with torch.inference_mode():
        frames = torch.zeros(1, model.config.max_frames, 3, model.config.image_size, model.config.image_size)
        video = model.network.encode_video(frames, torch.ones(1, model.config.max_frames, dtype=torch.int64))
    if len(found.global_vector) != 2 or len(video.global_vector) != 1:
        raise Wrong("vectors of another number")


def read_import(files: Files, room: Room) -> None:
    from clip2video_plugin.model.convert import import_checkpoint

    place = room.put(files)
    import_checkpoint(place, name="imported")


def make_tokenizers(place: Path) -> Iterator[tuple[str, Files]]:
    small = json.loads(_checkpoint()["tokenizer.json"])
    yield "clip", {"tokenizer.json": json.dumps(small).encode()}
    vocab = {word: n for n, word in enumerate(["<pad>", "<eos>", "<unk>", "\u2581", "a", "d", "o", "g", "do", "dog"])}
    gemma = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": [["d", "o"], ["do", "g"]]},
    }  # fmt: skip
    yield "gemma", {"tokenizer.json": json.dumps(gemma).encode()}


def read_tokenizer(files: Files, room: Room) -> None:
    from clip2video_plugin.errors import CheckpointError
    from clip2video_plugin.model.identity import vocabulary
    from clip2video_plugin.model.tokenizer import load_tokenizer, tokenize

    content = files.get("tokenizer.json", b"")
    try:
        text = content.decode()
    except ValueError:
        raise CheckpointError("no text") from None  # as reading.read_text says
    tokenizer = load_tokenizer(text)
    ids, mask = tokenize(["a dog", "Ein Hund \U0001f600", "x" * 500], tokenizer, 8)
    if tuple(ids.shape) != (3, 8) or int(ids.min()) < 0 or int(mask.sum(dim=1).min()) < 1:
        raise Wrong(f"ids of shape {tuple(ids.shape)}")
    vocabulary(content)


WORDS = (b'"dtype"', b'"F32"', b'"shape"', b'"data_offsets"', b'"BF16"', b'"__metadata__"')
STILL = ("model.safetensors", "tokenizer.json")
TARGETS = (
    Target("weights", "weights of others, in every container", make_weights, read_weights, 50),
    Target("config", "config.json of checkpoints", make_checkpoints, read_config, 20, still=STILL),
    Target("checkpoint", "our checkpoints, loaded and used", make_checkpoints, read_checkpoint, 10),
    Target("import", "our checkpoints, imported as those of others", make_checkpoints, read_import, 8),
    Target("tokenizer", "tokenizer.json", make_tokenizers, read_tokenizer, 20),
)  # fmt: skip
