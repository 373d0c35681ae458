"""One weight file as data. Its content says what it is, not its name; nothing in it is run."""

from __future__ import annotations

import os
import pickle
import pickletools
import re
import stat
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

import safetensors
import torch

from clip2video_plugin.errors import CheckpointError, first_line
from clip2video_plugin.model.legacy import LONGEST, read_legacy
from clip2video_plugin.model.torchscript import is_torchscript, read_torchscript

Container = Literal["torch", "torchscript", "safetensors"]
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled
LARGEST_TEXT = 16 << 20  # bytes that a zip may unpack to beyond its own size
CHUNK = 1 << 20  # bytes
OTHERS = (  # what people have in place of weights: how it begins, and what to do
    (rb"version https://git-lfs", "is a Git LFS pointer, not the weights; get them with: git lfs pull"),
    (
        rb"(?i)\s*(<!doctype|<html|<\?xml|<head)",
        "is a web page, not weights: a download was answered with a page",
    ),
    (rb"\s*[{[]", "is JSON, not weights; name the folder, or the weight file"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "is compressed; unpack it first"),
    (rb"(?s).{257}ustar", "is a tar file; unpack it first"),
    (rb"GGUF", "is a GGUF file of quantised weights; safetensors and torch files are read"),
    (rb"\x89HDF", "is a HDF5 file; safetensors and torch files are read"),
)


def read_container(path: Path) -> tuple[Any, Container]:
    """What a weight file holds: tensors by name, or a trainer's wrapping of them. Mapped where its form allows it.

    Raises:
        CheckpointError: it is missing, no weight file, damaged, or holds more than tensors.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise CheckpointError(f"no file {path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is no file of bytes; name a weight file")
    try:
        with warnings.catch_warnings(), _plain_name(path) as name:
            warnings.simplefilter("ignore")
            return _read(path, name)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{path} is refused: it holds more than tensors{f' ({found[1]})' if found else ', or is damaged'}, and "
            "loading it could run code. If you trust it, make a file of the weights alone where it was made: "
            f"torch.save(torch.load({path.name!r}, weights_only=False)['state_dict'], 'weights.pt')"
        ) from None
    except Exception as error:  # a file that no writer made can fail in any way
        raise CheckpointError(f"{path} is no weight file, or damaged: {first_line(error)}") from None


def _read(path: Path, name: str) -> tuple[Any, Container]:
    with open(path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        if is_torchscript(path):
            return read_torchscript(path), "torchscript"
        return torch.load(name, map_location="cpu", weights_only=True, mmap=checked_zip(path)), "torch"
    if LEGACY in head[:32]:
        return read_legacy(path), "torch"
    if head[8:9] == b"{":
        with safetensors.safe_open(name, framework="pt") as content:
            return {key: content.get_tensor(key) for key in content.keys()}, "safetensors"  # noqa: SIM118
    if head.startswith(b"\x80"):
        raise pickle.UnpicklingError
    _refuse(path, head)


def _refuse(path: Path, head: bytes) -> NoReturn:
    if not head:
        raise CheckpointError(f"{path} is no weight file: it is empty")
    for beginning, words in OTHERS:
        if re.match(beginning, head):
            raise CheckpointError(f"{path} {words}")
    raise CheckpointError(f"{path} is no weight file, or damaged: it begins like none; safetensors and torch are read")


def checked_zip(path: Path) -> bool:
    """Looks a torch file over before torch does, and says whether it can be mapped.

    Mapped bytes are taken as they are: they must be stored, right, and of this machine's order.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        pickles = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if not pickles:
            some = ", ".join(sorted(names)[:5])
            raise CheckpointError(f"{path} is a zip file of other things ({some}); unpack it, and name the weights")
        if sum(member.file_size for member in members) > path.stat().st_size + LARGEST_TEXT:
            raise CheckpointError(f"{path} is refused: it unpacks to far more than its size")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(f"{path} is refused: {member.filename} is compressed, which torch never does")
            if not member.CRC:
                del member.CRC  # torch was asked to leave it out
            with archive.open(member) as content:  # to its end, where the checksum is compared
                while content.read(CHUNK):
                    pass
        for name in pickles:
            _check_names(archive.read(name))
        orders = [archive.read(member) for member in members if re.fullmatch(r"[^/]+/byteorder", member.filename)]
    return all(order == b"little" for order in orders) == (sys.byteorder == "little")


def _check_names(content: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL" and len(str(argument)) > LONGEST:
            raise pickle.UnpicklingError(f"a name of over {LONGEST} bytes")


@contextmanager
def _plain_name(path: Path) -> Iterator[str]:
    """A name that libraries take for what it is: text, and without an ending that torch would go by."""
    name = os.fspath(path)
    if name.isprintable() and not name.endswith(".safetensors"):
        yield name
    else:
        with open(path, "rb") as file:
            yield f"/dev/fd/{file.fileno()}"
