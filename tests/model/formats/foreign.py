"""Hugging Face's state dicts renamed to OpenAI's and open_clip's, written by hand: the truth for those forms.

The facts are those of transformers' own conversion script and of open_clip's model.py: in_proj is q, k and v stacked,
the projections are transposed.
"""

import re

import torch

NAMES = (
    (r"vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"text_model\.final_layer_norm\.", "ln_final."),
    (r"text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def openai_state(model):
    """The weights of a CLIPModel by OpenAI's names, which are open_clip's too."""
    state = model.state_dict()
    made = {"visual.proj": state.pop("visual_projection.weight").t().contiguous()}
    made["text_projection"] = state.pop("text_projection.weight").t().contiguous()
    for key in [key for key in state if ".self_attn.q_proj." in key]:
        parts = [state.pop(key.replace(".q_proj.", f".{letter}_proj.")) for letter in "qkv"]
        made[renamed(key.replace(".self_attn.q_proj.", ".attn.in_proj_"))] = torch.cat(parts)
    return made | {renamed(key): value.clone() for key, value in state.items()}


def renamed(key):
    for theirs, name in NAMES:
        key = re.sub(theirs, name, key)
    return key


def extras(state):
    """The three numbers that OpenAI stores beside its weights."""
    patches, width = state["visual.positional_embedding"].shape[0] - 1, state["visual.conv1.weight"].shape[-1]
    return {
        "input_resolution": torch.tensor(round(patches**0.5) * width),
        "context_length": torch.tensor(len(state["positional_embedding"])),
        "vocab_size": torch.tensor(len(state["token_embedding.weight"])),
    }


def custom_text(state):
    """As open_clip's CustomTextCLIP: the text tower below ``text.``."""
    above = ("visual.", "logit_scale")
    return {key if key.startswith(above) else f"text.{key}": value for key, value in state.items()}


def shapes(*, vision, layers, patch, grid, text, text_layers, embed, mlp=4.0, words=49408, length=77):
    """Of a CLIP by OpenAI's names, from published sizes."""

    def blocks(prefix, width, depth, hidden):
        block = {
            **{"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)},
            **{"attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,)},
            **{"mlp.c_fc.weight": (hidden, width), "mlp.c_fc.bias": (hidden,)},
            **{"mlp.c_proj.weight": (width, hidden), "mlp.c_proj.bias": (width,)},
            **{f"ln_{n}.{kind}": (width,) for n in (1, 2) for kind in ("weight", "bias")},
        }
        return {f"{prefix}resblocks.{n}.{key}": shape for n in range(depth) for key, shape in block.items()}

    return {
        "visual.conv1.weight": (vision, 3, patch, patch),
        "visual.class_embedding": (vision,),
        "visual.positional_embedding": (grid**2 + 1, vision),
        **{f"visual.{ln}.{kind}": (vision,) for ln in ("ln_pre", "ln_post") for kind in ("weight", "bias")},
        **blocks("visual.transformer.", vision, layers, int(vision * mlp)),
        "visual.proj": (vision, embed),
        "token_embedding.weight": (words, text),
        "positional_embedding": (length, text),
        **blocks("transformer.", text, text_layers, 4 * text),
        "ln_final.weight": (text,),
        "ln_final.bias": (text,),
        "text_projection": (text, embed),
        "logit_scale": (),
    }


def without_numbers(shapes):
    """Tensors that have a shape and take no memory."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
