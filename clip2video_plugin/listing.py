"""What stores have under a name, and which objects they no longer have."""

from __future__ import annotations

from collections.abc import Iterator

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoGoneError
from clip2video_plugin.places import Uri
from clip2video_plugin.stores import Stamp


def below(uri: Uri) -> Iterator[tuple[Uri, Stamp]]:
    """An object itself, or those below a prefix, without hidden ones, as they are listed; an address of http unasked.

    Raises:
        VideoReadError: there is neither, or the store does not say.
    """
    if not uri.text.endswith("/") and "/" in uri.text.partition("://")[2]:
        try:
            yield uri, stores.stamp(uri)
            return
        except VideoGoneError:
            pass
    top, found = len(uri.text.rstrip("/")), False
    for place, stamp in stores.walk(uri):
        found = True
        if not any(part.startswith(".") for part in place.text[top:].split("/")):
            yield place, stamp
    if not found:
        raise VideoGoneError(uri, "there is no such object, and none below it; check its name, letter by letter")
