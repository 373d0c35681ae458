"""Captions are cleaned as CLIP cleans them, and plain ones without the work."""

import html
import re

import ftfy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clip2video_plugin.model.tokenizer import clean


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
