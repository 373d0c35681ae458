"""Objects as files: what is read is fetched, in few large ranges, and nothing twice.

What was fetched lies in a temporary file without a name that is as long as the object and empty elsewhere. So memory
is bounded, a second pass costs nothing, and bytes that nobody fetched read as zeros.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import Uri
from clip2video_plugin.stores.version import CHANGED, Answer, Passing, Source, Version

FIRST = 256 * 1024  # bytes that the first request asks for
SMALL = 1024 * 1024  # an object of no more bytes is fetched whole: a request costs about as much time as these
PIECE, LARGEST = 64 * 1024, 8 * 1024**2  # bytes that are asked for at once: at a new place, and when reading on
WASTE = 0.15  # of the bytes that are wanted, the most that are fetched between them to save requests
TRIES = 4  # of a request that fails or breaks off without a byte
ENDLESS = 64 * 1024**3  # bytes of an answer that does not say how long it is

Span = tuple[int, int]  # bytes [start, end)


class Fetched:
    """What was fetched of one version of an object; for several threads.

    Attributes:
        requests, bytes: how many were made, and how many bytes came.
    """

    def __init__(self, uri: Uri, source: Source) -> None:
        self.uri = uri
        self.requests = self.bytes = 0
        self._source, self._version = source, None
        self._have = Spans()
        self._lock = threading.RLock()
        try:
            self._file = tempfile.TemporaryFile(prefix="c2v-", buffering=0)  # noqa: SIM115  # closed with this
        except OSError as error:
            raise VideoReadError(uri, _no_room(error)) from None

    _version: Version | None

    @property
    def version(self) -> Version:
        """Of the object that is read: known from the first request on."""
        with self._lock:
            if self._version is None:
                self._ask(0, FIRST)
            assert self._version is not None
            return self._version

    @property
    def size(self) -> int:
        size = self.version.size
        assert size is not None
        return size

    def read(self, start: int, end: int, ahead: int = PIECE) -> bytes:
        """Bytes [start, end), shorter at the end of the object; where some are missing, ``ahead`` are fetched."""
        end = min(end, self.size)
        if start >= end:
            return b""
        with self._lock:
            while lacking := self._have.lacking(start, end):
                low = lacking[0][0]
                reach = min(max(low + ahead, lacking[0][1]), self.size)
                self._ask(*self._have.lacking(low, reach)[0])
        return self.there(start, end)

    def there(self, start: int, end: int) -> bytes:
        """Bytes [start, end) without fetching: zeros where nothing was fetched."""
        return os.pread(self._file.fileno(), max(0, min(end, self.size) - start), start)

    def fetch(self, wanted: Iterable[Span]) -> None:
        """Fetches spans, in as few requests as WASTE allows."""
        size = self.size
        with self._lock:
            spans = Spans()
            for start, end in wanted:
                for lacking in self._have.lacking(start, min(end, size)):
                    spans.add(*lacking)
            for start, end in joined(spans.all()):
                self._ask(start, end)

    def _ask(self, start: int, end: int) -> None:
        """One range, with further attempts for what is missing of it."""
        left = TRIES
        while True:
            began = self.bytes
            try:
                self.requests += 1
                answer = self._source.read(start, end, self._version)
                self._check(answer.version)
                self._keep(answer)
            except Passing as failure:
                left = TRIES - 1 if self.bytes > began else left - 1
                if left <= 0:
                    raise VideoReadError(self.uri, failure.reason) from None
                time.sleep(0.2 * 2 ** (TRIES - 1 - left))
            if self._version is not None and self._version.size is not None:
                missing = self._have.lacking(start, min(end, self._version.size))
                if not missing:
                    break
                start, end = missing[0][0], missing[-1][1]
        if self._version.size <= SMALL and start == 0 and (rest := self._have.lacking(0, self._version.size)):
            self._ask(*rest[0])

    def _check(self, version: Version) -> None:
        if self._version is None:
            self._version = version
            if version.size is not None:
                self._write(version.size, b"")
        elif not version.is_of(self._version):
            raise VideoReadError(self.uri, CHANGED)

    def _keep(self, answer: Answer) -> None:
        at, came = answer.start, 0
        assert self._version is not None
        for some in answer.body:
            self._write(at, some)
            at += len(some)
            came += len(some)
            self.bytes += len(some)
            self._have.add(at - len(some), at)
            if self._version.size is None and at > ENDLESS:
                raise VideoReadError(
                    self.uri, f"it is longer than {ENDLESS >> 30} GiB, and its server does not say by how much"
                )
        if answer.whole and self._version.size is None:
            self._version = Version(at, self._version.changed, self._version.tag)
        elif not came and self._version.size:
            raise Passing("its server sends nothing; try again later")

    def _write(self, at: int, some: bytes) -> None:
        """Writes some bytes; none makes the file as long as ``at``."""
        try:
            if some:
                os.pwrite(self._file.fileno(), some, at)
            else:
                os.ftruncate(self._file.fileno(), at)
        except OSError as error:
            raise VideoReadError(self.uri, _no_room(error)) from None


class Spans:
    """Disjoint spans of bytes."""

    def __init__(self) -> None:
        self._starts, self._ends = list[int](), list[int]()

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        low, high = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high], self._ends[low:high] = [start], [end]

    def lacking(self, start: int, end: int) -> list[Span]:
        """What of a span is in none of them."""
        out = list[Span]()
        for i in range(bisect_right(self._ends, start), len(self._starts)):
            if self._starts[i] >= end:
                break
            if self._starts[i] > start:
                out.append((start, self._starts[i]))
            start = self._ends[i]
        if start < end:
            out.append((start, end))
        return out

    def all(self) -> list[Span]:
        return list(zip(self._starts, self._ends, strict=True))


def joined(spans: list[Span]) -> list[Span]:
    """Spans, ascending, with the smallest gaps between them closed, as long as these are WASTE of them in total."""
    gaps = sorted((b[0] - a[1], i) for i, (a, b) in enumerate(pairwise(spans)))
    room, closed = WASTE * sum(end - start for start, end in spans), set[int]()
    for gap, i in gaps:
        room -= gap
        if room < 0:
            break
        closed.add(i)
    out = spans[:1]
    for i, span in enumerate(spans[1:]):
        if i in closed:
            out[-1] = out[-1][0], span[1]
        else:
            out.append(span)
    return out


class ObjectFile(io.RawIOBase):
    """An object as a file that fetches what is read. The longer it is read in order, the more it fetches at once."""

    def __init__(self, fetched: Fetched) -> None:
        super().__init__()
        self.fetched, self.name = fetched, fetched.uri.name
        self.error: VideoReadError | None = None  # the last; a library between may have swallowed it
        self._at = self._began = self._until = 0  # what was read in order lies between the last two

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            base = 0 if whence == os.SEEK_SET else self._at if whence == os.SEEK_CUR else self.fetched.size
        except VideoReadError as error:
            self.error = error
            raise
        if base + offset < 0 or whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise OSError(errno.EINVAL, "no such place")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        try:
            some = self.between(self._at, self.fetched.size if size is None or size < 0 else self._at + size)
        except VideoReadError as error:
            self.error = error
            raise
        self._at += len(some)
        return some

    def readinto(self, buffer: Any) -> int:
        some = self.read(len(buffer))
        buffer[: len(some)] = some
        return len(some)

    def between(self, start: int, end: int) -> bytes:
        """Bytes [start, end), and more after them the more was read in order before."""
        if start != self._until:
            self._began = start
        self._until = max(start, min(end, self.fetched.size))
        return self.fetched.read(start, end, min(max(start - self._began, PIECE), LARGEST))


def _no_room(error: OSError) -> str:
    why = error.strerror or str(error)
    return f"what is fetched of it cannot be kept in {tempfile.gettempdir()}: {why}; set TMPDIR to a folder with room"
