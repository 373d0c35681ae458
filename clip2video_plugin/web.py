"""What a server answers to a request for the rest of a file, before its bytes are believed."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

from clip2video_plugin.errors import first_line

AGAIN = (408, 425, 429)  # HTTP codes that pass; so do those from 500


class Refused(Exception):
    """What another attempt does not mend."""


class Broken(Exception):
    """What another attempt may mend."""


class Unreachable(Broken):
    """No server answered."""


@dataclass(frozen=True)
class Answer:
    """The rest of a file, or the whole.

    Attributes:
        start: where in the file its bytes begin.
        total: bytes of the whole file, where the server says so.
        sha256: of the whole file, as Hugging Face states it.
        validator: what names this version of the file (ETag, else its date), for ``If-Range``.
        kind: of its content; ``nothing_left`` of a file that ends where it should go on.
    """

    body: IO[bytes]
    timeout: float
    start: int = 0
    total: int | None = None
    sha256: str | None = None
    validator: str | None = None
    kind: str = ""
    nothing_left: bool = False

    def read(self, size: int) -> bytes:
        """Raises ``Broken`` when the connection breaks or stands still."""
        with _network(self.timeout):
            return self.body.read(size)


@contextmanager
def ask(url: str, have: int, validator: str | None, timeout: float) -> Iterator[Answer]:
    """Asks for a file from byte ``have`` on, if it is still the one that ``validator`` names.

    Redirects are followed to any host, but never from https to http. Nothing that identifies the user is sent.

    Raises:
        Refused: the file is not there, or not to be had this way.
        Broken, Unreachable: the server does not answer now.
    """
    if not _is_address(url):
        raise Refused(f"{url!r} is no address; it begins with https:// or http://. A file here: c2v models import FILE")
    headers = {"User-Agent": "clip2video-plugin", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    hops = _Hops(url)
    try:
        with _network(timeout, url):
            response = urllib.request.build_opener(hops).open(
                urllib.request.Request(url, headers=headers), timeout=timeout
            )
    except urllib.error.HTTPError as failure:
        with failure:
            if failure.code == 416 and have:
                yield Answer(failure, timeout, have, _after_slash(failure.headers), hops.sha256, nothing_left=True)
                return
            reason = f"HTTP {failure.code} {failure.reason}"
            if failure.code in AGAIN or failure.code >= 500:
                raise Broken(reason) from None
            raise Refused(f"{url} cannot be downloaded: {reason}") from None
    with response:
        hops.listen(response.url, response.headers)
        yield _answer(response, have, hops, timeout)


def web_page(kind: str, head: bytes) -> str | None:
    """The title, in quotes, of what is a page for people and no file; None where it is none."""
    begins = head[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not kind.startswith(("text/html", "application/xhtml")) and not begins.startswith((b"<!doctype html", b"<html")):
        return None
    title = re.search(rb"<title[^>]*>([^<]{1,200})", head[:65536], re.IGNORECASE)
    return f' "{" ".join(title[1].decode("utf-8", "replace").split())}"' if title else ""


class _Hops(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps what the host that was asked states of the file (X-Linked-ETag, X-Linked-Size)."""

    def __init__(self, url: str) -> None:
        self.first = urlsplit(url)
        self.sha256: str | None = None
        self.size: int | None = None

    def listen(self, url: str, headers: Message) -> None:
        if urlsplit(url).netloc == self.first.netloc:
            tag = re.fullmatch(r'(?:W/)?"?([0-9a-f]{64})"?', headers.get("X-Linked-ETag", "").lower())
            self.sha256 = self.sha256 or (tag[1] if tag else None)
            self.size = self.size or _number(headers.get("X-Linked-Size"))

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self.listen(req.full_url, headers)
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (scheme == "http" and self.first.scheme == "https"):
            raise Refused(f"{self.first.geturl()} leads to {newurl}, which is not https; nothing was kept")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _answer(response: Any, have: int, hops: _Hops, timeout: float) -> Answer:
    headers = response.headers
    length, start, total = _number(headers.get("Content-Length")), 0, None
    if response.status == 206:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
        start = int(said[1]) if said else have
        total = _number(said[2]) if said else None
    if total is None and length is not None:
        total = start + length
    tag = headers.get("ETag", "")
    return Answer(
        response,
        timeout,
        start,
        total if total is not None else hops.size,
        hops.sha256,
        tag if tag.startswith('"') else headers.get("Last-Modified"),
        headers.get_content_type() if "Content-Type" in headers else "",
    )


@contextmanager
def _network(timeout: float, url: str = "") -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as failure:
        if isinstance(failure.reason, TimeoutError):
            raise Broken(f"no answer for {timeout:g} s") from None
        raise Unreachable(str(failure.reason)) from None
    except TimeoutError:
        raise Broken(f"no byte for {timeout:g} s") from None
    except (http.client.InvalidURL, ValueError) as failure:  # here, or where a redirect leads
        raise Refused(f"{url} is no address that can be asked: {first_line(failure)}") from None
    except (OSError, http.client.HTTPException) as failure:
        raise Broken(f"the connection broke: {first_line(failure)}") from None


def _after_slash(headers: Message) -> int | None:
    return _number(headers.get("Content-Range", "").rpartition("/")[2])


def _is_address(url: str) -> bool:
    with suppress(ValueError):
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    return False


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
