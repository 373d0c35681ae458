"""open_clip's CLIP against transformers' CLIPModel of the same numbers: plain, CustomTextCLIP, training checkpoints."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clip2video_plugin import load_model
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.convert import import_checkpoint
from clip2video_plugin.model.formats import recognise
from clip2video_plugin.model.formats.form import Given
from clip2video_plugin.model.weights import Weights

from .foreign import custom_text, openai_state, shapes, without_numbers
from .peers import clip_model, differences, features, few_words

CLOSE = 1e-5
WIDE = {"hidden_size": 320, "num_attention_heads": 4, "intermediate_size": 1280}  # heads of 80


def model_cfg(model, **more):
    """The model_cfg that open_clip has for a CLIPModel of the same sizes."""
    vision, text = model.config.vision_config, model.config.text_config
    return {
        "embed_dim": model.config.projection_dim,
        "quick_gelu": vision.hidden_act == "quick_gelu",
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.num_hidden_layers,
            "width": vision.hidden_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
            "patch_size": vision.patch_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
        },
        **more,
    }


def write(folder, state, config=None, preprocess=None):
    folder.mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "open_clip_model.safetensors")
    few_words().save(str(folder / "tokenizer.json"))
    if config is not None:
        values = {"model_cfg": config} | ({} if preprocess is None else {"preprocess_cfg": preprocess})
        (folder / "open_clip_config.json").write_text(json.dumps(values))
    return folder


CONFIGURATIONS = {
    "quick gelu": ({}, {}),
    "gelu": ({"both": {"hidden_act": "gelu"}}, {}),
    "heads of 80": ({"vision": WIDE, "text": WIDE, "both": {"hidden_act": "gelu"}}, {}),
    "MLPs of other widths": ({"vision": {"intermediate_size": 590}, "text": {"intermediate_size": 100}}, {}),
}


@pytest.mark.parametrize("form", [dict, custom_text])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_features_equal_those_of_transformers(tmp_path, form, name):
    truth = clip_model(**CONFIGURATIONS[name][0])
    folder = write(tmp_path / "theirs", form(openai_state(truth)), model_cfg(truth, custom_text=form is custom_text))
    found = differences(features(truth), import_checkpoint(folder))
    assert max(found.values()) < CLOSE, found


def test_tanh_gelu_and_another_eps_stand_in_its_configuration(tmp_path):
    truth = clip_model(both={"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-2})
    config = model_cfg(truth)
    for tower in ("vision_cfg", "text_cfg"):
        config[tower] |= {"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-2}}
    found = differences(features(truth), import_checkpoint(write(tmp_path / "theirs", openai_state(truth), config)))
    assert max(found.values()) < CLOSE, found
    del config["text_cfg"]["norm_kwargs"]
    with pytest.raises(CheckpointError, match=r"eps is 0.01 for images and 1e-05 for text"):
        import_checkpoint(write(tmp_path / "theirs", openai_state(truth), config))


def test_a_training_checkpoint_needs_what_its_trainer_knew(tmp_path):
    truth = clip_model(both={"hidden_act": "gelu"})
    state = {f"module.{key}": value for key, value in openai_state(truth).items()}
    path = tmp_path / "epoch_32.pt"
    few_words().save(str(tmp_path / "tokenizer.json"))
    torch.save({"epoch": 32, "name": "run", "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}, path)
    with pytest.raises(CheckpointError, match="does not say its activation"):
        import_checkpoint(path)
    told = []
    folder = import_checkpoint(path, activation="gelu", heads=2, tell=told.append)
    assert max(differences(features(truth), folder).values()) < CLOSE
    assert len(told) == 1
    assert "optimizer" in told[0]
    assert folder.name == "epoch_32"


def test_laions_weights_are_not_read_as_openais(tmp_path):
    """They have OpenAI's names and sizes, and plain GELU."""
    truth = clip_model(both={"hidden_act": "gelu"})
    folder = write(tmp_path / "CLIP-ViT-B-32-laion2B-s34B-b79K", openai_state(truth))
    with pytest.raises(CheckpointError, match="--activation quick_gelu or --activation gelu"):
        import_checkpoint(folder)
    config = {**model_cfg(truth)}
    del config["quick_gelu"]  # as laion's configuration has it
    write(folder, openai_state(truth), config)
    assert max(differences(features(truth), import_checkpoint(folder)).values()) < CLOSE


def test_pictures_are_made_as_preprocess_cfg_says(tmp_path):
    truth = clip_model()
    preprocess = {"size": [32, 32], "mode": "RGB", "mean": [0.5] * 3, "std": [0.4] * 3, "interpolation": "bilinear"}
    preprocess |= {"resize_mode": "squash", "fill_color": 0}
    folder = write(tmp_path / "theirs", openai_state(truth), model_cfg(truth), preprocess)
    config = load_model(import_checkpoint(folder), device="cpu").config
    assert (config.image_mean, config.image_std) == ((0.5,) * 3, (0.4,) * 3)
    assert (config.resize, config.interpolation) == ("squash", "bilinear")
    for wrong, words in (
        ({"resize_mode": "longest"}, "resize_mode is 'longest'; allowed are shortest, squash"),
        ({"size": 64}, "pictures have size 64; the image tower takes 32"),
        ({"interpolation": "nearest"}, "interpolation is 'nearest'"),
    ):
        write(folder, openai_state(truth), model_cfg(truth), preprocess | wrong)
        with pytest.raises(CheckpointError, match=words):
            import_checkpoint(folder)


