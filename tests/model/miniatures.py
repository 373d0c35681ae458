"""The published models in miniature: the same names, containers and configurations around small random tensors."""

import io
import json
import tempfile
from functools import cache
from pathlib import Path

import safetensors.torch
import torch

from clip2video_plugin.model import Clip2Video, ModelConfig
from clip2video_plugin.model.published import PUBLISHED
from clip2video_plugin.model.reference import reference_key

from .archive import Archive, halved
from .gemma import gemma_json, words

WIDTH, WORDS, SIDE, PATCH = 64, 49408, 32, 16  # heads of 64 numbers, CLIP's vocabulary


@cache
def files(name):
    """Bytes by the names of a published model's files."""
    if name.startswith("clip2video"):
        made = {"weights": saved(clip2video_state())}
    elif name.startswith("siglip2"):
        made = hugging_face(siglip()) | {"tokenizer.json": gemma_json().encode()}
        made["preprocessor_config.json"] = json.dumps(
            {
                **{"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255},
                **{
                    "size": {"height": SIDE, "width": SIDE},
                    "resample": 2,
                    "image_processor_type": "SiglipImageProcessor",
                },
                **{"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
            }
        ).encode()
    elif name.endswith(("laion2b", "datacomp")):
        vision = {"image_size": SIDE, "layers": 1, "width": WIDTH, "patch_size": PATCH, "head_width": 32}
        text = {"context_length": 77, "vocab_size": WORDS, "width": WIDTH, "heads": 2, "layers": 1}
        model = {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text}
        made = {"open_clip_config.json": json.dumps({"model_cfg": model, "preprocess_cfg": {}}).encode()}
        made["weights"] = safetensors.torch.save(clip_state())
    elif name == "clip-vit-b32-hf":  # as it is old, with positions and as a pickle
        made = hugging_face(clip())
        state = safetensors.torch.load(made.pop("weights"))
        for tower, number in (("text", 77), ("vision", 5)):
            state[f"{tower}_model.embeddings.position_ids"] = torch.arange(number)[None]
        made["weights"] = saved(state)
    elif name == "clip4clip-webvid":
        made = hugging_face(clip())
    elif name.startswith("clip4clip"):
        made = {"weights": saved({f"clip.{key}": value for key, value in clip_state().items()})}
    else:
        made = {"weights": archive(clip_state())}
    weights = PUBLISHED[name].weights.name
    return {weights if file == "weights" else file: content for file, content in made.items()}


def saved(state):
    target = io.BytesIO()
    torch.save(state, target)
    return target.getvalue()


def clip_state():
    """OpenAI's names, written down by hand."""
    torch.manual_seed(1)

    def block(prefix):
        shapes = {
            "attn.in_proj_weight": (3 * WIDTH, WIDTH),
            "attn.in_proj_bias": (3 * WIDTH,),
            "attn.out_proj.weight": (WIDTH, WIDTH),
            "attn.out_proj.bias": (WIDTH,),
            "mlp.c_fc.weight": (4 * WIDTH, WIDTH),
            "mlp.c_fc.bias": (4 * WIDTH,),
            "mlp.c_proj.weight": (WIDTH, 4 * WIDTH),
            "mlp.c_proj.bias": (WIDTH,),
        }
        norms = {f"ln_{n}.{part}": (WIDTH,) for n in (1, 2) for part in ("weight", "bias")}
        return {f"{prefix}.resblocks.0.{key}": shape for key, shape in (shapes | norms).items()}

    norms = {
        f"{n}.{part}": (WIDTH,) for n in ("visual.ln_pre", "visual.ln_post", "ln_final") for part in ("weight", "bias")
    }
    shapes = {
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH),
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (1 + (SIDE // PATCH) ** 2, WIDTH),
        "visual.proj": (WIDTH, WIDTH),
        "token_embedding.weight": (WORDS, WIDTH),
        "positional_embedding": (77, WIDTH),
        "text_projection": (WIDTH, WIDTH),
        "logit_scale": (),
    }
    shapes |= norms | block("visual.transformer") | block("transformer")
    return {key: torch.randn(shape) * 0.1 for key, shape in shapes.items()}


def archive(state):
    numbers = {"input_resolution": SIDE, "context_length": 77, "vocab_size": WORDS}
    target = io.BytesIO()
    tree = Archive(halved(state | {key: torch.tensor(value) for key, value in numbers.items()}))
    torch.jit.save(torch.jit.script(tree), target)
    return target.getvalue()


def clip2video_state():
    torch.manual_seed(2)
    sizes = {
        **{"image_size": SIDE, "patch_size": PATCH, "vision_width": WIDTH, "vision_layers": 1, "vision_heads": 1},
        **{"vocab_size": WORDS, "context_length": 77, "text_width": WIDTH, "text_layers": 1, "text_heads": 1},
        **{"embed_dim": WIDTH, "temporal_heads": 1},
    }
    return {reference_key(key): value for key, value in Clip2Video(ModelConfig(**sizes)).state_dict().items()}


def clip():
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision = {**tower, "image_size": SIDE, "patch_size": PATCH}
    torch.manual_seed(3)
    return CLIPModel(CLIPConfig(text_config=tower, vision_config=vision, projection_dim=WIDTH))


def siglip():
    from transformers import SiglipConfig, SiglipModel

    tower = {"hidden_size": WIDTH, "intermediate_size": 100, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision = {**tower, "image_size": SIDE, "patch_size": PATCH}
    text = {**tower, "vocab_size": len(words()[0]), "projection_size": WIDTH}
    torch.manual_seed(4)
    return SiglipModel(SiglipConfig(text_config=text, vision_config=vision))


def hugging_face(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        made = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return {"config.json": made["config.json"], "weights": made["model.safetensors"]}
