"""Mutations that keep a file's form: what a parser reads deep inside is reached only by those.

Each form is told by its content. ``change`` takes the mutator of plain bytes for what a part holds.
"""

import io
import json
import math
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

Plain = Callable[..., bytes]
Change = Callable[[Random, bytes, Plain], "bytes | None"]

SIZES = (0, 1, 7, 8, 9, 15, 16, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1)
PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"edts", b"dinf", b"mvex", b"moof", b"traf", b"meta")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, math.inf, -math.inf, math.nan),
    *("", "\0", "\ud800", "a\nb", "../..", "/etc/passwd", "1", "true", "\u202eabc", "x" * 3000),
    *([], {}, [[]], [None], {"": None}, [1, 2, 3], [1e308] * 3, {"a": {"b": []}}),
)


# MP4 and QuickTime: boxes of 32-bit length and four letters


def _is_mp4(data: bytes) -> bool:
    return data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"moof", b"styp")


def _boxes(data: bytes, start: int, end: int, found: list[tuple[int, int, int]], depth: int = 0) -> None:
    """(start, content, end) of each box, parents before what is in them."""
    while start + 8 <= end and len(found) < 500:
        size, content = int.from_bytes(data[start : start + 4], "big"), start + 8
        if size == 1:
            size, content = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        stop = end if size == 0 else start + size
        if stop > end or stop < content:
            return
        found.append((start, content, stop))
        kind = data[start + 4 : start + 8]
        if kind in PARENTS and depth < 8:
            _boxes(data, content + (4 if kind == b"meta" else 0), stop, found, depth + 1)
        elif kind == b"stsd" and depth < 8:
            _boxes(data, content + 8, stop, found, depth + 1)
        start = stop


