"""What tells a model from others: the SHA-256 of its weights, its tokenizer, and whether memory still holds them.

Both are remembered beside large weights, in ``model.safetensors.json``, for as long as sizes and times of the files
are what they were. No call sets the time of change (ctime) back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from clip2video_plugin.alone import alone_in
from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.installed import TOKENIZER, WEIGHTS
from clip2video_plugin.model.network import Clip2Video

MEMO = f"{WEIGHTS}.json"
LARGE = 32_000_000  # bytes of weights; smaller ones are hashed as quickly as the memo is read


def identity(folder: Path, weights: BufferedReader, tokenizer: BufferedReader) -> tuple[str, str]:
    """SHA-256 of a checkpoint's open weights, and what stands for its tokenizer (``vocabulary``)."""
    then, words = _stamp(os.fstat(weights.fileno())), _stamp(os.fstat(tokenizer.fileno()))
    known = _recall(folder) if then["size"] > LARGE else {}
    sha256 = known.get("sha256") if then.items() <= known.items() else None
    fingerprint = known.get("vocabulary") if known.get("tokenizer") == words else None
    if _is_hash(sha256, 64) and _is_hash(fingerprint, 16):
        return str(sha256), str(fingerprint)
    if not _is_hash(sha256, 64):
        weights.seek(0)
        sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
    if not _is_hash(fingerprint, 16):
        tokenizer.seek(0)
        fingerprint = vocabulary(tokenizer.read())
    if then["size"] > LARGE and (then, words) == (
        _stamp(os.fstat(weights.fileno())),
        _stamp(os.fstat(tokenizer.fileno())),
    ):
        _remember(folder, {**then, "sha256": sha256, "tokenizer": words, "vocabulary": fingerprint})
    return str(sha256), str(fingerprint)


def remember(folder: Path, sha256: str) -> None:
    """Writes down the identity of a checkpoint that was just written, if it is large."""
    weights, tokenizer = _stamp((folder / WEIGHTS).stat()), folder / TOKENIZER
    if weights["size"] > LARGE:
        words = {"tokenizer": _stamp(tokenizer.stat()), "vocabulary": vocabulary(tokenizer.read_bytes())}
        _remember(folder, {**weights, "sha256": sha256, **words})


def vocabulary(content: bytes) -> str:
    """Stands for the words and merges of a tokenizer.json, whichever version of the library wrote it.

    Raises:
        CheckpointError: it is none, though the library may take it for one.
    """
    try:
        model = json.loads(content)["model"]
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", [])]
        return _digest(model, merges)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{TOKENIZER} has no words and merges: {type(error).__name__} {error}") from None


def _digest(model: dict[str, Any], merges: list[str]) -> str:
    return hashlib.sha256(json.dumps([sorted(dict(model["vocab"]).items()), merges]).encode()).hexdigest()[:16]


def seal(network: Clip2Video) -> tuple[object, ...]:
    """Changes when the configuration or a weight of a network in memory does."""
    tensors = (*network.parameters(), *network.buffers())
    return network.config, *((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)


def _stamp(found: os.stat_result) -> dict[str, Any]:
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}


def _is_hash(value: object, digits: int) -> bool:
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None


def _recall(folder: Path) -> dict[str, Any]:
    try:
        memo = json.loads((folder / MEMO).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return memo if isinstance(memo, dict) else {}


def _remember(folder: Path, memo: dict[str, Any]) -> None:
    """Does nothing where it cannot be written: it is computed again then."""
    new = folder / f".{MEMO}.new"
    with suppress(OSError), alone_in(folder):
        try:
            new.write_text(json.dumps(memo, indent=2) + "\n", encoding="utf-8")
            new.replace(folder / MEMO)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
