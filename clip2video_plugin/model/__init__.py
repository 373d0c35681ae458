"""The network, the tokenizer and checkpoints: tensors in, tensors out."""

from clip2video_plugin.model.checkpoint import Model, load_model
from clip2video_plugin.model.config import ModelConfig
from clip2video_plugin.model.network import Clip2Video, TextEmbedding, VideoEmbedding
from clip2video_plugin.model.reference import from_reference
from clip2video_plugin.model.tokenizer import clip_tokenizer, tokenize

__all__ = [
    "Clip2Video",
    "Model",
    "ModelConfig",
    "TextEmbedding",
    "VideoEmbedding",
    "clip_tokenizer",
    "from_reference",
    "load_model",
    "tokenize",
]
