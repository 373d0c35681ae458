"""The sizes of ViT-B/32, as fields of ModelConfig."""

from typing import Any

SIZES: dict[str, Any] = {
    "image_size": 224,
    "patch_size": 32,
    "vision_width": 768,
    "vision_layers": 12,
    "vision_heads": 12,
    "vocab_size": 49408,
    "context_length": 77,
    "text_width": 512,
    "text_layers": 12,
    "text_heads": 8,
    "embed_dim": 512,
}
