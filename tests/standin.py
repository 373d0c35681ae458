"""A server on this machine that stands in for those of others, and lies as they do."""

import hashlib
import http.server
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class Page:
    """What is answered at a path.

    ``cuts``: after so many bytes the next answers end. ``says``: headers beside or instead of the true ones (None
    leaves one out). ``codes``: of the next answers. ``shift``: of the range given. ``pause``: seconds in the middle.
    """

    body: bytes = b""
    cuts: list[int] = field(default_factory=list)
    says: dict[str, str | None] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)
    ranges: bool = True
    shift: int = 0
    pause: float = 0
    goes_to: str | None = None


class StandIn:
    """Pages by path; ``asked`` holds the path and the headers of each request."""

    def __init__(self, certificate=None, heads=True):
        self.pages, self.asked = {}, []
        self.changed = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.answer(self)

            def do_HEAD(self):
                if heads:
                    outer.answer(self)
                else:
                    self.send_error(405)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def put(self, path, body=b"", **rest):
        self.pages[path] = Page(body, **rest)
        return self.url + path

    def ranges(self):
        return [headers.get("Range") for _, headers in self.asked]

    def answer(self, request):
        split = urlsplit(request.path)
        page = self.pages.get(request.path) or self.pages.get(unquote(split.path))
        with self.changed:
            self.asked.append((request.path, dict(request.headers)))
            self.changed.notify_all()
        request.close_connection = True
        if page is None or page.codes:
            request.send_error(page.codes.pop(0) if page else 404)
            return
        if page.goes_to:
            self.head(request, 302, {"Location": page.goes_to, "Content-Length": "0", **page.says})
            return
        tag = f'"{hashlib.md5(page.body).hexdigest()}"'
        wanted, start, stop, code = request.headers.get("Range"), 0, len(page.body), 200
        same = request.headers.get("If-Range") in (None, page.says.get("ETag", tag), page.says.get("Last-Modified"))
        if wanted and page.ranges and same:
            first, _, last = wanted.split("=")[1].partition("-")
            start, code = int(first) + page.shift, 206
            stop = min(int(last) + page.shift + 1, stop) if last else stop
            if start >= len(page.body):
                self.head(request, 416, {"Content-Range": f"bytes */{len(page.body)}", "Content-Length": "0"})
                return
        true = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(stop - start),
            "ETag": tag,
            **({"Content-Range": f"bytes {start}-{stop - 1}/{len(page.body)}"} if code == 206 else {}),
        }
        self.head(request, code, true | page.says)
        if request.command == "HEAD":
            return
        body = page.body[start : min(start + page.cuts.pop(0), stop)] if page.cuts else page.body[start:stop]
        try:
            if page.pause:
                half = len(body) // 2
                request.wfile.write(body[:half])
                request.wfile.flush()
                time.sleep(page.pause)
                body = body[half:]
            request.wfile.write(body)
        except OSError:  # it has gone, as it may
            pass

    @staticmethod
    def head(request, code, headers):
        request.send_response(code)
        for name, value in headers.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()


def certificate(folder, *hosts):
    """A certificate that signs itself, for these hosts: its file and that of its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl on this machine")
    names = ",".join(f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts)
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=stand-in"
    files = folder / "stand-in.pem", folder / "stand-in.key"
    subprocess.run(
        [*command.split(), "-addext", f"subjectAltName={names}", "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files


class Detour:
    """A proxy that leads every host to one server, for clients that know no other way to another address."""

    def __init__(self, server):
        self.asked, port = [], server.server.server_port
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                outer.asked.append(self.rfile.readline().split()[1].decode())
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                with socket.create_connection(("127.0.0.1", port)) as far:
                    back = threading.Thread(target=relay, args=(far, self.connection), daemon=True)
                    back.start()
                    relay(self.connection, far)
                    back.join()

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def relay(source, target):
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)
