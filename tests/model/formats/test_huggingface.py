"""Hugging Face's CLIPModel, saved by transformers and imported: the same features, within 1e-5 of the largest."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor, CLIPProcessor, CLIPTokenizer

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.convert import import_checkpoint
from clip2video_plugin.model.tokenizer import END, clip_tokenizer, tokenize, train_tokenizer

from .peers import CLIPS_WORDS, clip_model, differences, features, few_words

CLOSE = 1e-5
WIDE = {"hidden_size": 320, "num_attention_heads": 4, "intermediate_size": 1280}  # heads of 80
CONFIGURATIONS = {
    "quick gelu": {"both": {"hidden_act": "quick_gelu"}},
    "gelu": {"both": {"hidden_act": "gelu"}},
    "gelu tanh": {"both": {"hidden_act": "gelu_pytorch_tanh"}},
    "heads of 80": {"vision": WIDE, "text": WIDE, "both": {"hidden_act": "gelu"}},
    "as wide as ViT-H": {
        "vision": {"hidden_size": 1280, "num_attention_heads": 16, "intermediate_size": 5120, "num_hidden_layers": 1},
        "text": {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "num_hidden_layers": 1},
        "projection": 1024,
        "both": {"hidden_act": "gelu"},
    },
    "text as wide as the embedding": {"projection": 64},
    "embedding wider than both": {"projection": 256},
    "MLPs of other widths": {"vision": {"intermediate_size": 300}, "text": {"intermediate_size": 100}},
    "another eps": {"both": {"layer_norm_eps": 1e-2}},
    "the old token of the end": {"text": {"eos_token_id": 2, "bos_token_id": 0}},
    "CLIP's own words": {"text": CLIPS_WORDS},
}
FULL = {
    "ViT-B/32": {
        "vision": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        | {"image_size": 224, "patch_size": 32},
        "text": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
        | CLIPS_WORDS,
        "projection": 512,
    },
    "ViT-L/14": {
        "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
        | {"image_size": 224, "patch_size": 14},
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        | CLIPS_WORDS,
        "projection": 768,
    },
}


@pytest.fixture
def saved(tmp_path):
    """A small CLIPModel, and the folder that transformers saved it to, with its tokenizer."""

    def save(**configuration):
        truth = clip_model(**configuration)
        truth.save_pretrained(tmp_path / "theirs")
        if truth.config.text_config.vocab_size == few_words().get_vocab_size():
            few_words().save(str(tmp_path / "theirs" / "tokenizer.json"))
        return truth, tmp_path / "theirs"

    return save


def edit(folder, name="config.json", **values):
    """Changes a JSON file: ``text_config__hidden_size=3`` sets a key within, None takes one out."""
    content = json.loads((folder / name).read_text())
    for key, value in values.items():
        *within, last = key.split("__")
        place = content
        for part in within:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_features_equal_those_of_transformers(saved, configuration):
    truth, folder = saved(**CONFIGURATIONS[configuration])
    found = differences(features(truth), import_checkpoint(folder))
    assert max(found.values()) < CLOSE, found


@pytest.mark.parametrize("size", FULL)
def test_features_of_full_size_equal_those_of_transformers(tmp_path, size):
    """Seconds and two gigabytes of memory; nothing of it stays on the disk."""
    truth = clip_model(**FULL[size])
    truth.save_pretrained(tmp_path / "theirs")
    expected = features(truth, images=1, captions=2, length=77)
    del truth
    folder = import_checkpoint(tmp_path / "theirs")
    shutil.rmtree(tmp_path / "theirs")
    try:
        found = differences(expected, folder)
    finally:
        shutil.rmtree(folder)
    assert max(found.values()) < CLOSE, found


@pytest.mark.parametrize("form", ["sharded", "pytorch_model.bin", "half"])
def test_every_way_of_saving_gives_the_same(saved, form):
    truth, folder = saved()
    if form == "half":
        truth = truth.half()
        truth.save_pretrained(folder)
    if form == "sharded":
        (folder / "model.safetensors").unlink()
        truth.save_pretrained(folder, max_shard_size="500KB")
        assert len(list(folder.glob("*.safetensors"))) > 2
    if form == "pytorch_model.bin":
        torch.save(load_file(folder / "model.safetensors"), folder / form)
        (folder / "model.safetensors").unlink()
    found = differences(features(truth.float()), import_checkpoint(folder))
    assert max(found.values()) < CLOSE, found


def test_another_activation_or_other_heads_would_be_seen(saved):
    truth, folder = saved()
    expected = features(truth)
    edit(folder, vision_config__hidden_act="gelu", text_config__hidden_act="gelu")
    assert min(differences(expected, import_checkpoint(folder)).values()) > 100 * CLOSE
    edit(folder, vision_config__hidden_act="quick_gelu", text_config__hidden_act="quick_gelu")
    edit(folder, vision_config__num_attention_heads=4)
    found = differences(expected, import_checkpoint(folder))
    assert found["images"] > 100 * CLOSE
    assert found["texts"] < CLOSE


def test_what_it_becomes_is_mean_pooling_and_says_so(saved):
    _, folder = saved()
    model = load_model(import_checkpoint(folder), device="cpu")
    assert (model.config.temporal, model.config.alignment, model.config.max_words) == ("mean", "none", 77)
    assert (model.config.vision_mlp_width, model.config.text_mlp_width) == (None, None)
    assert (model.card.training, model.card.source) == ("zero-shot", "theirs")
    assert model.name == "theirs"


def test_a_key_that_config_json_leaves_out_has_transformers_usual_value(saved):
    truth, folder = saved()
    edit(folder, vision_config__hidden_act=None, text_config__layer_norm_eps=None, text_config__num_attention_heads=8)
    edit(folder, text_config__max_position_embeddings=None, text_config__num_attention_heads=1)
    assert max(differences(features(truth), import_checkpoint(folder)).values()) < CLOSE


def test_of_a_section_that_is_there_twice_the_second_counts(saved):
    truth, folder = saved()
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit(folder, text_config__num_attention_heads=2, text_config_dict=text, vision_config_dict={})
    edit(folder, vision_config_dict=json.loads((folder / "config.json").read_text())["vision_config"])
    assert max(differences(features(truth), import_checkpoint(folder)).values()) < CLOSE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text_config__hidden_size": 96}, "contradicts the tensors: text_config.hidden_size is 96, not 64"),
        ({"vision_config__num_hidden_layers": 2}, "vision_config.num_hidden_layers is 2, not 3"),
        ({"vision_config__intermediate_size": 100}, "vision_config.intermediate_size is 100, not 512"),
        ({"vision_config__image_size": 224}, "vision_config.image_size is 224, not 32"),
        ({"vision_config__patch_size": 16}, "vision_config.patch_size is 16, not 8"),
        ({"text_config__vocab_size": 49408}, "text_config.vocab_size is 49408, not 540"),
        ({"projection_dim": 512}, "projection_dim is 512, not 48"),
        ({"text_config__hidden_act": "gelu"}, "hidden_act is 'quick_gelu' for images and 'gelu' for text"),
        (
            {"text_config__hidden_act": "relu", "vision_config__hidden_act": "relu"},
            "hidden_act is 'relu'; allowed are quick_gelu, gelu, gelu_pytorch_tanh",
        ),
        ({"vision_config__num_attention_heads": 3}, "3 heads do not divide the image tower's width of 128"),
        ({"vision_config__num_attention_heads": 0}, "num_attention_heads is 0; it must be a positive whole number"),
        ({"vision_config__layer_norm_eps": 2, "text_config__layer_norm_eps": 2}, "layer_norm_eps is 2"),
        ({"text_config": "clip"}, "text_config is 'clip'; it must be an object"),
        ({"text_config__eos_token_id": 5}, "read at token 5 .*tokenizer ends it with 539"),
        ({"text_config__eos_token_id": [2, 539]}, "read at token"),
        ({"model_type": "siglip"}, "config.json beside it is of a 'siglip'"),
        ({"model_type": "metaclip_2"}, "is of a 'metaclip_2', which is not read"),
        ({"quantization_config": {"bits": 4}}, "is quantised; take the original"),
    ],
)
def test_a_configuration_that_contradicts_is_refused_and_named(saved, tmp_path, change, words):
    _, folder = saved()
    edit(folder, **change)
    with pytest.raises(CheckpointError, match=words):
        import_checkpoint(folder)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"heads": 4}, r"--heads \(image\) is 4, but config.json says 2"),
        ({"heads": (2, 8)}, r"--heads \(text\) is 8, but config.json says 1"),
        ({"activation": "gelu"}, "--activation is gelu, but config.json says quick_gelu"),
        ({"heads": (2, 1, 1)}, "heads is"),
        ({"heads": 0}, "heads is 0"),
        ({"activation": "relu"}, "activation is 'relu'; allowed are quick_gelu, gelu, gelu_tanh"),
        ({"options": {"center_weight": 0.3}}, "center_weight does not apply to it; allowed are max_frames, max_words"),
    ],
)
def test_what_is_given_may_not_contradict_it(saved, given, words):
    _, folder = saved()
    with pytest.raises(CheckpointError, match=words):
        import_checkpoint(folder, **given)
    import_checkpoint(folder, heads=(2, 1), activation="quick_gelu")


def test_without_a_configuration_what_tensors_cannot_say_must_be_given(saved):
    truth, folder = saved(both={"hidden_act": "gelu"})
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"--activation quick_gelu or --activation gelu; nor how .* 128"):
        import_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"its image tower has, 128 numbers wide .*: --heads 16$"):
        import_checkpoint(folder, activation="gelu")
    found = differences(features(truth), import_checkpoint(folder, activation="gelu", heads=2))
    assert max(found.values()) < CLOSE, found


@pytest.mark.parametrize(
    ("width", "text", "words"),
    [
        (1280, 64, "image tower has, 1280"),
        (1664, 64, "image tower has, 1664"),
        (768, 80, "text tower has, 80 .* 16,20"),
    ],
)
def test_heads_that_are_not_known_are_never_guessed(saved, width, text, words):
    _, folder = saved(
        vision={"hidden_size": width, "num_attention_heads": width // 64, "num_hidden_layers": 1},
        text={"hidden_size": text, "num_attention_heads": 1},
    )
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=words):
        import_checkpoint(folder, activation="gelu")


def test_positions_of_old_files_are_left_out_and_that_is_said(saved):
    truth, folder = saved()
    old = {f"{tower}_model.embeddings.position_ids": torch.arange(5)[None] for tower in ("text", "vision")}
    save_file(load_file(folder / "model.safetensors") | old, folder / "model.safetensors")
    told = []
    assert max(differences(features(truth), import_checkpoint(folder, tell=told.append)).values()) < CLOSE
    assert told == ["left out, having no place here: position_ids"]


def test_importing_again_replaces_and_says_so(saved):
    _, folder = saved()
    told = []
    import_checkpoint(folder, name="mine", tell=told.append)
    assert told == []
    import_checkpoint(folder, name="mine", tell=told.append)
    assert told == ["replaced the checkpoint 'mine' that was there"]


@pytest.mark.parametrize("key", ["visual_projection.weight", "text_model.encoder.layers.1.self_attn.k_proj.bias"])
def test_every_wrong_key_is_named_by_its_name_in_the_file(saved, key):
    _, folder = saved()
    state = load_file(folder / "model.safetensors")
    for wrong, words in (
        ({**state, key: state[key][..., :-1].contiguous()}, f"(misshapen|contradicts).*{key}|48, not 47|projection"),
        ({**state, "extra.weight": torch.ones(1)}, "1 keys do not fit the network: unexpected extra.weight"),
    ):
        save_file(wrong, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=words):
            import_checkpoint(folder)
    del state["text_model.encoder.layers.1.self_attn.k_proj.bias"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing text_model.encoder.layers.1.self_attn.k_proj.bias \[64\]"):
        import_checkpoint(folder)


def test_of_many_wrong_keys_a_line_names_the_first(saved):
    _, folder = saved()
    extra = {f"adapter.{n}": torch.ones(1) for n in range(500)}
    save_file(load_file(folder / "model.safetensors") | extra, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"500 keys do not fit .*; and 492 more") as error:
        import_checkpoint(folder)
    assert len(str(error.value)) < 600


# Words


def their_tokenizer():
    """transformers' own, of CLIP's vocabulary."""
    model = json.loads(clip_tokenizer().to_str())["model"]
    return CLIPTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])


CAPTIONS = ["A man is cooking  pasta", "it's 3 dogs & 2 cats!", "naïve café, über-cool ✓ 日本", "x " * 100]


def test_clips_tokenizer_beside_the_weights_gives_transformers_tokens(saved):
    _, folder = saved(text=CLIPS_WORDS)
    theirs = their_tokenizer()
    theirs(CAPTIONS, padding="max_length", truncation=True, max_length=9)  # leaves marks in what is saved
    theirs.save_pretrained(folder)
    model = load_model(import_checkpoint(folder), device="cpu")
    ids, mask = tokenize(CAPTIONS, model.tokenizer, 77)
    expected = theirs(CAPTIONS, truncation=True, max_length=77)["input_ids"]
    assert [row[: n.sum()].tolist() for row, n in zip(ids, mask, strict=True)] == expected
    (folder / "tokenizer.json").unlink()
    assert model.vocabulary == load_model(import_checkpoint(folder), device="cpu").vocabulary


def test_a_tokenizer_of_its_own_is_taken(saved):
    own = train_tokenizer(["a red square moves", "a blue circle grows"], 600)
    size = own.get_vocab_size()
    truth, folder = saved(text={"vocab_size": size, "eos_token_id": own.token_to_id(END)})
    own.enable_truncation(5)
    own.save(str(folder / "tokenizer.json"))
    folder_of_ours = import_checkpoint(folder)
    assert max(differences(features(truth), folder_of_ours).values()) < CLOSE
    model = load_model(folder_of_ours, device="cpu")
    assert tokenize(["a red square moves a red square"], model.tokenizer, 30)[1].sum() == 9


def test_words_that_do_not_belong_to_the_network_are_refused(saved):
    own = train_tokenizer(["a red square moves"], 600)
    size = own.get_vocab_size()
    _, folder = saved(text={"vocab_size": size, "eos_token_id": size - 1})
    (folder / "tokenizer.json").unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=f"has {size} tokens, and CLIP's tokenizer 49408; put its tokenizer.json"):
        import_checkpoint(folder)
    clip_tokenizer().save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=f"tokenizer.json has 49408 tokens, the network {size}"):
        import_checkpoint(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
        import_checkpoint(folder)


def test_a_tokenizer_with_words_above_the_end_is_refused(saved):
    own = train_tokenizer(["a red square moves"], 600)
    end = own.token_to_id(END)
    own.add_tokens(["<new>"])
    _, folder = saved(text={"vocab_size": own.get_vocab_size(), "eos_token_id": end})
    own.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"has tokens above <.endoftext.>"):
        import_checkpoint(folder)


def test_a_tokenizer_of_another_form_is_refused(saved):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({f"w{n}": n for n in range(50)}, unk_token="w0"))
    _, folder = saved(text={"vocab_size": 50, "eos_token_id": 49})
    words.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="not of CLIP's form"):
        import_checkpoint(folder)


# Pictures


def test_pictures_are_made_as_the_folder_says(saved):
    _, folder = saved()
    CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size=32, image_mean=[0.1, 0.2, 0.3], image_std=[1, 2, 3], resample=2
    ).save_pretrained(folder)
    config = load_model(import_checkpoint(folder), device="cpu").config
    assert (config.image_mean, config.image_std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert (config.resize, config.interpolation) == ("crop", "bilinear")


def test_pictures_of_a_processor_saved_as_a_whole(saved):
    _, folder = saved()
    pictures = CLIPImageProcessor(
        size={"height": 32, "width": 32}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    CLIPProcessor(pictures, their_tokenizer()).save_pretrained(folder)
    few_words().save(str(folder / "tokenizer.json"))
    assert not (folder / "preprocessor_config.json").exists()
    config = load_model(import_checkpoint(folder), device="cpu").config
    assert (config.resize, config.image_mean) == ("squash", (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 40, "crop_size": 32}, "makes pictures of size"),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, "makes pictures of size"),
        ({"size": {"height": 32, "width": 16}}, "makes pictures of size"),
        ({"size": 224, "crop_size": 224}, "makes pictures of size 224, cut to 224; the image tower takes 32 x 32"),
        ({"size": 32, "crop_size": 32, "do_normalize": False}, "do_normalize is False"),
        ({"size": 32, "crop_size": 32, "rescale_factor": 1}, "rescale_factor is 1"),
        ({"size": 32, "crop_size": 32, "resample": 0}, "resample is 0; allowed are 2 and 3"),
        ({"size": 32, "crop_size": 32, "resample": []}, r"resample is \[\]; allowed are 2 and 3"),
        ({"size": 32, "crop_size": 32, "image_std": [0, 1, 1]}, "image_std is"),
        ({"size": 32, "crop_size": 32, "image_mean": "red"}, "image_mean is 'red'"),
    ],
)
def test_pictures_that_are_not_made_so_here_are_refused(saved, values, words):
    _, folder = saved()
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=words):
        import_checkpoint(folder)


@pytest.mark.parametrize("values", [{"size": 32, "crop_size": 32}, {"size": {"shortest_edge": 32}, "crop_size": 32}])
def test_pictures_of_old_files(saved, values):
    _, folder = saved()
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    config = load_model(import_checkpoint(folder), device="cpu").config
    assert (config.resize, config.interpolation, config.image_mean[0]) == ("crop", "bicubic", 0.48145466)


# A start for training


def test_a_start_for_training_can_be_made_of_it(saved):
    truth, folder = saved(projection=64, both={"hidden_act": "gelu"})
    model = load_model(import_checkpoint(folder, init_from_clip=True), device="cpu", precision="float32")
    assert (model.config.temporal, model.config.alignment, model.config.activation) == (
        "difference",
        "difference",
        "gelu",
    )
    assert (model.card.training, model.config.max_words) == ("untrained", 32)
    positions = truth.text_model.embeddings.position_embedding.weight
    torch.testing.assert_close(model.network.frame_positions.weight, positions)
    theirs = truth.text_model.encoder.layers[1].mlp.fc1.weight
    torch.testing.assert_close(model.network.temporal.resblocks[1].mlp.c_fc.weight, theirs)


def test_a_start_for_training_needs_text_as_wide_as_the_embedding(saved):
    _, folder = saved(projection=48)
    with pytest.raises(CheckpointError, match="text width 64 and embedding 48 differ"):
        import_checkpoint(folder, init_from_clip=True)
