"""The address from which a browser plays a video in a store: made for each drawing of the panel, and stored nowhere."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any

from clip2video_plugin.errors import Clip2VideoError, VideoReadError
from clip2video_plugin.places import Uri, place_of

SECONDS = 3600  # that a signed address lets read


def playable(path: str) -> tuple[str | None, str | None]:
    """What the page plays for a sample's file, and None; or None, and why it cannot.

    A path and an address of the web are played as they are. An object of S3 gets an address that is signed by this
    server's credentials and lets whoever has it read this object for an hour.
    """
    try:
        place = place_of(path)
    except Clip2VideoError as error:
        return None, str(error)
    if not isinstance(place, Uri) or place.scheme in ("http", "https"):
        return path, None
    if place.scheme != "s3":
        return None, f"the browser cannot play {place.scheme}://; its pictures and times are read by the server"
    if {".", ".."} & set(place.text.split("/")):
        return None, "the browser cannot ask for a key with . or .. between its slashes"
    from clip2video_plugin.stores.s3 import presigned

    try:
        return presigned(place, SECONDS, mimetypes.guess_type(place.name)[0]), None
    except VideoReadError as error:
        return None, error.reason


def with_media(hit: Mapping[str, Any]) -> dict[str, Any]:
    """A hit as the page gets it: ``media`` to play, or ``silent``, why there is none."""
    media, silent = playable(hit["media"])
    return {**hit, "media": media, "silent": silent}
