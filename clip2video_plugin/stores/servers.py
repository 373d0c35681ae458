"""Files on web servers, read in ranges where the server gives ranges, else whole."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from clip2video_plugin.errors import VideoGoneError, VideoReadError
from clip2video_plugin.places import Uri
from clip2video_plugin.stores.version import CHANGED, Answer, Passing, Version

CONNECT, STANDSTILL = 4, 20  # seconds without a connection, and without a byte
BODY = 256 * 1024  # bytes that are taken from a connection at once
HOPS = 5  # redirects that are followed
AGAIN = (408, 425, 429)  # HTTP codes that pass; so do those from 500
WORDS = {
    401: "its server wants credentials; give them as https://user:password@host/..., or a signed address",
    403: "access is denied; an address that was signed may have expired",
    404: "there is no such file on its server; check the address",
    410: "it is no longer on its server",
}


@cache
def _pool(process: int, proxy: str | None) -> Any:
    import urllib3

    if not proxy:
        return urllib3.PoolManager(num_pools=32, maxsize=32)
    whole = proxy if "://" in proxy else f"http://{proxy}"
    user = urlsplit(whole).netloc.rpartition("@")[0]
    return urllib3.ProxyManager(
        whole, maxsize=32, proxy_headers=urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
    )


class ServerFile:
    """One file on a server; credentials in its address are sent to the host that it names, and to no other."""

    def __init__(self, uri: Uri) -> None:
        self.uri = uri

    def look(self) -> Version:
        answer = self._ask("HEAD", {})
        if answer.status not in (400, 403, 405, 501):
            self._check(answer)
            return self._version(answer, _number(answer.headers.get("Content-Length")))
        answer = self._ask("GET", {"Range": "bytes=0-0"})  # a signed address may allow nothing else
        try:
            if answer.status == 416:
                return Version(0, 0.0)
            self._check(answer)
            return self._version(answer, self._place(answer, 0)[1])
        finally:
            answer.close()

    def read(self, start: int, end: int, version: Version | None) -> Answer:
        answer = self._ask("GET", {"Range": f"bytes={start}-{end - 1}"})
        try:
            if answer.status == 416:
                if version is None and start == 0:
                    return Answer(Version(0, 0.0), 0, iter(()), whole=True)
                raise VideoReadError(self.uri, CHANGED)
            self._check(answer)
            at, size = self._place(answer, start)
            return Answer(self._version(answer, size), at, self._body(answer), whole=answer.status != 206)
        except BaseException:
            answer.close()
            raise

    def _place(self, answer: Any, start: int) -> tuple[int, int | None]:
        """Where the bytes of an answer begin, and how long the whole is."""
        if answer.status != 206:
            return 0, _number(answer.headers.get("Content-Length"))
        said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if not said or int(said[1]) != start:
            raise VideoReadError(self.uri, "its server sends other bytes than were asked for; download it first")
        if said[3] == "*":
            raise VideoReadError(self.uri, "its server gives ranges and no length; download it first")
        return start, int(said[3])

    def _version(self, answer: Any, size: int | None) -> Version:
        tag, date = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
        encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
        if encoded:
            raise VideoReadError(self.uri, "its server sends it packed; download it first")
        try:
            changed = parsedate_to_datetime(date).timestamp()
        except ValueError:  # 48 bits are a whole number of float64
            changed = float(int.from_bytes(hashlib.sha256(tag.encode()).digest()[:6])) if tag else 0.0
        return Version(size, changed, tag)

    def _check(self, answer: Any) -> None:
        code = answer.status
        if code in AGAIN or code >= 500:
            raise Passing(f"its server answers HTTP {code}; try again later")
        if code not in (200, 206):
            error = VideoGoneError if code in (404, 410) else VideoReadError
            raise error(self.uri, f"{WORDS.get(code, 'its server does not give it')} (HTTP {code})")

    def _body(self, answer: Any) -> Iterator[bytes]:
        import urllib3

        try:
            while some := answer.read1(BODY):  # what came is kept if it breaks
                yield some
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError):
            raise Passing("its connection broke off again and again; try again later") from None
        finally:
            answer.close()

    def _ask(self, method: str, headers: dict[str, str]) -> Any:
        """What the server answers that has the file, or the one that it leads to."""
        parts = urlsplit(self.uri.secret or self.uri.text)
        user, _, host = parts.netloc.rpartition("@")
        at = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        for _ in range(HOPS + 1):
            mine = (parts.scheme, host) == (urlsplit(at).scheme, urlsplit(at).netloc)
            answer = self._ask_at(at, method, headers, unquote(user) if user and mine else None)
            leads = answer.headers.get("Location") if answer.status in (301, 302, 303, 307, 308) else None
            if not leads:
                return answer
            answer.close()
            there = urlsplit(urljoin(at, leads))
            old = urlsplit(at).scheme
            if there.scheme != "https" and (there.scheme != "http" or old == "https"):
                raise VideoReadError(self.uri, f"it leads from {old} to {there.scheme}, which is not followed")
            at = urlunsplit((there.scheme, there.netloc.rpartition("@")[2], there.path, there.query, ""))
        raise VideoReadError(self.uri, f"it leads from address to address, more than {HOPS} times")

    def _ask_at(self, at: str, method: str, headers: dict[str, str], user: str | None) -> Any:
        import urllib3
        from urllib3 import exceptions

        host = urlsplit(at).netloc
        headers = {"User-Agent": "clip2video-plugin", "Accept-Encoding": "identity", **headers}
        try:
            return _pool(os.getpid(), _proxy(at)).request(
                method,
                at,
                headers=headers | (urllib3.make_headers(basic_auth=user) if user else {}),
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT, read=STANDSTILL),
            )
        except (exceptions.ConnectTimeoutError, exceptions.NameResolutionError):
            raise VideoReadError(self.uri, f"no answer from {host}; check the address and the network") from None
        except exceptions.NewConnectionError:
            raise Passing(f"no answer from {host}; check the address and the network") from None
        except exceptions.SSLError:
            raise VideoReadError(self.uri, f"the certificate of {host} is not valid") from None
        except (exceptions.LocationParseError, exceptions.LocationValueError, ValueError):
            raise VideoReadError(self.uri, "it is no address that can be asked") from None
        except (exceptions.HTTPError, OSError):
            raise Passing("its server breaks off instead of an answer; try again later") from None


def _proxy(address: str) -> str | None:
    parts = urlsplit(address)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