def _change_mp4(random: Random, data: bytes, plain: Plain) -> bytes | None:
    found: list[tuple[int, int, int]] = []
    _boxes(data, 0, len(data), found)
    if not found:
        return None
    start, content, end = random.choice([box for box in found if data[box[0] + 4 : box[0] + 8] != b"mdat"] or found)
    box, how = data[start:end], random.randrange(8)
    if how == 0:  # another length than it has
        size = random.choice((*SIZES, len(box) - 1, len(box) + 1, len(box) + 8))
        return data[:start] + struct.pack(">I", size) + data[start + 4 :]
    if how == 1:  # a 64-bit length
        return data[:start] + b"\0\0\0\1" + box[4:8] + random.randbytes(8) + data[content:]
    if how == 2:
        kind = data[(other := random.choice(found)[0]) + 4 : other + 8]
        return data[:start] + box[:4] + kind + box[8:] + data[end:]
    inner = box[content - start :]
    if how == 3:
        new = b""
    elif how == 4:
        new = box * random.choice((2, 3, 200))
    elif how == 5 and len(inner) >= 4:  # one of its numbers, counts of tables above all
        at = random.choice((4, 8, 12, 16, 4 * random.randrange(len(inner) // 4)))
        number = struct.pack(">I", random.choice(SIZES))
        new = box[: content - start] + (inner[:at] + number + inner[at + 4 :])[: len(inner)]
    else:
        inner = plain(random, inner) if how == 6 else inner[: random.randrange(len(inner) + 1)]
        new = struct.pack(">I", len(inner) + 8) + box[4:8] + inner
    out = bytearray(data[:start] + new + data[end:])
    if random.random() < 0.7:  # the boxes around it have the right length again
        for above, inside, last in found:
            if above < start and last >= end and inside == above + 8:
                length = int.from_bytes(out[above : above + 4], "big") + len(new) - len(box)
                out[above : above + 4] = struct.pack(">I", max(length, 0) % 2**32)
    return bytes(out)


# Matroska and WebM: EBML elements


def _is_ebml(data: bytes) -> bool:
    return data.startswith(b"\x1a\x45\xdf\xa3")


MASTERS = {0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675, 0x1C53BB6B, 0xBB, 0xB7, 0x114D9B74}


def _vint(data: bytes, at: int, *, keep: bool) -> tuple[int, int]:
    """(value, bytes) of a number whose first byte says how long it is."""
    if at >= len(data) or not data[at]:
        return -1, 1
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return (value if keep else value & (1 << 7 * length) - 1), length


def _elements(data: bytes, start: int, end: int, found: list[tuple[int, int, int, int]]) -> None:
    """(start, place of the length, content, end) of each element."""
    while start < end and len(found) < 500:
        name, width = _vint(data, start, keep=True)
        size, long = _vint(data, start + width, keep=False)
        content = start + width + long
        stop = end if size == (1 << 7 * long) - 1 else content + size
        if name < 0 or size < 0 or stop > end:
            return
        found.append((start, start + width, content, stop))
        if name in MASTERS:
            _elements(data, content, stop, found)
        start = stop


def _change_ebml(random: Random, data: bytes, plain: Plain) -> bytes | None:
    found: list[tuple[int, int, int, int]] = []
    _elements(data, 0, len(data), found)
    if not found:
        return None
    start, length, content, end = random.choice(found)
    element, how = data[start:end], random.randrange(6)
    if how == 0:
        return data[:start] + data[end:]
    if how == 1:
        return data[:start] + element * random.choice((2, 3, 200)) + data[end:]
    if how == 2:  # unknown, huge, or none
        size = random.choice(
            (b"\xff", b"\x01" + b"\xff" * 7, b"\x01" + b"\xff" * 6 + b"\xfe", b"\x80", b"\x08\xff\xff\xff\xff")
        )
        return data[:length] + size + data[content:]
    if how == 3:
        other = random.choice(found)
        return data[:start] + data[other[0] : other[1]] + data[length:]
    inner = data[content:end]
    if how == 4 and 0 < len(inner) <= 8:
        inner = random.choice((bytes(len(inner)), b"\xff" * len(inner), b"\x7f" + b"\xff" * (len(inner) - 1)))
    else:
        inner = plain(random, inner)
    if random.random() < 0.7:
        return data[:length] + b"\x08" + struct.pack(">I", len(inner) % 2**32) + inner + data[end:]
    return data[:content] + inner + data[end:]


# RIFF (AVI, WebP) and PNG: chunks with four letters and a length


def _is_riff(data: bytes) -> bool:
    return data.startswith(b"RIFF") and len(data) > 24


def _change_riff(random: Random, data: bytes, plain: Plain) -> bytes | None:
    names = (b"LIST", b"strh", b"strf", b"avih", b"movi", b"idx1", b"00dc", b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"hdrl")
    places = [at for name in names if (at := data.find(name, random.randrange(len(data)))) >= 0]
    if not places:
        return None
    at = random.choice(places)
    if random.random() < 0.6:
        return data[: at + 4] + struct.pack("<I", random.choice(SIZES)) + data[at + 8 :]
    number = at + 8 + 4 * random.randrange(16)
    return data[:number] + struct.pack("<I", random.choice(SIZES)) + data[number + 4 :]


def _is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG\r\n\x1a\n")


def _change_png(random: Random, data: bytes, plain: Plain) -> bytes | None:
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return None
    one = random.randrange(len(chunks))
    name, content = chunks[one]
    how = random.randrange(4)
    if how == 0:
        chunks[one : one + 1] = [chunks[one]] * random.choice((0, 2, 50))
    elif how == 1 and name == b"IHDR":
        content = struct.pack(">II", random.choice(SIZES), random.choice(SIZES)) + content[8:]
        chunks[one] = name, content
    elif how == 2:
        chunks[one] = random.choice((b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"zTXt", b"iCCP")), content
    else:
        chunks[one] = name, plain(random, content)
    parts = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return data[:8] + b"".join(parts)


# MPEG transport streams: packets of 188 bytes


def _is_ts(data: bytes) -> bool:
    return len(data) > 376 and data[0] == data[188] == 0x47


def _change_ts(random: Random, data: bytes, plain: Plain) -> bytes | None:
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    one, other = random.randrange(len(packets)), random.randrange(len(packets))
    how = random.randrange(4)
    if how == 0:
        del packets[one : one + random.choice((1, 3, 20))]
    elif how == 1:
        packets[other:other] = [packets[one]] * random.choice((1, 5, 100))
    elif how == 2:
        packets[one], packets[other] = packets[other], packets[one]
    else:
        changed = plain(random, packets[one])
        packets[one] = (changed + bytes(188))[:188]
    return b"".join(packets)


# JSON, alone and as the header of safetensors


def _is_json(data: bytes) -> bool:
    return data[:1] in (b"{", b"[") and len(data) < 200_000


def _change_json(random: Random, data: bytes, plain: Plain) -> bytes | None:
    try:
        value = json.loads(data)
        return json.dumps(changed_value(random, value), ensure_ascii=random.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    except (ValueError, OverflowError, RecursionError):
        return _change_lines(random, data)


def _change_lines(random: Random, data: bytes) -> bytes | None:
    """A line of JSON lines."""
    lines = data.split(b"\n")
    one = random.randrange(len(lines))
    try:
        lines[one] = json.dumps(changed_value(random, json.loads(lines[one]))).encode()
    except (ValueError, OverflowError, RecursionError):
        return None
    return b"\n".join(lines)


def changed_value(random: Random, value: Any) -> Any:
    """Plain data with something in it changed: a value, a key, its kind, its depth, or how often it is there."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        out, key = dict(value), random.choice(list(value))
        how = random.randrange(8)
        if how == 0:
            del out[key]
        elif how == 1:
            out[random.choice((*value, "", "__class__", "dtype", key.upper(), key + "s"))] = out.pop(key)
        elif how == 2:
            other = random.choice(list(value))
            out[key], out[other] = out[other], out[key]
        else:
            out[key] = changed_value(random, value[key])
        return out
    if isinstance(value, list) and value and random.random() < 0.8:
        new, at = list(value), random.randrange(len(value))
        how = random.randrange(6)
        if how == 0:
            del new[at]
        elif how == 1:
            new *= random.choice((2, 50))
        else:
            new[at] = changed_value(random, value[at])
        return new
    if random.random() < 0.05:
        return deep(random.choice((10, 500)))
    if random.random() < 0.1:
        return [value]
    if isinstance(value, str) and value and random.random() < 0.4:
        return random.choice((value * 2, value[:-1], value.upper(), f" {value}", value[1:], value + "\n"))
    if isinstance(value, int | float) and random.random() < 0.5:
        return random.choice((-value, value + 1, value - 1, value * 1000, float(value), str(value)))
    return random.choice(VALUES)


def deep(levels: int) -> Any:
    out: Any = 0
    for _ in range(levels):
        out = [out]
    return out


def _is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data)


def _change_safetensors(random: Random, data: bytes, plain: Plain) -> bytes | None:
    length = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + length], data[8 + length :]
    how = random.randrange(5)
    if how == 0:
        length = random.choice((0, 1, 2, length - 1, length + 1, len(data) - 8, len(data), 2**31, 2**63, 2**64 - 1))
        return struct.pack("<Q", length) + header + rest
    if how == 1:
        rest = plain(random, rest)
    else:
        header = _change_json(random, header, plain) or header
    return struct.pack("<Q", len(header)) + header + rest


# Zip: torch files, TorchScript, .npz


def _is_zip(data: bytes) -> bool:
    return data.startswith(b"PK\x03\x04")


def _change_zip(random: Random, data: bytes, plain: Plain) -> bytes | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # it is one no more
        return None
    if not members:
        return None
    one = random.randrange(len(members))
    if random.random() < 0.5:  # the one that says what the others are
        one = next((i for i, (name, _) in enumerate(members) if name.endswith((".pkl", ".npy", ".json"))), one)
    name, content = members[one]
    how, compression = random.randrange(9), zipfile.ZIP_STORED
    if how == 0:
        del members[one]
    elif how == 1:
        members.append((random.choice(members)[0], content))
    elif how == 2:
        members[one] = (
            random.choice(("../" + name, "/" + name, name.split("/")[-1], name + "\0", "a/b/" + name)),
            content,
        )
    elif how == 3:
        compression = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    elif how == 4:
        members.append(
            (random.choice(("archive/version", "archive/byteorder", "x/data.pkl", "archive/code/a.py")), b"big")
        )
    else:
        members[one] = name, plain(random, content)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members:
            try:
                archive.writestr(zipfile.ZipInfo(name or "x"), content)
            except Exception:  # a name that no member can have
                continue
    out = target.getvalue()
    if random.random() < 0.15 and (at := out.rfind(b"PK\x01\x02")) > 0:  # sizes and checksum in the directory
        field = at + random.choice((10, 16, 20, 24, 42))
        out = out[:field] + struct.pack("<I", random.choice(SIZES)) + out[field + 4 :]
    return out


# Pickles, by their opcodes


def _is_pickle(data: bytes) -> bool:
    return data[:1] == b"\x80" and len(data) < 100_000


GLOBALS = (
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"cposix\nsystem\n",
    b"cnumpy\nndarray\n",
    b"ctorch\nload\n",
    b"c__main__\nx\n",
)
OPCODES = (
    *(
        pickle.REDUCE,
        pickle.BUILD,
        pickle.NEWOBJ,
        pickle.STACK_GLOBAL,
        pickle.POP,
        pickle.DUP,
        pickle.MARK,
        pickle.STOP,
    ),
    *(pickle.BINPERSID, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.NONE, pickle.SETITEM),
    *(pickle.APPEND, pickle.TUPLE1, pickle.BININT1 + b"\xff", pickle.BINUNICODE + b"\0\0\0\x7f", pickle.BINGET + b"\0"),
    *(pickle.LONG4 + b"\xff\xff\xff\x7f", pickle.FRAME + b"\xff" * 8, pickle.LONG_BINPUT + b"\xff\xff\xff\x0f"),
    *(pickle.EXT1 + b"\1", pickle.BINBYTES8 + b"\xff" * 7 + b"\x7f", pickle.BYTEARRAY8 + b"\xff" * 7 + b"\0"),
)


def _change_pickle(random: Random, data: bytes, plain: Plain) -> bytes | None:
    places = list[int]()
    with suppress(Exception):  # it goes wrong further on
        places.extend(at for _, _, at in pickletools.genops(data))
    if len(places) < 2:
        return None
    one = random.randrange(len(places) - 1)
    start, end = places[one], places[one + 1]
    other = random.randrange(len(places) - 1)
    how = random.randrange(6)
    if how == 0:
        return data[:start] + data[end:]
    if how == 1:
        return data[:end] + data[start:end] * random.choice((1, 3, 1000)) + data[end:]
    if how == 2:
        part = data[places[other] : places[other + 1]]
        return data[:start] + part + data[end:]
    if how == 3:
        return data[:start] + random.choice(OPCODES) + data[start:]
    if how == 4:
        return data[:start] + random.choice(GLOBALS) + data[end:]
    return data[: start + 1] + plain(random, data[start + 1 : end]) + data[end:]


STRUCTURES: tuple[tuple[Callable[[bytes], bool], Change], ...] = (
    (_is_ebml, _change_ebml),
    (_is_png, _change_png),
    (_is_riff, _change_riff),
    (_is_zip, _change_zip),
    (_is_safetensors, _change_safetensors),
    (_is_mp4, _change_mp4),
    (_is_ts, _change_ts),
    (_is_json, _change_json),
    (_is_pickle, _change_pickle),
)
