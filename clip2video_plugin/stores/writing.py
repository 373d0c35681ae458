"""Objects that are made and removed in stores: s3, gs and az, through pyarrow."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.places import Uri

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


@cache
def _s3(process: int, endpoint: str | None, region: str | None, keys: str, known: tuple[str | None, ...]) -> FileSystem:
    from pyarrow import fs

    options: dict[str, Any] = {"endpoint_override": endpoint, "region": region or "us-east-1" if endpoint else region}
    if keys:
        name, _, key = keys.partition(":")
        options |= {"access_key": unquote(name), "secret_key": unquote(key)}
    return fs.S3FileSystem(**options)


def store_of(uri: Uri) -> tuple[FileSystem, str]:
    """The store of a URI, with its credentials or those of the environment, and the key of the object in it.

    Raises:
        Clip2VideoError: nothing can be written there.
    """
    if uri.scheme in ("http", "https"):
        raise Clip2VideoError(f"{uri} is on a web server, where nothing can be written; give a folder, or s3, gs or az")
    if uri.scheme != "s3":
        from clip2video_plugin.stores import clouds

        return clouds.store_of(uri), clouds.key_of(uri)
    from clip2video_plugin.stores.s3 import endpoint, keys_of, region

    known = tuple(map(os.environ.get, ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")))
    return _s3(os.getpid(), endpoint(), region(), keys_of(uri), known), uri.text.partition("://")[2]


def remove(uri: Uri) -> None:
    """Removes an object, if it is there."""
    if uri.scheme == "s3":
        from clip2video_plugin.stores.s3 import client, where

        client(uri).delete_object(**where(uri))  # pyarrow would leave a marker of a folder
        return
    store, key = store_of(uri)
    if store.get_file_info(key).is_file:
        store.delete_file(key)
