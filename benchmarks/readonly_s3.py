"""A folder served as the objects of an S3 bucket, to be read only; says which requests came and how many bytes went.

Speaks as much of S3 as LanceDB reads with: GET with ranges, HEAD, and lists of one prefix. ``latency`` seconds pass
before each answer. It is no measure of S3 itself: it stands for the count of requests and bytes.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

TOLD = "/-/told"  # asks what came since it was last asked


class Objects(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    latency = 0.0
    lock = threading.Lock()
    requests, sent = Counter[str](), Counter[str]()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == TOLD:
            with self.lock:
                told = json.dumps({"requests": dict(self.requests), "bytes": dict(self.sent)}).encode()
                self.requests.clear()
                self.sent.clear()
            self.answer(200, told)
            return
        time.sleep(self.latency)
        asked = parse_qs(url.query)
        if "list-type" in asked:
            prefix, after = asked.get("prefix", [""])[0], asked.get("start-after", [""])[0]
            self.count("LIST " + kind(prefix), self.answer(200, self.list(prefix, after, "delimiter" in asked)))
            return
        self.object(url.path, body=True)

    def do_HEAD(self) -> None:
        time.sleep(self.latency)
        self.object(urlsplit(self.path).path, body=False)

    def object(self, path: str, *, body: bool) -> None:
        key = unquote(path).lstrip("/").partition("/")[2]
        file, what = self.root / key, ("GET " if body else "HEAD ") + kind(key)
        try:
            size = file.stat().st_size if file.is_file() else -1
        except OSError:
            size = -1
        if size < 0:
            self.count(what + " (none)", self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>" if body else b""))
            return
        start, end = 0, size
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = (int(first), min(int(last) + 1, size) if last else size) if first else (size - int(last), size)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{file.stat().st_mtime_ns:x}-{size:x}"')
        self.send_header("Last-Modified", self.date_time_string(int(file.stat().st_mtime)))
        self.end_headers()
        if body:
            self.wfile.flush()
            with open(file, "rb") as opened:
                while start < end and (
                    sent := os.sendfile(self.connection.fileno(), opened.fileno(), start, end - start)
                ):
                    start += sent
                    self.count("", sent, what)
        self.count(what, 0)

    def list(self, prefix: str, after: str, flat: bool) -> bytes:
        folder = self.root / prefix.rpartition("/")[0]
        files = folder.iterdir() if flat else folder.rglob("*")
        found, folders = list[str](), list[str]()
        for file in files if folder.is_dir() else ():
            key = file.relative_to(self.root).as_posix()
            if key.startswith(prefix) and key > after:
                (folders if file.is_dir() else found).append(key)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;x&quot;</ETag><Size>{(self.root / key).stat().st_size}</Size></Contents>"
            for key in sorted(found)
        )
        if flat:
            contents += "".join(
                f"<CommonPrefixes><Prefix>{escape(key)}/</Prefix></CommonPrefixes>" for key in sorted(folders)
            )
        name = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        return f"{name}<IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()

    def answer(self, status: int, text: bytes) -> int:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        return len(text)

    def count(self, request: str, size: int, of: str = "") -> None:
        with self.lock:
            if request:
                self.requests[request] += 1
            self.sent[of or request] += size

    def log_message(self, *_: object) -> None:
        pass


def kind(key: str) -> str:
    """What of a table an object is."""
    for name in ("_versions", "_indices", "data", "_deletions", "_transactions", "_refs"):
        if f"/{name}/" in f"/{key}/":
            return f"{name}/{Path(key).name}" if name == "_indices" and Path(key).suffix else name
    return "other"


@contextmanager
def serving(folder: Path, latency: float = 0.0) -> Iterator[str]:
    """Serves a folder; gives the address."""
    ThreadingHTTPServer.request_queue_size = 1024  # with its usual 5, clients that open many at once wait for seconds
    handler = type("Served", (Objects,), {"root": folder, "latency": latency})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
