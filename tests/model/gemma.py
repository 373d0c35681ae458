"""A small tokenizer of Gemma's form, as SigLIP 2 is published with it: byte-pair words, bytes for what has none."""

import json
from functools import cache

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Replace
from tokenizers.pre_tokenizers import Split
from tokenizers.trainers import BpeTrainer
from transformers import GemmaTokenizer, Siglip2Tokenizer

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<unused0>"]
ADDED = ["\n", "\n\n", "▁▁", "▁▁▁"]  # Gemma's has them as words that are found before all else
SENTENCES = [
    "a dog runs in the park and a Cat sits on the red mat",
    "the red ball bounces to the left, then to the right!",
    "two people cook noodles in a small kitchen; it's 10 o'clock",
    "一只狗在公园里跑步",
]


@cache
def words(size=600):
    """Its words by number, and its merges."""
    learner = Tokenizer(BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    learner.normalizer = Replace(" ", "▁")
    learner.pre_tokenizer = Split("▁", "merged_with_next")
    first = [*SPECIAL, *ADDED, *(f"<0x{byte:02X}>" for byte in range(256))]
    learner.train_from_iterator(SENTENCES, BpeTrainer(vocab_size=size, special_tokens=first, show_progress=False))
    model = json.loads(learner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _made(kind):
    vocab, merges = words()
    tokenizer = kind(vocab=vocab, merges=merges, add_bos_token=False, add_eos_token=True, padding_side="right")
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in ADDED])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<unused0>"]})
    assert len(tokenizer) == len(vocab)
    return tokenizer


@cache
def siglip_tokenizer():
    """transformers' own, which SigLIP 2's ids are compared with."""
    return _made(Siglip2Tokenizer)


def published(folder):
    """Writes tokenizer.json as it is published, without a word of lower case."""
    _made(GemmaTokenizer).save_pretrained(folder)
    return folder / "tokenizer.json"


@cache
def gemma_json():
    """What ``published`` writes."""
    return _made(GemmaTokenizer).backend_tokenizer.to_str()
