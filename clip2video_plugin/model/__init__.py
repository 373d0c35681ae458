"""The network, the tokenizer and checkpoints: tensors in, tensors out."""

from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.network import Clip2Video, TextEmbedding, VideoEmbedding
from clip2video_plugin.model.reference import from_reference
from clip2video_plugin.model.tokenizer import clip_tokenizer, tokenize

__all__ = [
    "Clip2Video",
    "ModelConfig",
    "TextEmbedding",
    "VideoEmbedding",
    "clip_tokenizer",
    "from_reference",
    "tokenize",
]
