"""Arrays out of a pickle, as data: ``python -m clip2video_plugin.evaluation.unpickle FILE.pkl OUT.npy``.

What a pickle names is looked up in a short table of records that do nothing. The arrays are built from the bytes in
those records afterwards, so that nothing the file names is called, NumPy's own functions included.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.paths import expanded

LARGEST, GROWTH = 1 << 20, 16  # bytes of an array of rows, and how many times those of the file in addition


class _Refused(Exception):
    pass


class _Record:
    """A name that a pickle used, what it would have been called with, and the state it was given."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments, self.state = name, arguments, None


def _record(name: str) -> Callable[..., _Record]:
    return lambda *arguments: _Record(name, arguments)


def _bytes(text: Any, encoding: Any) -> bytes:
    """Bytes, as protocols 0 to 2 write them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("it holds bytes in an unknown encoding")
    return text.encode("latin1")


KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _record("dtype"),
    ("_codecs", "encode"): _bytes,
    **{
        (f"numpy.{core}.{module}", name): _record(name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
    },
}


class _Reader(pickle._Unpickler):
    """Reads plain values as they are, and arrays as records."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: act
        for code, act in pickle._Unpickler.dispatch.items()
        if bytes([code]) not in (pickle.EXT1, pickle.EXT2, pickle.EXT4)  # names by number, past find_class
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise _Refused(f"it names {module}.{name}, which is no array of NumPy")
        return KNOWN[module, name]

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(target, _Record):
            raise _Refused("it gives a state to what is no array")
        target.state = state

    dispatch[pickle.BUILD[0]] = load_build

    def load_bytearray8(self) -> None:
        """The bytes that are there; the library would allocate as many as the file claims."""
        (length,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(min(length, sys.maxsize))))  # type: ignore[attr-defined]

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def read_pickled(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a pickle, or of a .npy file of Python objects, by name.

    The name is that in a dictionary, the place in a tuple, and "" for one alone. A list of numbers is an array, and so
    is one of rows or of blocks of rows. Nothing in the file is run.

    Raises:
        Clip2VideoError: the file is missing or damaged, names what is no array of NumPy, or holds no array of numbers.
    """
    path = expanded(path)
    if not path.is_file():
        raise Clip2VideoError(f"{path} is {'no file' if path.exists() else 'not there'}; expected a pickle")
    try:
        most = LARGEST + GROWTH * path.stat().st_size
        with path.open("rb") as file:
            _skip_header(file)
            found = _Reader(file, encoding="latin1").load()
        several = dict(enumerate(found)) if isinstance(found, tuple) else found
        named = several if isinstance(several, dict) else {"": several}
        arrays = {str(name): array for name, value in named.items() if (array := _array(value, most)) is not None}
    except _Refused as error:
        raise Clip2VideoError(f"{path} is refused: {error}; nothing in it was run") from None
    except OSError as error:
        raise Clip2VideoError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # a pickle that no writer made can fail in any way
        raise Clip2VideoError(f"{path} is no pickle, or a damaged one ({type(error).__name__})") from None
    if not arrays:
        raise Clip2VideoError(f"{path} holds no array of real numbers")
    return arrays


def convert(source: str | Path, target: str | Path, key: str | None = None) -> dict[str, NDArray[Any]]:
    """Writes the arrays of a pickle to a new .npy or .npz file, and returns them.

    Args:
        target: .npy for one array, .npz for all of a dictionary under their names.
        key: the one to write of a dictionary's.

    Raises:
        Clip2VideoError: as ``read_pickled``; ``target`` exists or cannot be written; there are several arrays for one.
    """
    target = expanded(target)
    if target.suffix not in (".npy", ".npz"):
        raise Clip2VideoError(f"{target} must end in .npy, or in .npz for several arrays")
    if target.exists():
        raise Clip2VideoError(f"{target} exists; name a new file")
    arrays = read_pickled(source)
    if key is not None and key not in arrays:
        raise Clip2VideoError(f"{source} has no array {key!r}; it has {_named(arrays)}")
    if key is not None:
        arrays = {key: arrays[key]}
    if target.suffix == ".npy" and len(arrays) > 1:
        raise Clip2VideoError(f"{source} has {_named(arrays)}; choose one with --key, or write them all to a .npz file")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            if target.suffix == ".npz":
                _write_all(file, arrays)
            else:
                np.lib.format.write_array(file, next(iter(arrays.values())), allow_pickle=False)
        os.replace(partial, target)
    except OSError as error:
        raise Clip2VideoError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return arrays


def main(arguments: list[str] | None = None) -> None:
    """The command; what goes wrong is one line on standard error."""
    from clip2video_plugin.cli import terminal

    parser = argparse.ArgumentParser(
        prog="python -m clip2video_plugin.evaluation.unpickle",
        description="Convert a pickle of NumPy arrays to .npy or .npz. Nothing in the pickle is run.",
    )
    parser.add_argument("file", metavar="FILE.pkl")
    parser.add_argument("out", metavar="OUT.npy", help="a new file; .npz keeps all arrays of a dictionary")
    parser.add_argument("--key", help="the array to take from a dictionary")
    asked = parser.parse_args(arguments)
    terminal.prepare()
    try:
        for name, array in convert(asked.file, asked.out, asked.key).items():
            shape = " x ".join(map(str, array.shape))
            terminal.say(f"{asked.out}: {name and name + ', '}{shape}, {array.dtype}")
        terminal.finish()
    except Clip2VideoError as error:
        terminal.warn(error)
        sys.exit(error.exit_code)


def _write_all(file: BinaryIO, arrays: dict[str, NDArray[Any]]) -> None:
    """A .npz file; numpy.savez cannot take every name."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name or 'scores'}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _skip_header(file: BinaryIO) -> None:
    """Goes to the pickle in a .npy file of objects, and to the start of any other file."""
    is_npy = file.read(6) == b"\x93NUMPY"
    file.seek(0)
    if is_npy:
        first = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        if read(file)[2] != np.dtype(object):
            raise _Refused("it is an array already")


def _array(value: Any, most: int) -> NDArray[Any] | None:
    """The array that a value is, if it is one: a record, numbers, rows, or blocks of rows, of ``most`` bytes."""
    if (found := _row(value, most)) is not None or not isinstance(value, list):
        return found
    rows, size = list[NDArray[Any]](), 0
    for one in value:
        if (row := _row(one, most)) is None:
            return None
        rows.append(row)
        size += row.nbytes
        if size > most:
            raise _Refused("it repeats its rows until they are far larger than the file")
    return np.vstack(rows) if rows else None


def _row(value: Any, most: int) -> NDArray[Any] | None:
    if isinstance(value, _Record):
        return _built(value, most)
    if not isinstance(value, list) or not value or not all(type(number) in (int, float) for number in value):
        return None
    array = np.array(value)
    return array if array.dtype.kind in "fiu" else None


def _built(record: _Record, most: int) -> NDArray[Any] | None:
    """The array of a record, over the bytes that the file holds for it."""
    if record.name == "_reconstruct" and record.state is not None:
        _, shape, kind, columns_first, data = record.state
    elif record.name == "_frombuffer":
        data, kind, shape, order = record.arguments
        columns_first = order == "F"
    else:
        return None
    code = kind.arguments[0] if isinstance(kind, _Record) and kind.name == "dtype" else ""
    if code == "O8" and isinstance(data, list):
        found = _array(data, most)
        return found if found is None or found.ndim > 1 else found.reshape(shape)
    order = kind.state[1] if kind.state else "="
    if not re.fullmatch("[<>=|]([fiu][1248]|b1)", f"{order}{code}"):
        return None
    content = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(content, f"{order}{code}").reshape(shape, order="F" if columns_first else "C")


def _named(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())


if __name__ == "__main__":
    main()
