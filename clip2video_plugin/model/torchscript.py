"""Parameters and buffers of a TorchScript archive, read as data: TorchScript's own loader runs code that it holds.

The archive is a zip of ``data.pkl`` (a tree of module objects, which names tensors), ``data/N`` (the bytes of storages)
and ``code/`` (the classes' source, of which only the lists of parameter and buffer names are looked at).
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor

from clip2video_plugin.errors import CheckpointError

LARGEST_TEXT = 16 << 20  # bytes of data.pkl and all sources
CHUNK = 1 << 20  # bytes
MOST_OBJECTS, DEEPEST = 100_000, 64
STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "DoubleStorage": torch.float64,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# What torch's own writer uses. None of these can name or call anything but what find_class below hands out.
OPCODES = (
    *(pickle.PROTO, pickle.GLOBAL, pickle.NEWOBJ, pickle.REDUCE, pickle.BUILD, pickle.BINPERSID, pickle.STOP),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET, pickle.MARK, pickle.NONE),
    *(pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.BINUNICODE, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a zip that torch would give to the TorchScript loader."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[-1] == "constants.pkl" for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of an archive by their dotted names. Nothing in it is run.

    Raises:
        CheckpointError: the archive is damaged, or holds what cannot be read without running code.
    """
    with zipfile.ZipFile(path) as file:
        archive = _Archive(path, file)
        root = _Reader(archive).load()
        if not isinstance(root, ScriptObject):
            archive.refuse("its data.pkl holds no module")
        return _state(archive, root)


@dataclass(frozen=True)
class _View:
    """Where a tensor lies in a storage, not looked at yet."""

    storage: tuple[Any, ...]
    offset: Any
    size: Any
    stride: Any
    metadata: tuple[Any, ...]


class ScriptObject:
    """A module of the archive: ``state`` holds its attributes, as the archive has them."""

    kind = ""
    state: object = None


