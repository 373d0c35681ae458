"""Bytes into other bytes: what a bad disk, a cut transfer, a careless tool or an enemy makes of a file.

All chance comes from the ``Random`` that is given, so the same seed gives the same bytes.
"""

from collections.abc import Callable, Sequence
from random import Random

from .structures import STRUCTURES

LONGEST = 1 << 20  # bytes that a mutated file may have
BOUNDARY = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
NUMBERS = (
    *(b"0", b"-1", b"1", b"-0", b"00", b"1e999", b"-1e999", b"1e-400", b"NaN", b"Infinity", b"0x10", b"1_0", b"+1"),
    *(b"2147483647", b"2147483648", b"4294967296", b"9223372036854775807", b"9223372036854775808", b"9" * 400),
    *("\u0661\u0662".encode(), "\u00b2".encode(), "\uff11".encode(), b".", b"1.", b".5", b"1e", b"--1", b"1.5.2"),
)
TEXTS = (
    *(b"", b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\x0b", b"\x1b[2J", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc0\xaf"),
    *(
        "\u2028".encode(),
        "\u202e".encode(),
        "\u0130".encode(),
        "\u1e9e".encode(),
        "\U0001f600".encode(),
        b"\xed\xa0\x80",
    ),
    *(b'"', b"'", b"`", b"\\", b"/", b"../", b"//", b"~", b"~root/", b"%", b"%s", b"%00", b"{}", b"{0}", b"$HOME"),
    *(b"(", b")", b"[", b"]", b"{", b"}", b"<", b">", b"&", b"&amp;", b"&#0;", b"&#x110000;", b",", b";", b":", b"|"),
    *(
        b"://",
        b"s3://b/",
        b"http://[",
        b"file:///",
        b"null",
        b"true",
        b"-->",
        b"#",
        b"@",
        b"=",
        b"*",
        b"?",
        b"A" * 5000,
    ),
    *("e\u0301".encode(), "\ufb01".encode(), b"[" * 3000, b"(" * 300, b'{"a":' * 2000, b"not " * 300, b'"' * 301),
)

Mutator = Callable[[Random, bytearray, Sequence[bytes]], None]


def mutate(random: Random, data: bytes, others: Sequence[bytes] = (), tokens: Sequence[bytes] = ()) -> bytes:
    """The bytes with one to a few things changed.

    Args:
        others: of the same kind of file, from which parts are spliced in.
        tokens: words of the language that the file is in.
    """
    how_often = min(1 + int(random.expovariate(0.7)), 12)
    words = (*tokens, *tokens, *TEXTS, *NUMBERS) if tokens else ()
    for _ in range(how_often):
        if random.random() < 0.4 and (changed := _in_structure(random, data)) is not None:
            data = changed
            continue
        out = bytearray(data)
        if words and random.random() < 0.6:
            random.choice(TEXTUAL)(random, out, words)
        elif others and random.random() < 0.15:
            _splice(random, out, others)
        else:
            random.choice(PLAIN)(random, out, ())
        data = bytes(out)
    return data[:LONGEST]


def _in_structure(random: Random, data: bytes) -> bytes | None:
    for fits, change in STRUCTURES:
        if fits(data):
            try:
                return change(random, data, mutate)
            except Exception:  # what was changed before may have no such structure any more
                return None
    return None


def _place(random: Random, data: bytearray) -> int:
    """Somewhere; half of the time near the beginning or the end, where headers and tables are."""
    size = len(data)
    if size > 64 and random.random() < 0.5:
        near = random.randrange(min(size, 512))
        return near if random.random() < 0.6 else size - 1 - near
    return random.randrange(size + 1)


def _span(random: Random, data: bytearray) -> tuple[int, int]:
    start = _place(random, data)
    return start, min(start + int(random.expovariate(1 / 16)) + 1, len(data))


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _ in range(random.choice((1, 1, 1, 4, 16))):
        if data:
            data[min(_place(random, data), len(data) - 1)] ^= 1 << random.randrange(8)


def _byte(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[min(_place(random, data), len(data) - 1)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))


def _number(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A field of 1 to 8 bytes becomes a boundary value, or a little more or less than it was."""
    width = random.choice((1, 2, 4, 4, 8))
    start = _place(random, data)
    if start + width > len(data):
        return
    order = random.choice(("big", "little"))
    if random.random() < 0.3:
        value = int.from_bytes(data[start : start + width], order) + random.choice((-16, -1, 1, 16, 1 << 8 * width - 1))
    else:
        value = random.choice((1, -1)) * random.choice(BOUNDARY)
    data[start : start + width] = (value % (1 << 8 * width)).to_bytes(width, order)


def _cut(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_place(random, data) :]


def _behead(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[: random.randrange(1 + min(len(data), 64))]


def _drop(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(random, data)
    del data[start:end]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(random, data)
    data[end:end] = data[start:end] * random.choice((1, 1, 2, 10, 300))


def _move(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(random, data)
    part = data[start:end]
    del data[start:end]
    to = _place(random, data)
    data[to:to] = part


def _blank(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A sector that was never written, or is ones."""
    start = _place(random, data) // 16 * 16
    end = min(start + random.choice((16, 64, 512, 4096)), len(data))
    data[start:end] = random.choice((b"\0", b"\xff")) * (end - start)


def _append(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    data += random.choice((b"\0" * 16, random.randbytes(random.randrange(1, 64)), bytes(data[:4096])))


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = random.choice(others)
    start = random.randrange(len(other) + 1)
    part = other[start : start + random.choice((8, 64, 1024, len(other)))]
    to = _place(random, data)
    data[to : to + random.choice((0, len(part)))] = part


def _insert(random: Random, data: bytearray, words: Sequence[bytes]) -> None:
    to = _place(random, data)
    data[to:to] = random.choice(words)


def _replace(random: Random, data: bytearray, words: Sequence[bytes]) -> None:
    start, end = _span(random, data)
    data[start:end] = random.choice(words)


def _replace_number(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """One run of digits becomes another number."""
    start = _place(random, data)
    while start < len(data) and not 48 <= data[start] < 58:
        start += 1
    end = start
    while end < len(data) and (48 <= data[end] < 58 or data[end] == 46):
        end += 1
    data[start:end] = random.choice(NUMBERS)


def _lines(random: Random, data: bytearray, words: Sequence[bytes]) -> None:
    """Lines dropped, doubled, exchanged, joined, or with another end."""
    lines = bytes(data).split(b"\n")
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    how = random.randrange(5)
    if how == 0:
        del lines[one]
    elif how == 1:
        lines[other:other] = [lines[one]] * random.choice((1, 2, 50))
    elif how == 2:
        lines[one], lines[other] = lines[other], lines[one]
    elif how == 3:
        lines[one] = b"".join(lines[one : one + 2])
        del lines[one + 1 : one + 2]
    else:
        lines = [line + b"\r" for line in lines]
    data[:] = b"\n".join(lines)


def _fields(random: Random, data: bytearray, words: Sequence[bytes]) -> None:
    """Two words or fields of a text exchanged."""
    between = random.choice((b" ", b",", b"\t", b":", b'"'))
    parts = bytes(data).split(between)
    one, other = random.randrange(len(parts)), random.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]
    data[:] = between.join(parts)


def _encode(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """As another system would have saved it."""
    text = bytes(data).decode("utf-8", "replace")
    data[:] = text.encode(random.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252", "cp037")), "replace")


PLAIN: tuple[Mutator, ...] = (
    *(_flip, _flip, _byte, _number, _number, _number, _cut, _behead),
    *(_drop, _repeat, _move, _blank, _append),
)
TEXTUAL: tuple[Mutator, ...] = (*(_insert, _insert, _replace, _replace, _replace_number, _lines, _fields, _encode),)
