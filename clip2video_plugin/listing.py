"""The objects that a store has below a name, and those that it no longer has."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoGoneError, VideoReadError
from clip2video_plugin.places import Uri
from clip2video_plugin.stores import Stamp

AT_ONCE = 32  # requests
ONE_BY_ONE = 100  # objects of a bucket up to which each is asked for
LISTED_EACH = 30  # objects that are listed in the time in which one is asked for


def below(uri: Uri) -> Iterator[tuple[Uri, Stamp]]:
    """An object itself, or those below a prefix in the order of the listing, without hidden ones.

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


def gone(uri: Uri) -> bool:
    """Whether a store or server says that it has no such object; one that does not answer does not say so."""
    return _asked(uri) is True


def is_empty(folder: Uri) -> bool:
    """Whether a store says that it has nothing below a prefix; a web server says nothing of that."""
    try:
        return next(stores.walk(folder), None) is None
    except VideoGoneError:
        return True
    except VideoReadError:
        return False


@dataclass
class Absent:
    """The URIs that stores say are ``gone``; and how many could not be looked up (``unasked``), by the reason."""

    gone: set[Uri] = field(default_factory=set)
    unasked: Counter[str] = field(default_factory=Counter)


def absent(uris: Iterable[Uri]) -> Absent:
    """Which of these are gone. Each is asked for; many of a bucket are listed from the folder above them, where that
    takes less time.
    """
    out, buckets = Absent(), defaultdict[str, set[Uri]](set)
    for uri in uris:
        buckets["/".join(uri.text.split("/", 3)[:3])].add(uri)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask") as pool:
        for some in buckets.values():
            left = (
                _unlisted(some) if len(some) > ONE_BY_ONE and not next(iter(some)).scheme.startswith("http") else some
            )
            for uri, said in zip(left, pool.map(_asked, left), strict=True):
                if isinstance(said, str):
                    out.unasked[said] += 1
                elif said:
                    out.gone.add(uri)
    return out


def _unlisted(uris: set[Uri]) -> set[Uri]:
    """Those that a listing of their folder does not show; all of them where asking for each takes less time."""
    folder = os.path.commonpath([uri.text.partition("://")[2].rpartition("/")[0] for uri in uris])
    left, most = set(uris), LISTED_EACH * len(uris)
    try:
        for count, (place, _) in enumerate(stores.walk(Uri(f"{next(iter(uris)).scheme}://{folder}"))):
            left.discard(place)
            if count == most:
                return uris
    except VideoReadError:  # asking for one says why
        return set(uris)
    return left


def _asked(uri: Uri) -> bool | str:
    """Whether it is gone, or why nobody says so."""
    try:
        stores.stamp(uri)
    except VideoGoneError:
        return True
    except VideoReadError as error:
        return f"{'/'.join(uri.text.split('/', 3)[:3])}: {error.reason}"
    return False
