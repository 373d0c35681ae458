"""The tokenizer of a foreign CLIP."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.tokenizer import END, START, clip_tokenizer
from clip2video_plugin.model.weights import Weights


def clip_words(weights: Weights, vocab_size: int) -> Tokenizer:
    """CLIP's own tokenizer, or the one beside the weights where that has other words.

    Raises:
        CheckpointError: the one beside the weights is not of CLIP's form, there is none for this many tokens, or a
            sentence would be read at another place than its end.
    """
    own = clip_tokenizer()
    if weights.tokenizer is None:
        if vocab_size != own.get_vocab_size():
            raise CheckpointError(
                f"{weights.path} has {vocab_size} tokens, and CLIP's tokenizer {own.get_vocab_size()}; "
                "put its tokenizer.json beside it, and import the folder"
            )
        return own
    try:
        found = Tokenizer.from_str(weights.tokenizer.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{weights.tokenizer} cannot be read: {first_line(error)}") from None
    if found.get_vocab_size() != vocab_size:
        raise CheckpointError(
            f"{weights.tokenizer} has {found.get_vocab_size()} tokens, the network {vocab_size}; they do not belong "
            "together"
        )
    if found.token_to_id(START) is None or found.token_to_id(END) is None:
        raise CheckpointError(f"{weights.tokenizer} is not of CLIP's form: it lacks {START} or {END}")
    if found.token_to_id(END) != vocab_size - 1:
        raise CheckpointError(
            f"{weights.tokenizer} has tokens above {END} ({found.token_to_id(END)} of {vocab_size}); a sentence is "
            "read at its largest token, so that one with such a word would be read at the wrong place"
        )
    if _words(found) == _words(own):
        return own  # the same, without what a folder's may have set: truncation, padding
    found.no_truncation()
    found.no_padding()
    return found


def _words(tokenizer: Tokenizer) -> tuple[dict[str, int], list[str]]:
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", ())]
    return tokenizer.get_vocab(), merges
