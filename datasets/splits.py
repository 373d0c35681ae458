"""Split lists that no official file determines, fetched from where they are published and checked byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clip2video_plugin.download import download
from clip2video_plugin.errors import AnnotationError

PUBLISHED_AT = "https://raw.githubusercontent.com/CryhanFang/CLIP2Video/main/data"
# file -> SHA-256, of the lists circulated with CLIP2Video
LISTS: dict[str, dict[str, str]] = {
    "msrvtt": {
        "MSRVTT_JSFUSION_test.csv": "e61144b312c8a2fc2126f96504c981f8c23c05b3ba9655a56e2af50ac8a4b16a",
        "MSRVTT_train.9k.csv": "0a7ece2418e1f7ac5680555a04ddfef8950293ac3c4bdd6584fb0fa6cc0ff7d3",
        "MSRVTT_train.7k.csv": "ca0d04c34310168b620c90c67eaec702b37398943965f5e1f9f44af8f193da7d",
        "MSRVTT_train.full.csv": "17f7ccf211d3d679d42425454ae12e9479abf681beb3865d561a2875ef2c2578",
        "MSRVTT_val.full.csv": "0a6be33e09bacaca199b87fd1f68170bfc10aa55036518d54e113bdde4bb0044",
        "MSRVTT_test.full.csv": "2cfa5acaabad7319f7e8c3639e0986b8f8c432399b545a97cb7531608a976b42",
    },
    "msvd": {
        "train_list.txt": "223a750f33fcec3c5fcb1894123564e67286edd1e9f9473be97930340027d659",
        "val_list.txt": "0e6b31c93757d25115f04e1974bcdc7962b3fce17832b397f6e83e9ff096881b",
        "test_list.txt": "95eacd1fddb1d88cd7144267913ef02d0ecb8cc94a88bc484035433a2d8f9c7a",
    },
    "vatex": {
        "train_list.txt": "4434a6863540f638cd5c62b7497f9ac13ea5ab84da72b7928e507ee0c5f46f22",
        "val_list.txt": "223d6d6b0b8c88f093ac1942e1165ae6d21a982362252ba574059e1a27083066",
        "test_list.txt": "652fd9bbfe53d53935b292b0e4127bc8e41cae6846b3c9faa4f502d96f160a42",
        "test1k5_sec_list.txt": "20f22ab90daa192f17c18672bf4afc36f6a62c8edf2e55d0dce7f57fb11111dc",
    },
}


def fetch_splits(
    kind: str, folder: Path, *, url: str | None = None, progress: Callable[[int], None] | None = None
) -> list[Path]:
    """Downloads the split lists of a benchmark to ``folder``; those that are there and right are kept.

    Args:
        url: a folder on another server that holds the files.
        progress: called with the number of lists that are there.

    Raises:
        AnnotationError: the benchmark is unknown, the server cannot be reached, or a file is not the published one.
    """
    if kind not in LISTS:
        raise AnnotationError(f"kind is {kind!r}; allowed are {', '.join(LISTS)}")
    base = (url or f"{PUBLISHED_AT}/{kind}").rstrip("/")
    out = []
    for name, sha256 in LISTS[kind].items():
        out.append(download(f"{base}/{name}", sha256, folder / name, error=AnnotationError))
        if progress:
            progress(len(out))
    return out
