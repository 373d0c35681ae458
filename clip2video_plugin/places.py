"""Where a video is: a path on this machine, or the URI of an object in a store or on a server."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_letters, digits
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.paths import expanded

ALIASES = {"gcs": "gs", "abfs": "az", "abfss": "az"}
SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
SCHEMES = ("s3", "gs", "az", "http", "https")
# Parts of an address that let whoever has it read the file: of S3, Google, Azure and CloudFront, and usual names.
SECRET_PREFIXES = ("x-amz-", "x-goog-")
SECRET_NAMES = {
    *("signature", "sig", "se", "sp", "sv", "sr", "st", "skoid", "sktid", "skt", "ske", "sks", "skv", "spr", "srt"),
    *("ss", "awsaccesskeyid", "googleaccessid", "expires", "policy", "key-pair-id"),
    *("token", "access_token", "auth", "key", "api_key", "apikey", "password"),
}
SIGNATURES = {"x-amz-signature", "x-goog-signature", "signature", "sig"}
USUAL_PORTS = {"http": ":80", "https": ":443"}
UNRESERVED = frozenset(ascii_letters + digits + "-._~")
ALLOWED = "%/:@!$&'()*+,;=?~"  # beside letters and digits, in the path and query of an address


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
        path = split(self.text).path if self.scheme.startswith("http") else self.text
        last = posixpath.basename(path.rstrip("/"))
        return unquote(last) if self.scheme.startswith("http") else last

    @property
    def suffix(self) -> str:
        """The ending of ``name``, with its dot."""
        return posixpath.splitext(self.name)[1]


Place = Path | Uri


def place_of(name: str | Path | Uri) -> Place:
    """The place that a user names: a path on this machine (``~`` is not expanded), a file:// URI of one, or a URI.

    However an address is written, the same object has the same text: small letters of scheme and host, no usual port,
    escapes of http only where they are needed. Keys of stores are taken letter by letter.

    Raises:
        Clip2VideoError: it is a URI of an unknown kind, names no object, or is signed in a way that a store's own
            addresses are not.
    """
    if isinstance(name, Path | Uri):
        return name
    scheme, found, rest = str(name).partition("://")
    if not found or not SCHEME.fullmatch(scheme) or os.path.lexists(name):
        return Path(name)
    known, shown = ALIASES.get(scheme.lower(), scheme.lower()), without_credentials(str(name))
    if known == "file":
        host, slash, path = rest.partition("/")
        if host.lower() not in ("", "localhost") or not path:
            raise Clip2VideoError(f"{shown} is no file of this machine; write it as file:///folder/clip.mp4")
        return Path(unquote(slash + path))
    if known not in SCHEMES:
        raise Clip2VideoError(f"{shown} is of no known kind; allowed are {', '.join(SCHEMES)} and file")
    if not rest.strip("/"):
        raise Clip2VideoError(f"{shown} names no object; write it as {known}://...")
    if known.startswith("http"):
        try:
            parts = urlsplit(str(name))
            wrong = "" if parts.hostname and parts.port != 0 else "it names no host"
        except ValueError as error:
            wrong = str(error)
        if wrong:
            raise Clip2VideoError(f"{shown} is no address ({wrong}); write it as {known}://host/clip.mp4")
    whole = f"{known}://{rest}"
    if not known.startswith("http") and _is_signed(rest.partition("?")[2]):
        raise Clip2VideoError(f"{shown} came with a signature, which belongs to an https:// address; write it as one")
    clean = without_credentials(whole)
    return Uri(clean, whole if whole != clean else None)


def absolute(name: str | Path | Uri) -> Place:
    """``place_of``; a path is made absolute, and its ``~`` becomes the home folder."""
    place = place_of(name)
    return place if isinstance(place, Uri) else Path(os.path.abspath(expanded(place)))


def has_credentials(address: str) -> bool:
    """Whether an address holds a user, a password, or what signs it."""
    scheme, found, rest = address.partition("://")
    user = re.split("[/?#]", rest)[0].rpartition("@")[0]
    in_query = any(map(_is_secret, dict(parse_qsl(rest.partition("?")[2], keep_blank_values=True))))
    if scheme.lower().startswith("http"):
        return bool(found) and (bool(user) or in_query)
    return bool(found) and (":" in user or _is_signed(rest.partition("?")[2]))


def _is_secret(name: str) -> bool:
    return name.lower() in SECRET_NAMES or name.lower().startswith(SECRET_PREFIXES)


def _is_signed(query: str) -> bool:
    return any(name.lower() in SIGNATURES for name, _ in parse_qsl(query, keep_blank_values=True))


def without_credentials(address: str) -> str:
    """An address without user, password and what signs it; ``#`` and ``?`` are plain letters of a store's keys."""
    scheme, _, rest = address.partition("://")
    if scheme.lower() not in ("http", "https"):
        host, slash, key = rest.partition("/")
        user, _, bucket = host.rpartition("@")
        # of Azure's, container@account
        host = host if scheme == "az" and ":" not in user else bucket
        key, mark, query = key.partition("?")
        return f"{scheme}://{host}{slash}{key}" + ("" if _is_signed(query) else mark + query)
    parts = split(address)
    given = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(_bytes(n), _bytes(v)) for n, v in given if not _is_secret(n)]
    query = parts.query if len(kept) == len(given) else urlencode(kept, quote_via=quote)
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(USUAL_PORTS[scheme.lower()])
    return urlunsplit((scheme, host, _plainly(parts.path), _plainly(query), ""))


def split(address: str) -> SplitResult:
    """The parts of an address; of one that is none, what stands before "?" is its path."""
    try:
        return urlsplit(address)
    except ValueError:
        scheme, _, rest = address.partition("://")
        path, _, query = rest.rpartition("@")[2].partition("?")
        return SplitResult(scheme, "", path, query, "")


def _bytes(text: str) -> bytes:
    """What a text of an address is escaped from; a byte that is no UTF-8 stands as itself (``os.fsdecode``)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _plainly(text: str) -> str:
    """Part of an address with escapes in capitals, and only of what must be escaped."""

    def escape(found: re.Match[str]) -> str:
        letter = chr(int(found[1], 16))
        return letter if letter in UNRESERVED else found[0].upper()

    return quote(_bytes(re.sub("%([0-9a-fA-F]{2})", escape, text)), safe=ALLOWED)


def video_id(place: Place) -> str:
    """The id of a video's row in an index of paths: the same for the same absolute path, or URI."""
    name = str(place) if isinstance(place, Uri) else os.path.abspath(place)
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
