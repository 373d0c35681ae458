"""Captions to token ids: cleaning, byte-pair encoding, padding (docs/explanation/network.md#captions).

Two kinds of tokenizer are told apart by their tokens: CLIP's, and Gemma's, with which SigLIP 2 was trained.
"""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as NormalSequence
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as PreSequence
from tokenizers.trainers import BpeTrainer
from torch import Tensor

from clip2video_plugin.errors import CheckpointError, QueryError, first_line, is_panic

START, END = "<|startoftext|>", "<|endoftext|>"  # CLIP's
EOS, PAD = "<eos>", "<pad>"  # Gemma's
WORD_END = "</w>"
MOST_GROWTH = 1_000  # CLIP's here allows 2
CLIP_MERGES = 49152 - 256 - 2  # the merges table holds more than CLIP's vocabulary uses
WORDS = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def clean(caption: str) -> str:
    """Mends encoding, unescapes HTML twice, collapses white space, lowers the case."""
    if caption.isascii() and caption.isprintable() and "&" not in caption:  # most captions: nothing to mend
        return " ".join(caption.split()).lower()
    import ftfy  # takes a while

    text = html.unescape(html.unescape(ftfy.fix_text(caption))).strip()
    return re.sub(r"\s+", " ", text).strip().lower()


@lru_cache(maxsize=1)
def clip_tokenizer() -> Tokenizer:
    """OpenAI CLIP's tokenizer, 49,408 tokens, from its merges table."""
    table = files("clip2video_plugin.model").joinpath("data/bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(table).decode("utf-8").split("\n")[1 : CLIP_MERGES + 1]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    symbols = _byte_symbols()
    words = [*symbols, *(symbol + WORD_END for symbol in symbols), *(left + right for left, right in merges)]
    vocab = {word: index for index, word in enumerate([*words, START, END])}
    return _tokenizer(BPE(vocab=vocab, merges=merges, end_of_word_suffix=WORD_END, unk_token=END))


def train_tokenizer(captions: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-pair tokenizer of CLIP's form, learned from captions: at most ``vocab_size`` tokens, at least 514.

    The same captions give the same tokens.
    """
    learner = _tokenizer(BPE(end_of_word_suffix=WORD_END), special=False)
    symbols = _byte_symbols()
    endings = [symbol + WORD_END for symbol in symbols]
    trainer = BpeTrainer(
        vocab_size=vocab_size - 2,
        end_of_word_suffix=WORD_END,
        initial_alphabet=symbols,
        # Named here so that they are numbered in this order; the library would number them in that of a hash table.
        special_tokens=endings,
        show_progress=False,
    )
    learner.train_from_iterator((clean(caption) for caption in captions), trainer)
    model = learner.model
    merges = _merges(model)
    words = [*symbols, *endings, *(left + right for left, right in merges), START, END]  # END has the largest id
    vocab = {word: index for index, word in enumerate(dict.fromkeys(words))}
    return _tokenizer(BPE(vocab=vocab, merges=merges, end_of_word_suffix=WORD_END, unk_token=END))


def load_tokenizer(text: str) -> Tokenizer:
    """The tokenizer of a tokenizer.json: a checkpoint's, or the one published with SigLIP 2.

    Raises CheckpointError when it is neither CLIP's nor Gemma's.
    """
    with _plainly("tokenizer.json"):
        tokenizer = Tokenizer.from_str(text)
        if (growth := _growth(tokenizer)) > MOST_GROWTH:
            raise ValueError(f"it makes a text up to {growth:g} times as long; at most {MOST_GROWTH} times is allowed")
    model = tokenizer.model
    gemma = isinstance(model, BPE) and model.byte_fallback and None not in map(tokenizer.token_to_id, (EOS, PAD))
    clip = tokenizer.token_to_id(START) is not None and tokenizer.token_to_id(END) == tokenizer.get_vocab_size() - 1
    if not clip and not gemma:
        raise CheckpointError(
            f"tokenizer.json: needs {START}, and {END} with the largest id, as CLIP has them; or {EOS} and {PAD} "
            "beside byte-pair words, as SigLIP 2 has them (the first SigLIP's is not read)"
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    normal = tokenizer.normalizer
    if not clip and (normal is None or normal.normalize_str("A") != "a"):
        # SigLIP 2 was trained in lower case; the published file leaves that to the class that loads it.
        tokenizer.normalizer = NormalSequence([Lowercase(), *([] if normal is None else [normal])])
    return tokenizer


def _growth(tokenizer: Tokenizer) -> float:
    """How many times as long a text can become before it is cut into words: each step may add to every letter."""
    parts: list[Any] = [
        json.loads(part.__getstate__()) for part in (tokenizer.normalizer, tokenizer.pre_tokenizer) if part
    ]
    growth = 1.0
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            parts += part.values()
            if part.get("type") == "Replace":
                growth *= 1 + len(str(part.get("content", "")))
            elif part.get("type") == "ByteLevel":
                growth *= 2  # of bytes that are no ASCII
    return growth


def tokenize(captions: Sequence[str], tokenizer: Tokenizer, max_words: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask of T captions, both int64 [T, L] with L = ``max_words``.

    CLIP's: start token, at most L - 2 word pieces, end token, zeros. Gemma's: at most L - 1 word pieces of the caption
    as it is written, end token, padding tokens. The mask is 1 up to the end token.

    Raises:
        QueryError: ``max_words`` is below 2, or a caption is not text.
    """
    if max_words < 2:
        raise QueryError(f"max_words is {max_words}; start and end token alone take 2")
    for caption in captions:
        if not isinstance(caption, str):
            raise QueryError(f"caption {caption!r} is not text")
        if not caption.isascii() and any("\ud800" <= character <= "\udfff" for character in caption):
            raise QueryError(f"{caption!r} is not text in UTF-8; write it again in that encoding")
    form = _form(tokenizer)
    ids = torch.full((len(captions), max_words), form.padding)  # [T, L]
    mask = torch.zeros_like(ids)  # [T, L]
    for row, pieces in enumerate(_word_pieces(captions, tokenizer)):
        tokens = [*form.start, *pieces[: max_words - form.around], form.end]
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def count_longer(captions: Sequence[str], tokenizer: Tokenizer, max_words: int) -> int:
    """How many captions lose words to a limit of ``max_words`` tokens, start and end included."""
    kept = max_words - _form(tokenizer).around
    return sum(len(pieces) > kept for pieces in _word_pieces(captions, tokenizer))


class _Form(NamedTuple):
    """What is done to a caption, and what stands around its word pieces."""

    clean: Callable[[str], str]
    start: tuple[int, ...]
    end: int
    padding: int

    @property
    def around(self) -> int:
        """How many tokens stand around the word pieces."""
        return len(self.start) + 1


def _form(tokenizer: Tokenizer) -> _Form:
    number: Callable[[str], Any] = tokenizer.token_to_id
    if number(START) is None:
        return _Form(str, (), number(EOS), number(PAD))
    return _Form(clean, (number(START),), number(END), 0)


def _word_pieces(captions: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    mended = list(map(_form(tokenizer).clean, captions))
    with _plainly("tokenizer.json cannot be used"):
        return [encoding.ids for encoding in tokenizer.encode_batch(mended, add_special_tokens=False)]


@contextmanager
def _plainly(what: str) -> Iterator[None]:
    """The library's errors in one line; it raises bare Exception, and panics."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise CheckpointError(f"{what}: {first_line(error)}") from None


def _tokenizer(model: BPE, *, special: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = PreSequence(
        [Split(WORDS, behavior="removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    if special:
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (START, END)])
    return tokenizer


def _byte_symbols() -> list[str]:
    """The printable stand-in of each byte, in the order of CLIP's vocabulary."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + n) for n in range(len(hidden))]


def _merges(model: BPE) -> list[tuple[str, str]]:
    """The merges that a trained model holds; the library shows them only in its serialised form."""
    pairs: list[list[str]] = json.loads(Tokenizer(model).to_str())["model"]["merges"]
    return [(left, right) for left, right in pairs]