@pytest.mark.parametrize(
    ("tower", "values", "words"),
    [
        ("vision_cfg", {"width": 256}, "vision_cfg.width is 256, not 128"),
        ("vision_cfg", {"layers": 12}, "vision_cfg.layers is 12, not 3"),
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, r"vision_cfg.layers is \[3, 4, 6, 3\]; it must be a positive whole"),
        ("vision_cfg", {"mlp_ratio": 2.0}, r"vision_cfg.width \* mlp_ratio is 256, not 512"),
        ("vision_cfg", {"mlp_ratio": "4"}, "mlp_ratio is '4'; it must be a number"),
        ("text_cfg", {"mlp_ratio": float("inf")}, "mlp_ratio is inf; it must be a number"),
        ("vision_cfg", {"image_size": 224}, "vision_cfg.image_size is 224, not 32"),
        (
            "vision_cfg",
            {"timm_model_name": "vit_base"},
            "timm_model_name is 'vit_base', which this network does not do",
        ),
        ("vision_cfg", {"attentional_pool": True}, "attentional_pool is True, which"),
        ("vision_cfg", {"pool_type": "avg"}, "pool_type is 'avg', which"),
        ("vision_cfg", {"no_ln_pre": True}, "no_ln_pre is True"),
        ("vision_cfg", {"pos_embed_type": "sin_cos_2d"}, "pos_embed_type is 'sin_cos_2d'"),
        ("text_cfg", {"no_causal_mask": True}, "no_causal_mask is True"),
        ("text_cfg", {"hf_tokenizer_name": "bert-base-uncased"}, "hf_tokenizer_name is 'bert-base-uncased'"),
        ("text_cfg", {"pool_type": "last"}, "pool_type is 'last'"),
        ("text_cfg", {"tokenizer_kwargs": {"clean": "canonicalize"}}, "tokenizer_kwargs is"),
        ("text_cfg", {"something_new": 3}, "text_cfg.something_new is 3, which this network does not do"),
        ("text_cfg", {"act_kwargs": {"negative_slope": 0.1}}, "act_kwargs are"),
        ("text_cfg", {"heads": 3}, "3 heads do not divide the text tower's width of 64"),
        ("text_cfg", {"context_length": 64}, "text_cfg.context_length is 64, not 77"),
    ],
)
def test_a_configuration_of_something_else_is_refused_and_named(tmp_path, tower, values, words):
    truth = clip_model()
    config = model_cfg(truth)
    config[tower] |= values
    with pytest.raises(CheckpointError, match=words):
        import_checkpoint(write(tmp_path / "theirs", openai_state(truth), config))


def test_keys_of_its_configuration_that_change_no_vector_are_passed_over(tmp_path):
    truth = clip_model()
    config = model_cfg(truth, init_logit_bias=None)
    config["vision_cfg"] |= {"patch_dropout": 0.5, "ls_init_value": None, "timm_pool": "avg", "pool_type": "tok"}
    config["text_cfg"] |= {"pool_type": "argmax", "proj_type": "linear", "embed_cls": False, "tokenizer_kwargs": {}}
    folder = import_checkpoint(write(tmp_path / "theirs", openai_state(truth), config))
    assert max(differences(features(truth), folder).values()) < CLOSE


def test_what_changes_no_ranking_is_left_out_and_said(tmp_path):
    truth = clip_model()
    state = openai_state(truth) | {"logit_bias": torch.tensor(-10.0), "attn_mask": torch.zeros(77, 77)}
    told = []
    folder = write(tmp_path / "theirs", state, model_cfg(truth))
    assert max(differences(features(truth), import_checkpoint(folder, tell=told.append)).values()) < CLOSE
    assert told == ["left out, having no place here: attn_mask, logit_bias"]


def test_layer_scale_is_not_passed_over(tmp_path):
    truth = clip_model()
    state = openai_state(truth) | {"visual.transformer.resblocks.0.ls_1.gamma": torch.ones(128)}
    with pytest.raises(CheckpointError, match=r"unexpected visual.transformer.resblocks.0.ls_1.gamma"):
        import_checkpoint(write(tmp_path / "theirs", state, model_cfg(truth)))


H14 = {"vision": 1280, "layers": 32, "patch": 14, "grid": 16, "text": 1024, "text_layers": 24, "embed": 1024}
BIG_G = {
    "vision": 1664,
    "layers": 48,
    "patch": 14,
    "grid": 16,
    "text": 1280,
    "text_layers": 32,
    "embed": 1280,
    "mlp": 4.9231,
}


@pytest.mark.parametrize(
    ("sizes", "image", "heads", "hidden"),
    [(H14, {"head_width": 80}, (16, 16), None), (BIG_G, {"head_width": 104, "mlp_ratio": 4.9231}, (16, 20), 8192)],
)
def test_vit_h_and_big_g_take_their_heads_from_the_configuration_or_from_the_user(sizes, image, heads, hidden):
    tensors = without_numbers(shapes(**sizes))
    vision = {"image_size": 224, "layers": sizes["layers"], "width": sizes["vision"], "patch_size": 14, **image}
    text = {"width": sizes["text"], "heads": heads[1], "layers": sizes["text_layers"]}
    config = {"model_cfg": {"embed_dim": sizes["embed"], "vision_cfg": vision, "text_cfg": text}}
    told = Weights(Path("open_clip_model.safetensors"), tensors, config=config)
    silent = Weights(Path("open_clip_model.safetensors"), tensors)
    for weights, given in ((told, Given()), (silent, Given(heads=heads, activation="gelu"))):
        made = recognise(weights).convert(weights, given).config
        assert (made.vision_heads, made.text_heads, made.activation) == (*heads, "gelu")
        assert (made.vision_mlp_width, made.image_size) == (hidden, 224)
    with pytest.raises(CheckpointError, match="does not say how many attention heads its image tower has"):
        recognise(silent).convert(silent, Given(activation="gelu"))
