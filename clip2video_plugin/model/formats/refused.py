"""Weights that are known and not read, in words: each looks in part like a form that is."""

from __future__ import annotations

import re

from clip2video_plugin.model.weights import Weights

ORIGINAL = "take the original, of 16 or 32 bits"
PLAIN = "CLIPs of plain vision and text transformers are read, such as ViT-B-32, ViT-B-16, ViT-L-14 and ViT-H-14"
REFUSED = (
    (
        r"base_model\.model\.|(.*\.)?lora_",
        "is a LoRA adapter: changes to a model, not one. Merge it into its model (peft: merge_and_unload), save "
        "that whole, and import it",
    ),
    (r".*\.(qweight|qzeros|g_idx|SCB|absmax|quant_map|weight_scale|scale_weight)$", f"is quantised; {ORIGINAL}"),
    (
        r".*\.(parametrizations|weight_g|weight_v|weight_orig)(\.|$)",
        "holds weights in parts, as pruning or weight norm keep them; save the finished model",
    ),
    (r"(clip\.)?visual\.(layer1|attnpool)\.", f"is a CLIP with a ResNet for images; {PLAIN}"),
    (
        r"visual\.(trunk|head)\.",
        f"is an open_clip model with an image tower of timm's; {PLAIN}, and SigLIP 2 in Hugging Face's form",
    ),
    (r"visual\.(blocks|cls_token|pos_embed|patch_embed|rope|norm)\b", f"is an EVA-CLIP; {PLAIN}"),
    (
        r"visual\.attn_pool|text_decoder\.|(logit|image|text)_to_multimodal",
        f"is a CoCa, a Perception Encoder or another model that pools patches by attention; {PLAIN}",
    ),
    (
        r"text\.(transformer\.(?!resblocks\.)|proj\.|pooler\.|model\.)",
        f"is an open_clip model with a text tower of Hugging Face's, such as XLM-RoBERTa; {PLAIN}",
    ),
    (
        r"(visual_encoder|text_encoder|image_encoder|vision_proj|itm_head|qformer)\b",
        f"is a BLIP, a MobileCLIP or the like; {PLAIN}",
    ),
    (r"clip\.(text_model|vision_model|visual_projection)\b", f"is a CLIPSeg or another model built on a CLIP; {PLAIN}"),
    (
        r"text_model\.(encoder\.layer|embeddings\.word_embeddings|pooler)\b",
        f"has a BERT for sentences (Chinese-CLIP, AltCLIP, BLIP); {PLAIN}",
    ),
    (
        r"(mit|prompts_visual_\w+|prompts_generator)\b",
        f"is an X-CLIP, whose captions are changed by each video; {PLAIN}",
    ),
)
ONE_TOWER = (
    "holds one tower; image and text tower with their projections are needed (CLIPModel or SiglipModel, not "
    "CLIPVisionModel or CLIPTextModel)"
)


def why_not(weights: Weights) -> str | None:
    """Why these weights are not read, in words that follow the name of the file; None where they may be."""
    for pattern, words in REFUSED:
        if any(re.match(pattern, name) for name in weights.tensors):
            return words
    if "quantization_config" in weights.config:
        return f"is quantised; {ORIGINAL}"
    starts = {name.split(".")[0] for name in weights.tensors}
    if len(starts & {"vision_model", "text_model"}) == 1:
        return ONE_TOWER
    return None
