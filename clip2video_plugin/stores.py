"""Objects in stores and on servers as files: opened for reading in ranges, looked at, listed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from clip2video_plugin.errors import VideoReadError, first_line
from clip2video_plugin.places import Uri

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

Stamp = tuple[int, float]  # size in bytes and time of change, seconds since 1970


@cache
def _store(scheme: str) -> FileSystem:
    """The store of a scheme, with the credentials of this process's environment."""
    from pyarrow import fs

    if scheme == "s3":
        names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        endpoint = next((os.environ[name] for name in names if os.environ.get(name)), None)
        return fs.S3FileSystem(endpoint_override=endpoint, region=os.environ.get("AWS_REGION"))
    if scheme == "gs":
        return fs.GcsFileSystem()
    if scheme == "az":
        return fs.AzureFileSystem(os.environ["AZURE_STORAGE_ACCOUNT_NAME"])
    from fsspec.implementations.http import HTTPFileSystem

    return fs.PyFileSystem(fs.FSSpecHandler(HTTPFileSystem()))


def _key(uri: Uri) -> str:
    whole = uri.secret or uri.text
    return whole if uri.scheme.startswith("http") else whole.partition("://")[2]


def opened(uri: Uri) -> BinaryIO:
    """The object as a file that can be read anywhere, and fetches what is read.

    Raises:
        VideoReadError: it is not there, or may not be read.
    """
    try:
        file: Any = _store(uri.scheme).open_input_file(_key(uri))
    except (OSError, KeyError) as error:
        raise VideoReadError(uri, first_line(error)) from None
    return file  # type: ignore[no-any-return]


def stamp(uri: Uri) -> Stamp:
    """Size and time of change: equal as long as the object is the same.

    Raises:
        VideoReadError: it is not there, or may not be looked at.
    """
    try:
        info = _store(uri.scheme).get_file_info(_key(uri))
    except (OSError, KeyError) as error:
        raise VideoReadError(uri, first_line(error)) from None
    if not info.is_file:
        raise VideoReadError(uri, "no such object")
    return int(info.size), float(info.mtime_ns or 0) / 1e9


def walk(uri: Uri) -> Iterator[tuple[Uri, Stamp]]:
    """The objects below a prefix, by name, with size and time of change as listing them says."""
    from pyarrow.fs import FileSelector

    try:
        below = _store(uri.scheme).get_file_info(FileSelector(_key(uri), recursive=True))
    except (OSError, KeyError) as error:
        raise VideoReadError(uri, first_line(error)) from None
    for info in sorted(below, key=lambda info: str(info.path)):
        if info.is_file:
            yield Uri(f"{uri.scheme}://{info.path}"), (int(info.size), float(info.mtime_ns or 0) / 1e9)
