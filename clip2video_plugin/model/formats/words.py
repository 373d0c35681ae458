"""The tokenizer of a foreign CLIP or SigLIP."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.tokenizer import END, EOS, PAD, START, clip_tokenizer, load_tokenizer
from clip2video_plugin.model.weights import Weights


def clip_words(weights: Weights, vocab_size: int, *, codes: bool = False) -> Tokenizer:
    """CLIP's own tokenizer, or the one beside the weights if its vocabulary is another.

    Args:
        codes: whether the weights are of a code that knows CLIP's own alone, so that one that lies beside them is
            another model's unless CLIP's does not fit.

    Raises:
        CheckpointError: the one beside the weights is not of CLIP's form, there is none for this many tokens, or a
            sentence would be read at another place than its end.
    """
    own = clip_tokenizer()
    if weights.tokenizer is None or (codes and vocab_size == own.get_vocab_size()):
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
    _check_number(weights, found, vocab_size)
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


def siglip_words(weights: Weights, vocab_size: int) -> Tokenizer:
    """SigLIP 2's tokenizer, which lies beside the weights.

    Raises:
        CheckpointError: there is none, or it is another model's.
    """
    if weights.tokenizer is None:
        raise CheckpointError(
            f"{weights.path} has no tokenizer.json beside it, with SigLIP 2's words; import the folder that has both"
        )
    tokenizer = _loaded(weights)
    if tokenizer.token_to_id(START) is not None:
        raise CheckpointError(f"{weights.tokenizer} is CLIP's; SigLIP 2's has {EOS} and {PAD}")
    _check_number(weights, tokenizer, vocab_size)
    return tokenizer


def checkpoint_words(weights: Weights, vocab_size: int) -> Tokenizer:
    """The tokenizer of a checkpoint of this package. Raises CheckpointError as ``siglip_words``."""
    if weights.tokenizer is None:
        raise CheckpointError(f"{weights.path} has no tokenizer.json; import the whole checkpoint folder")
    tokenizer = _loaded(weights)
    _check_number(weights, tokenizer, vocab_size)
    return tokenizer


def _loaded(weights: Weights) -> Tokenizer:
    assert weights.tokenizer is not None
    try:
        return load_tokenizer(weights.tokenizer.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{weights.tokenizer} cannot be read: {first_line(error)}") from None


def _check_number(weights: Weights, tokenizer: Tokenizer, vocab_size: int) -> None:
    if tokenizer.get_vocab_size() != vocab_size:
        raise CheckpointError(
            f"{weights.tokenizer} has {tokenizer.get_vocab_size()} tokens, the network {vocab_size}; they do not "
            "belong together"
        )


def _words(tokenizer: Tokenizer) -> tuple[dict[str, int], list[str]]:
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", ())]
    return tokenizer.get_vocab(), merges
