"""CLIP4Clip's state dicts (github.com/ArrowLuo/CLIP4Clip): a CLIP below ``clip.``, and what its header adds.

meanP adds nothing, seqTransf ``frame_position_embeddings`` and ``transformerClip``.
"""

from __future__ import annotations

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.card import Card
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.formats.clip import MEAN, kept_options
from clip2video_plugin.model.formats.form import Converted, Format, Given
from clip2video_plugin.model.formats.said import Said, settled
from clip2video_plugin.model.formats.words import clip_words
from clip2video_plugin.model.parts import fitted
from clip2video_plugin.model.reference import count_blocks, modern_names, reference_part, reference_sizes
from clip2video_plugin.model.weights import Weights

INSTEAD = "CLIP4Clip's other headers, meanP and seqTransf, are read"
TIGHT = (
    "is a CLIP4Clip of header tightTransf, which reads each caption with each video, so that no video has a vector to "
    "search by"
)
REFUSED = {
    "lstm_visual.": "is a CLIP4Clip of header seqLSTM, whose recurrent network over frames is not built here",
    "cross.": TIGHT,
    "similarity_dense.": TIGHT,
    "clip.visual.conv2.": "is a CLIP4Clip of linear_patch 3d, whose patches reach over neighbouring frames; those of "
    "linear_patch 2d are read",
}


def _recognises(weights: Weights) -> bool:
    return any(name.startswith("clip.visual.") for name in weights.tensors)


def _convert(weights: Weights, given: Given) -> Converted:
    for start, why in REFUSED.items():
        if any(name.startswith(start) for name in weights.tensors):
            raise CheckpointError(f"{weights.path} {why}. {INSTEAD}")
    state = modern_names(weights.tensors)
    sizes = reference_sizes(state)
    said = Said(
        where="CLIP4Clip's code",
        heads=(sizes["vision_heads"], sizes["text_heads"]),
        activation="quick_gelu",
        firm=False,  # other code also saves a CLIP below clip.
    )
    sizes |= settled(weights.path, sizes, said, given)
    variant = MEAN | {"temporal_heads": sizes["text_heads"]}
    if any(name.startswith("transformerClip.") for name in state):
        variant |= {"temporal": "transformer", "temporal_layers": count_blocks(state, "transformerClip.")}
    config = ModelConfig(**(sizes | variant | kept_options(weights, given)))
    return Converted(
        config=config,
        tensors=fitted(state, reference_part, config),
        tokenizer=clip_words(weights, config.vocab_size, codes=True),
        card=Card(training="trained", source=weights.path.name),
    )


CLIP4CLIP = Format("CLIP4Clip", _recognises, _convert)