class _Reader(pickle._Unpickler):
    """Reads data.pkl: plain values, places of tensors, and objects as data."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: act for code, act in pickle._Unpickler.dispatch.items() if bytes([code]) in OPCODES
    }

    def __init__(self, archive: _Archive) -> None:
        super().__init__(io.BytesIO(archive.text(archive.root + "data.pkl")))
        self.archive = archive

    def load(self) -> Any:
        try:
            return super().load()
        except CheckpointError:
            raise
        except Exception as error:  # a pickle that no writer made can fail in any way
            self.archive.refuse(f"its data.pkl cannot be read ({type(error).__name__})")

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return type(name, (ScriptObject,), {"kind": f"{module}.{name}"})
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _view,
            ("torch._utils", "_rebuild_parameter"): _first,
            ("torch.jit._pickle", "restore_type_tag"): _first,
            ("collections", "OrderedDict"): _empty,  # of hooks, which no weights have
            **{("torch.jit._pickle", f"build_{kind}list"): _first for kind in ("int", "double", "bool", "tensor")},
            **{("torch", storage): dtype for storage, dtype in STORAGES.items()},
        }
        if (module, name) not in known:
            self.archive.refuse(f"it names {module}.{name}, which is no tensor")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return pid

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(target, ScriptObject):
            self.archive.refuse("its data.pkl gives a state to what is no module")
        target.state = state

    dispatch[pickle.BUILD[0]] = load_build


def _view(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _View:
    return _View(storage, offset, size, stride, rest[2:])  # after requires_grad and hooks


def _first(value: Any, *_: Any) -> Any:
    return value


def _empty() -> dict[str, object]:
    return {}


class _Archive:
    """The zip: texts and storages, each within bounds that the size of the file sets."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path, self.file = path, file
        roots = [name.removesuffix("data.pkl") for name in file.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(roots) != 1:
            self.refuse(f"it holds {len(roots)} files data.pkl, expected one")
        self.root = roots[0]
        self.names = set(file.namelist())
        self.left = path.stat().st_size  # storages lie in it uncompressed, each once
        self.text_left = LARGEST_TEXT
        order = self.text(self.root + "byteorder").decode("ascii", "replace") if self.has("byteorder") else "little"
        if order not in ("little", "big"):
            self.refuse(f"its byte order is {order[:20]!r}; expected little or big")
        self.swapped = order != sys.byteorder
        self.storages: dict[str, Tensor] = {}
        with open(path, "rb") as content:
            self.mapped = mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_COPY)

    def refuse(self, why: str) -> NoReturn:
        raise CheckpointError(f"{self.path} is refused: {why}; no code in it was run")

    def has(self, name: str) -> bool:
        return self.root + name in self.names

    def text(self, name: str) -> bytes:
        with self.file.open(name) as member:
            content = member.read(self.text_left + 1)
        self.text_left -= len(content)
        if self.text_left < 0:
            self.refuse(f"its texts are larger than {LARGEST_TEXT >> 20} MB")
        return content

    def storage(self, pid: tuple[Any, ...]) -> Tensor:
        """One storage as a flat tensor, from ("storage", dtype, key, device, count)."""
        try:
            kind, dtype, key, _, count = pid
            name = f"data/{key}"
            fits = kind == "storage" and isinstance(dtype, torch.dtype) and type(key) is str and _whole(count)
        except (TypeError, ValueError):
            fits = False
        if not fits or not self.has(name):
            self.refuse(f"storage {pid[2] if len(pid) > 2 else pid!r} is missing or not of a known kind")
        size = count * dtype.itemsize
        if key not in self.storages:
            info = self.file.getinfo(self.root + name)
            self.left -= info.file_size
            if info.file_size != size or self.left < 0:
                self.refuse(f"storage {key} has {info.file_size} bytes, expected {size}, within the file's size")
            self.storages[key] = self.checked(info, dtype)
        flat = self.storages[key]
        if (flat.dtype, len(flat)) != (dtype, count):
            self.refuse(f"storage {key} is of two kinds")
        return flat

    def checked(self, info: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
        """The numbers of a record; mapped, where they lie in the file as this machine has them."""
        name, extra = struct.unpack("<HH", self.mapped[info.header_offset + 26 : info.header_offset + 30])
        start, size = info.header_offset + 30 + name + extra, dtype.itemsize
        as_they_are = info.compress_type == zipfile.ZIP_STORED and start % size == 0 and not self.swapped
        numbers = np.zeros(0 if as_they_are else info.file_size, np.uint8)
        with self.file.open(info) as record:  # to its end, where the checksum is compared
            at = 0
            while content := record.read(CHUNK):
                if not as_they_are:
                    numbers[at : at + len(content)] = np.frombuffer(content, np.uint8)
                at += len(content)
        if not info.file_size:
            return torch.empty(0, dtype=dtype)
        if as_they_are:
            return torch.frombuffer(self.mapped, dtype=dtype, count=info.file_size // size, offset=start)
        if self.swapped:
            numbers = numbers.view(f"u{size}").byteswap().view(np.uint8)
        return torch.from_numpy(numbers).view(dtype)

    def tensor(self, key: str, view: _View) -> Tensor:
        flat = self.storage(view.storage)
        sizes, strides = view.size, view.stride
        plain = isinstance(sizes, tuple) and isinstance(strides, tuple) and len(sizes) == len(strides) <= DEEPEST
        if not plain or not all(map(_whole, (view.offset, *sizes, *strides))) or any(view.metadata):
            self.refuse(f"{key} is no plain tensor")
        last = view.offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        if math.prod(sizes) > len(flat) or (math.prod(sizes) and last >= len(flat)):
            self.refuse(f"{key} of shape {list(sizes)} lies outside its storage of {len(flat)} numbers")
        return flat.as_strided(sizes, strides, view.offset if math.prod(sizes) else 0)

    def registered(self, kind: str) -> set[str]:
        """Names of the parameters and buffers of a class, from its source; other tensors are no weights."""
        module, _, name = kind.rpartition(".")
        path = f"code/{module.replace('.', '/')}.py"
        if not self.has(path):
            self.refuse(f"it has no {path}")
        source = self.text(self.root + path).decode("utf-8", "replace")
        found = re.search(rf"^class {re.escape(name)}\(Module\):\n((?:[ \t].*\n|\n)*)", source, re.MULTILINE)
        if found is None:
            self.refuse(f"{path} has no class {name}")
        if "def __setstate__(" in found[1]:
            self.refuse(f"{name} has a state that only code in the file can restore")
        lists = re.findall(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", found[1], re.MULTILINE)
        return set(re.findall(r'"([^"]*)"', " ".join(lists)))


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _state(archive: _Archive, root: ScriptObject) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    registered: dict[str, set[str]] = {}
    todo, seen = [(root, "", 0)], 0
    while todo:
        module, prefix, depth = todo.pop()
        seen += 1
        if seen > MOST_OBJECTS or depth > DEEPEST:
            archive.refuse(f"its modules are more than {MOST_OBJECTS}, or more than {DEEPEST} deep")
        if not isinstance(module.state, dict):
            archive.refuse(f"{module.kind} has a state that only code in the file can restore")
        if module.kind not in registered:
            registered[module.kind] = archive.registered(module.kind)
        for name, value in module.state.items():
            if isinstance(value, ScriptObject):
                todo.append((value, f"{prefix}{name}.", depth + 1))
            elif isinstance(value, _View) and name in registered[module.kind]:
                state[f"{prefix}{name}"] = archive.tensor(f"{prefix}{name}", value)
    return state
