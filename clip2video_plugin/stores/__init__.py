"""Objects in stores and on servers: opened as files that are fetched in ranges, looked at, listed.

``opened`` of the same object shares what was fetched while anybody has it (``held``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast
from weakref import WeakValueDictionary

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import SCHEMES, Place, Uri
from clip2video_plugin.stores.ranges import Fetched, ObjectFile
from clip2video_plugin.stores.version import Passing, Source, Version

__all__ = ["Fetched", "ObjectFile", "fetched", "held", "opened", "stamp", "walk"]

Stamp = tuple[int, float]  # size in bytes and time of change, seconds since 1970

_open = WeakValueDictionary[tuple[str, str | None], Fetched]()
_opening = threading.Lock()


def _forget() -> None:
    global _opening
    _open.clear()
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _source(uri: Uri) -> Source:
    if uri.scheme not in SCHEMES:
        raise VideoReadError(uri, f"it is of no known kind; allowed are {', '.join(SCHEMES)} and file")
    if uri.scheme == "s3":
        from clip2video_plugin.stores.s3 import S3Object

        return S3Object(uri)
    if uri.scheme in ("http", "https"):
        from clip2video_plugin.stores.servers import ServerFile

        return ServerFile(uri)
    from clip2video_plugin.stores.clouds import CloudObject

    return CloudObject(uri)


def fetched(place: Place) -> Fetched | None:
    """What is fetched of an object, shared by all who open it while anyone holds it; None for a local file."""
    if not isinstance(place, Uri):
        return None
    with _opening:
        found = _open.get((place.text, place.secret))
        if found is None:
            found = _open[place.text, place.secret] = Fetched(place, _source(place))
        return found


@contextmanager
def held(place: Place) -> Iterator[None]:
    """While the block runs, no byte of an object is fetched twice, whoever opens it."""
    keeping = fetched(place)
    yield
    del keeping


def opened(uri: Uri) -> BinaryIO:
    """The object as a file that can be read anywhere, and fetches what is read.

    Raises:
        VideoReadError: it is not there, or may not be read: when it is opened, or when it is read.
    """
    found = fetched(uri)
    assert found is not None
    found.version  # noqa: B018  # asks for it
    return cast("BinaryIO", ObjectFile(found))


def stamp(uri: Uri) -> Stamp:
    """Size and time of change: equal as long as the object is the same.

    Raises:
        VideoReadError: it is not there, or may not be looked at.
    """
    with _opening:
        found = _open.get((uri.text, uri.secret))
    return _stamp(found.version if found else _looked(uri))


def _looked(uri: Uri) -> Version:
    try:
        return _source(uri).look()
    except Passing as failure:
        raise VideoReadError(uri, failure.reason) from None


def walk(uri: Uri) -> Iterator[tuple[Uri, Stamp]]:
    """The objects below a prefix of s3, gs or az, by name, with size and time of change as listing them says.

    Raises:
        VideoReadError: it cannot be listed.
    """
    if uri.scheme == "s3":
        from clip2video_plugin.stores.s3 import walk as below
    elif uri.scheme in ("http", "https"):
        raise VideoReadError(uri, "a web server cannot be listed; name its files, or give a list of them")
    else:
        from clip2video_plugin.stores.clouds import walk as below
    try:
        for found, version in below(uri):
            yield found, _stamp(version)
    except Passing as failure:
        raise VideoReadError(uri, failure.reason) from None


def _stamp(version: Version) -> Stamp:
    return version.size or 0, version.changed
