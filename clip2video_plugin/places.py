"""Where a video is: a path on this machine, or the URI of an object in a store or on a server."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from clip2video_plugin.errors import Clip2VideoError

ALIASES = {"gcs": "gs", "abfs": "az", "abfss": "az"}
SCHEMES = ("s3", "gs", "az", "http", "https")
# Parts of an address that let whoever has it read the file: of S3, Google, Azure and CloudFront, and usual names.
SECRET_PREFIXES = ("x-amz-", "x-goog-")
SECRET_NAMES = {
    *("signature", "sig", "se", "sp", "sv", "sr", "st", "skoid", "sktid", "skt", "ske", "sks", "skv", "spr", "srt"),
    *("ss", "awsaccesskeyid", "googleaccessid", "expires", "policy", "key-pair-id"),
    *("token", "access_token", "auth", "key", "api_key", "apikey", "password"),
}


@dataclass(frozen=True)
class Uri:
    """An object: ``s3://bucket/folder/clip.mp4``, gs, az, http or https.

    ``text`` says where it is and holds no credentials. ``secret`` is the whole address, with those that it came with,
    for whoever opens it; it is never printed or stored, and two are equal without it.
    """

    text: str
    secret: str | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def scheme(self) -> str:
        """One of s3, gs, az, http, https."""
        return self.text.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part, as a file's name."""
        path = urlsplit(self.text).path if self.scheme.startswith("http") else self.text
        last = posixpath.basename(path.rstrip("/"))
        return unquote(last) if self.scheme.startswith("http") else last

    @property
    def suffix(self) -> str:
        """The ending of ``name``, with its dot."""
        return posixpath.splitext(self.name)[1]


Place = Path | Uri


def place_of(name: str | Path | Uri) -> Place:
    """The place that a user names: a path on this machine (``~`` is not expanded), a file:// URI of one, or a URI.

    Raises:
        Clip2VideoError: it is a URI of an unknown kind, or names no object.
    """
    if isinstance(name, Path | Uri):
        return name
    scheme, found, rest = str(name).partition("://")
    if not found or os.path.lexists(name):
        return Path(name)
    if scheme.lower() == "file":
        return Path(unquote(urlsplit(name).path))
    known = ALIASES.get(scheme.lower(), scheme.lower())
    if known not in SCHEMES:
        raise Clip2VideoError(f"{_clean(name)} is of no known kind; allowed are {', '.join(SCHEMES)} and file")
    if not rest.strip("/"):
        raise Clip2VideoError(f"{_clean(name)} names no object; write it as {known}://...")
    whole = f"{known}://{rest}"
    clean = _clean(whole)
    return Uri(clean, whole if whole != clean else None)


def _clean(address: str) -> str:
    """An address without user, password and what signs it; ``#`` and ``?`` are plain letters of a store's keys."""
    scheme, _, rest = address.partition("://")
    if scheme not in ("http", "https"):
        host, slash, key = rest.partition("/")
        return f"{scheme}://{host.rpartition('@')[2] if scheme in ('s3', 'gs') else host}{slash}{key}"
    parts = urlsplit(address)
    given = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(n, v) for n, v in given if n.lower() not in SECRET_NAMES and not n.lower().startswith(SECRET_PREFIXES)]
    query = parts.query if kept == given else urlencode(kept, quote_via=quote)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))
