"""transformers' CLIPModel as the truth: random models of it, and how far ours are from them."""

from functools import cache

import torch
from transformers import CLIPConfig, CLIPModel, initialization

from clip2video_plugin import load_model
from clip2video_plugin.model.tokenizer import END, START, train_tokenizer

SMALL = {
    "vision": {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    },
    "text": {
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "max_position_embeddings": 77,
    },
}
CLIPS_WORDS = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}


@cache
def few_words():
    """A tokenizer of CLIP's form with few words: CLIP's own takes a second wherever it goes."""
    return train_tokenizer(["a red square moves left", "a blue circle grows"], 540)


def few_words_config():
    size = few_words().get_vocab_size()
    return {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1}


def clip_model(vision=None, text=None, projection=48, both=None, seed=0):
    """A CLIPModel whose every parameter is random: biases are not 0 and norms not 1, so that none can be left out."""
    config = CLIPConfig(
        vision_config={**SMALL["vision"], **(both or {}), **(vision or {})},
        text_config={**SMALL["text"], **few_words_config(), **(both or {}), **(text or {})},
        projection_dim=projection,
    )
    with initialization.no_init_weights():
        model = CLIPModel(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name == "logit_scale":
                value.fill_(3.0)
            elif name.endswith("norm.weight") or "norm1.weight" in name or "norm2.weight" in name or "rnorm" in name:
                value.uniform_(0.8, 1.2, generator=generator)
            else:
                reach = 0.3 if value.ndim < 2 else 2 * value[0].numel() ** -0.5
                value.uniform_(-reach, reach, generator=generator)
    return model.eval()


def inputs(config, images=3, captions=4, length=20, seed=1):
    """Pixels [N, 3, R, R] and token ids [T, L] between the tokens of start and end, padded by zeros."""
    generator = torch.Generator().manual_seed(seed)
    size, last = config.vision_config.image_size, config.text_config.vocab_size - 1
    pixels = torch.randn(images, 3, size, size, generator=generator)
    ids = torch.randint(1, last - 1, (captions, length), generator=generator)
    ids[:, 0] = last - 1
    for row in range(captions):
        end = length - 1 - 3 * row
        ids[row, end], ids[row, end + 1 :] = last, 0
    return pixels, ids


def relative(ours, truth):
    """The largest difference, as a share of the largest number."""
    return ((ours - truth).abs().max() / truth.abs().max()).item()


@torch.inference_mode()
def features(truth, **sizes):
    """Inputs, and transformers' image features, text features and logits [T, N] of them."""
    pixels, ids = inputs(truth.config, **sizes)
    return {
        "pixels": pixels,
        "ids": ids,
        "images": truth.get_image_features(pixel_values=pixels).pooler_output,
        "texts": truth.get_text_features(input_ids=ids).pooler_output,
        "logits": truth(input_ids=ids, pixel_values=pixels).logits_per_text,
    }


@torch.inference_mode()
def differences(truth, folder):
    """How far those of an imported checkpoint are from ``truth``, which ``features`` made."""
    pixels, ids = truth["pixels"], truth["ids"]
    ours = load_model(folder, device="cpu", precision="float32")
    assert (ours.tokenizer.token_to_id(START), ours.tokenizer.token_to_id(END)) == (ids[0, 0], ids.max())
    videos = ours.network.encode_video(pixels[:, None], torch.ones(len(pixels), 1))
    return {
        "images": relative(ours.network.image(pixels), truth["images"]),
        "texts": relative(ours.network.text(ids)[0], truth["texts"]),
        "logits": relative(
            ours.network.similarity(ours.network.encode_text(ids, (ids > 0).long()), videos), truth["logits"]
        ),
    }
