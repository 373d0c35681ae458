"""Names of files: stored without loss, shown without harm."""

import os
import subprocess
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.paths import as_path, expanded, printable, stored

NAMES = st.binary(max_size=40).map(lambda name: name.replace(b"\0", b""))


@given(NAMES)
def test_any_name_comes_back_from_the_text_of_a_column(name):
    text = stored(os.fsdecode(name))
    text.encode()  # UTF-8, as a table, MongoDB and JSON take it
    assert os.fsencode(as_path(text)) == name


@given(st.text().filter(lambda name: "\0" not in name))
def test_a_name_in_utf_8_is_stored_as_it_is(name):
    assert stored(name) == name


@given(NAMES, NAMES)
def test_two_names_have_two_texts(one, other):
    assert (stored(os.fsdecode(one)) == stored(os.fsdecode(other))) == (one == other)


@given(NAMES)
def test_the_text_of_a_name_is_no_other_name(name):
    """Also not that of a file that is called as the text reads."""
    text = stored(os.fsdecode(name))
    if text.encode() != name:
        assert "\0" in text


def test_a_name_is_stored_alike_in_every_locale():
    name = b"/gr\xc3\xb6\xc3\x9fe/caf\xe9.mp4"
    code = (
        "import os; from clip2video_plugin.paths import as_path, stored; "
        f"text = stored(os.fsdecode({name!r})); assert os.fsencode(as_path(text)) == {name!r}; print(ascii(text))"
    )
    c_locale = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run([sys.executable, "-c", code], env=c_locale, capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == ascii(stored(os.fsdecode(name))), said.stderr


@given(st.text(st.characters()) | NAMES.map(os.fsdecode))
def test_what_is_shown_is_one_line_that_steers_no_terminal(text):
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    for character in shown:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"), hex(ord(character))
        assert unicodedata.bidirectional(character) not in (
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"
        )  # fmt: skip
    assert printable(shown) == shown


def test_every_character_that_steers_is_escaped():
    for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]:
        assert chr(code) not in printable(f"a{chr(code)}b"), hex(code)


def test_what_is_escaped_reads_as_a_shell_writes_it():
    assert printable("a\nb\tc\x1b[31m\udcff\x9b\u202e") == r"a\nb\tc\x1b[31m\xff\u009b\u202e"
    assert printable("größe 🎬 עברית नमस्ते [red] it's") == "größe 🎬 עברית नमस्ते [red] it's"


def test_a_tilde_is_a_home_unless_a_file_or_nobody_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(expanded("~/clips")) == "/somewhere/clips"
    assert str(expanded("~nouser.mp4")) == "~nouser.mp4"
    (tmp_path / "~").touch()
    assert str(expanded("~")) == "~"


def test_a_message_of_any_length_keeps_its_beginning_and_its_end():
    text = str(Clip2VideoError(f"the filter {'x' * 50_000} cannot be read; allowed are a and b"))
    assert len(text) <= 4_000
    assert text.startswith("the filter xx")
    assert text.endswith("; allowed are a and b")
