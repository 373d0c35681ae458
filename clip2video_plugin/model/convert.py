"""Foreign weight files to checkpoint folders: CLIP2Video's pytorch_model.bin.N and OpenAI's ViT-B-32.pt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.installed import EMBEDDED, models_folder
from clip2video_plugin.model.network import Clip2Video
from clip2video_plugin.model.reference import check_keys, clip_sizes, from_reference, reference_key
from clip2video_plugin.model.saving import save_checkpoint
from clip2video_plugin.model.tokenizer import clip_tokenizer
from clip2video_plugin.model.weights import CLIP_EXTRAS, read_weights
from clip2video_plugin.paths import expanded

TEMPORAL_LAYERS = 4  # of the paper; the reference's cross_num_hidden_layers


def import_checkpoint(
    path: str | Path,
    *,
    name: str | None = None,
    init_from_clip: bool = False,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Converts a weight file to a checkpoint folder below the models folder, and returns that.

    Args:
        path: a CLIP2Video state dict, or an OpenAI CLIP as TorchScript archive or state dict.
        name: of the checkpoint; the file's name, simplified, by default.
        init_from_clip: needed for an OpenAI CLIP: makes the temporal parts from CLIP's text tower
            (reference section 11). They are untrained then.
        options: of ``from_reference``; what is not given is read from the keys, and else the paper's.
        seed: of the alignment centres, which are random when initialised from CLIP.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or of another architecture.
    """
    file = expanded(path)
    state = dict(read_weights(file).tensors)
    is_clip = "visual.conv1.weight" in state
    if is_clip and not init_from_clip:
        raise CheckpointError(
            f"{file} is a CLIP without temporal parts. To make them from CLIP's text tower, untrained, "
            "say so: --init-from-clip"
        )
    if init_from_clip and not is_clip:
        raise CheckpointError(f"{file} is no OpenAI CLIP; --init-from-clip does not apply")
    if is_clip:
        network = initialise_from_clip(state, seed=seed)
    else:
        network = from_reference(state, **(reference_options(state) | dict(options or {})))
    tokenizer = clip_tokenizer()
    if network.config.vocab_size != tokenizer.get_vocab_size():
        raise CheckpointError(
            f"{file} has {network.config.vocab_size} tokens; CLIP's tokenizer has {tokenizer.get_vocab_size()}"
        )
    name = name or re.sub(r"[^a-z0-9._-]+", "-", file.name.lower().removesuffix(".pt").removesuffix(".pth"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name == EMBEDDED:
        raise CheckpointError(f"name is {name!r}; use letters, digits, dots and dashes, and not {EMBEDDED!r}")
    folder = models_folder() / name
    save_checkpoint(folder, network, tokenizer)
    return folder


def reference_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of ``from_reference`` that a CLIP2Video state dict's keys speak for; else the paper's."""
    blocks = {key.split(".")[0] for key in state}
    difference = "type_position_embeddings" in blocks
    alignment = "weight_center" in blocks
    return {
        "sim_type": "seqTransf" if "transformerClip" in blocks else "meanP",
        "temporal_type": "TDB" if difference else "",
        "temporal_proj": "sigmoid_mlp"
        if "frame2t_projection" in blocks
        else "sigmoid_selfA"
        if "frame2t_attention" in blocks
        else "",
        "center_type": "TAB" if alignment else "",
        # The keys of TAB and TAB_TDB are the same; the released models are TAB_TDB.
        "center_proj": "" if "actionClip" not in blocks else "TAB_TDB" if difference else "TAB",
        "center_weight": 0.5,
        "max_frames": 12,
        "max_words": 32,
    }


def initialise_from_clip(state: Mapping[str, Tensor], *, seed: int = 0, centers: int = 5) -> Clip2Video:
    """A network of the paper's form whose temporal parts come from CLIP (reference section 11).

    Frame positions and types from the text positions, temporal blocks from the text blocks; the
    alignment centres are drawn, N(0, 1/64).

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen, or the widths of CLIP's text
            tower and embedding differ, so that its blocks do not fit.
    """
    clip = {f"clip.{key}": value for key, value in state.items() if key not in CLIP_EXTRAS}
    sizes = clip_sizes(clip)
    if sizes["text_width"] != sizes["embed_dim"]:
        raise CheckpointError(
            f"text width {sizes['text_width']} and embedding {sizes['embed_dim']} differ; "
            "temporal blocks cannot be taken from this CLIP"
        )
    layers = min(TEMPORAL_LAYERS, sizes["text_layers"])
    temporal = {"temporal_layers": layers, "temporal_heads": sizes["text_heads"], "centers": centers}
    config = ModelConfig.from_dict(sizes | temporal)
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in Clip2Video(config).state_dict().items()}
    names = {key: reference_key(key) for key in shapes}
    check_keys(clip, {name: shapes[key] for key, name in names.items() if name.startswith("clip.")})
    generator = torch.Generator().manual_seed(seed)
    weights = dict[str, Tensor]()
    for key, name in names.items():
        if name.startswith("clip."):
            source = clip[name]
        elif name in ("weight_center", "emb_center"):
            source = torch.randn(shapes[key], generator=generator) * 64**-0.5
        elif name.startswith("trans_layernorm"):
            source = torch.ones(shapes[key]) if name.endswith("weight") else torch.zeros(shapes[key])
        elif name.endswith("_position_embeddings.weight"):
            source = clip["clip.positional_embedding"][: shapes[key][0]]
        else:  # transformerClip, frame2t_attention and actionClip blocks
            source = clip["clip.transformer.resblocks." + name.split("resblocks.")[1]]
        weights[key] = source.detach().to(torch.float32).clone()
    with torch.device("meta"):
        network = Clip2Video(config)
    network.load_state_dict(weights, assign=True)
    return network.eval()
