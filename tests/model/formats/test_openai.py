"""OpenAI's CLIP, as an archive or a state dict, against transformers' CLIPModel of the same numbers."""

from pathlib import Path

import pytest
import torch

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.convert import import_checkpoint
from clip2video_plugin.model.formats import recognise
from clip2video_plugin.model.formats.form import Given
from clip2video_plugin.model.weights import Weights

from ..archive import Archive
from .foreign import extras, openai_state, shapes, without_numbers
from .peers import CLIPS_WORDS, clip_model, differences, features, few_words

CLOSE = 1e-5


@pytest.fixture(scope="module")
def truth():
    return clip_model(text=CLIPS_WORDS, projection=64)


def save(state, path, form="state dict"):
    if form == "TorchScript":
        torch.jit.save(torch.jit.script(Archive(state)), str(path))
    else:
        torch.save({"state_dict": state} if form == "wrapped" else state, path)
    return path


@pytest.mark.parametrize("form", ["TorchScript", "state dict", "wrapped"])
def test_features_equal_those_of_transformers(tmp_path, truth, form):
    state = openai_state(truth)
    folder = import_checkpoint(save(state | extras(state), tmp_path / "ViT-B-32.pt", form))
    assert folder.name == "vit-b-32"
    found = differences(features(truth), folder)
    assert max(found.values()) < CLOSE, found


def test_it_works_at_once_by_mean_pooling_and_says_zero_shot(tmp_path, truth):
    state = openai_state(truth)
    told = []
    folder = import_checkpoint(save(state | extras(state), tmp_path / "ViT-B-32.pt"), tell=told.append)
    model = load_model(folder, device="cpu", precision="float32")
    assert (model.config.temporal, model.config.alignment, model.card.training) == ("mean", "none", "zero-shot")
    assert told == []
    pixels = torch.randn(1, 4, 3, 32, 32)
    with torch.inference_mode():
        frames = truth.get_image_features(pixel_values=pixels[0]).pooler_output
        mean = (frames / frames.norm(dim=1, keepdim=True)).mean(dim=0)
        video = model.network.encode_video(pixels, torch.ones(1, 4)).vector[0]
    torch.testing.assert_close(video, mean / mean.norm())


def test_its_names_without_its_numbers_do_not_say_the_activation(tmp_path, truth):
    path = save(openai_state(truth), tmp_path / "clip.pt")
    with pytest.raises(CheckpointError, match="--activation quick_gelu or --activation gelu"):
        import_checkpoint(path)
    with pytest.raises(CheckpointError, match="--activation"):
        import_checkpoint(path, init_from_clip=True)
    folder = import_checkpoint(path, activation="quick_gelu", heads=(2, 1))
    assert max(differences(features(truth), folder).values()) < CLOSE
    other = import_checkpoint(path, activation="gelu", heads=(2, 1))
    assert min(differences(features(truth), other).values()) > 100 * CLOSE


@pytest.mark.parametrize("given", [{"activation": "gelu"}, {"heads": 4}])
def test_what_is_given_may_not_contradict_openais_code(tmp_path, truth, given):
    state = openai_state(truth)
    with pytest.raises(CheckpointError, match=r"but OpenAI's code says (quick_gelu|2); leave the option out"):
        import_checkpoint(save(state | extras(state), tmp_path / "clip.pt"), **given)


def test_a_start_for_training_says_that_it_is_untrained(tmp_path, truth):
    state = openai_state(truth)
    folder = import_checkpoint(save(state | extras(state), tmp_path / "clip.pt"), init_from_clip=True)
    model = load_model(folder, device="cpu")
    assert (model.config.temporal, model.config.alignment) == ("difference", "difference")
    assert (model.card.training, model.config.max_words) == ("untrained", 32)


def test_what_lies_beside_it_by_chance_is_not_its_own(tmp_path, truth):
    state = openai_state(truth)
    path = save(state | extras(state), tmp_path / "ViT-B-32.pt")
    few_words().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 768}')
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    model = load_model(import_checkpoint(path), device="cpu")
    assert model.config.image_mean == (0.48145466, 0.4578275, 0.40821073)
    assert model.tokenizer.get_vocab_size() == 49408


# Published sizes: no numbers, so that nothing is large


B32 = {"vision": 768, "layers": 12, "patch": 32, "grid": 7, "text": 512, "text_layers": 12, "embed": 512}
PUBLISHED = {
    "ViT-B/32": (B32, (12, 8), 224),
    "ViT-B/16": ({**B32, "patch": 16, "grid": 14}, (12, 8), 224),
    "ViT-L/14": (
        {"vision": 1024, "layers": 24, "patch": 14, "grid": 16, "text": 768, "text_layers": 12, "embed": 768},
        (16, 12),
        224,
    ),
    "ViT-L/14@336": (
        {"vision": 1024, "layers": 24, "patch": 14, "grid": 24, "text": 768, "text_layers": 12, "embed": 768},
        (16, 12),
        336,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_size_that_openai_published_fits(name):
    sizes, heads, side = PUBLISHED[name]
    numbers = {key: torch.tensor(0) for key in ("input_resolution", "context_length", "vocab_size")}
    weights = Weights(Path(f"{name}.pt"), without_numbers(shapes(**sizes)) | numbers, container="torchscript")
    made = recognise(weights).convert(weights, Given())
    config = made.config
    assert (config.vision_heads, config.text_heads) == heads
    assert (config.image_size, config.text_width, config.embed_dim) == (side, sizes["text"], sizes["embed"])
    assert (config.vision_layers, config.text_layers) == (sizes["layers"], sizes["text_layers"])
    assert {key: tuple(read().shape) for key, read in made.tensors.items()}["image.proj"] == (
        sizes["vision"],
        sizes["embed"],
    )


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        ("visual.conv1.weight", (768, 3, 32, 16), "only square images"),
        ("visual.positional_embedding", (49, 768), "only square images with one class token"),
        ("visual.proj", (768, 500), r"misshapen visual.proj: \[768, 500\], expected \[768, 512\]"),
        ("token_embedding.weight", (512,), "misshapen token_embedding.weight: .* expected 2 dimensions"),
    ],
)
def test_tensors_that_do_not_go_together_are_refused(key, shape, words):
    tensors = without_numbers(shapes(**B32) | {key: shape})
    weights = Weights(Path("clip.pt"), tensors)
    with pytest.raises(CheckpointError, match=words):
        recognise(weights).convert(weights, Given(activation="gelu"))
