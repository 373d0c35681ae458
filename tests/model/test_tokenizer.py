"""Captions are cleaned as CLIP cleans them, and plain ones without the work; SigLIP's have the ids of transformers."""

import html
import json
import re
from functools import cache

import ftfy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clip2video_plugin.errors import CheckpointError, QueryError
from clip2video_plugin.model.tokenizer import clean, clip_tokenizer, count_longer, load_tokenizer, tokenize

from .gemma import gemma_json, siglip_tokenizer


@given(st.text(st.characters(max_codepoint=127)))
@example("AT&amp;amp;T  <b>it's</b>\x7f\r\n")
@example("tab\tand \x1b[0m escape")
def test_any_ascii_is_cleaned_as_the_reference_does(text):
    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    assert clean(text) == re.sub(r"\s+", " ", mended).strip().lower()


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("A  Dog &amp;amp; a cat ", "a dog & a cat"),
        ("itâ€™s a cafÃ©", "it's a café"),
        (" two\nlines ", "two lines"),
    ],
)
def test_what_is_not_plain_is_mended(written, cleaned):
    assert clean(written) == cleaned


@cache
def gemma():
    return load_tokenizer(gemma_json())


def of_transformers(captions):
    """Ids as SigLIP 2 was trained with them, by its own class."""
    made = siglip_tokenizer()(captions, padding="max_length", truncation=True, max_length=64, return_tensors="pt")
    return made["input_ids"]


@given(st.text(max_size=90))
@example("")
@example("  A Dog  RUNS in the park ")
@example("a dog 🐶 and a 👨‍👩‍👧 family, 一只猫坐着")
@example("a red ball bounces " * 20)
@example("İstanbul, ΣΑΣ, ǅ, ẞ")
@example("two\n\nlines\tand   spaces")
@example("<eos> <EOS> <unused0><0x41>▁▁▁x &amp; <b>")
def test_any_text_has_the_ids_of_siglip_2(text):
    ids, mask = tokenize([text], gemma(), 64)
    assert ids.equal(of_transformers([text]))
    words = len(gemma().encode(text, add_special_tokens=False).ids)
    assert mask[0].tolist() == [1] * min(words + 1, 64) + [0] * max(63 - words, 0)


def test_a_long_sentence_keeps_its_end_token_and_is_counted():
    long, short = "the cat sits on the mat " * 20, "a cat"
    ids, mask = tokenize([long, short], gemma(), 64)
    assert ids[0, -1] == gemma().token_to_id("<eos>")
    assert mask.sum(dim=1).tolist() == [64, len(gemma().encode(short, add_special_tokens=False).ids) + 1]
    assert ids[1, -1] == gemma().token_to_id("<pad>")
    assert count_longer([long, short], gemma(), 64) == 1
    fits = "a" + " a" * 62  # 63 words and the end token
    assert [count_longer([fits + more], gemma(), 64) for more in ("", " a")] == [0, 1]


@pytest.mark.parametrize("caption", ["a \ud83d dog", 5])
def test_what_is_no_text_is_refused(caption):
    with pytest.raises(QueryError, match="is not text"):
        tokenize([caption], gemma(), 64)


def test_a_tokenizer_that_was_saved_is_the_same():
    again = gemma()
    for _ in range(3):
        again = load_tokenizer(again.to_str())
    assert again.to_str() == gemma().to_str()
    padded = load_tokenizer(gemma_json())
    padded.enable_padding(length=64)
    padded.enable_truncation(8)
    assert load_tokenizer(padded.to_str()).to_str() == gemma().to_str()


def unigram():
    """Of the first SigLIP's form."""
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram

    made = Tokenizer(Unigram([("<pad>", 0.0), ("<eos>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0)], 3))
    return made.to_str()


def other_bytes():
    """CLIP's form without its special tokens."""
    made = json.loads(clip_tokenizer().to_str())
    made["added_tokens"] = []
    for word in ("<|startoftext|>", "<|endoftext|>"):
        made["model"]["vocab"].pop(word)
    made["model"]["unk_token"] = None
    return json.dumps(made)


def growing(place, parts, step):
    """CLIP's with a step forty times, each of which makes a text longer."""
    made = json.loads(clip_tokenizer().to_str())
    return json.dumps(made | {place: {"type": "Sequence", parts: [step] * 40}})


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
DOUBLED = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}


NO_BYTES = gemma_json().replace('"byte_fallback":true', '"byte_fallback":false')


@pytest.mark.parametrize(
    "text",
    [
        *(unigram(), other_bytes(), NO_BYTES, "{}", "[1]"),
        *(growing("pre_tokenizer", "pretokenizers", BYTES), growing("normalizer", "normalizers", DOUBLED)),
    ],
    ids=["unigram", "no special tokens", "no bytes", "empty", "list", "growing bytes", "growing letters"],
)
def test_another_kind_of_tokenizer_is_refused(text):
    with pytest.raises(CheckpointError, match=r"^tokenizer\.json: [^\n]+$"):
        load_tokenizer(text)
