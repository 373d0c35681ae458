"""Downloads resume, are checked, and never leave half a file where a whole one should be. Against a local server."""

import hashlib
import http.server
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ClassVar

import pytest

from clip2video_plugin.errors import CheckpointError
from clip2video_plugin.model.fetch import DOWNLOADS, fetch

BODY = bytes(range(256)) * 20_000
SHA = hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    ranges: ClassVar[list] = []
    cut: int | None = None  # end the first answer after so many bytes
    plain = False  # ignore ranges
    meeting: threading.Barrier | None = None  # where two answers wait for each other, halfway

    def do_GET(self):
        wanted = self.headers.get("Range")
        Server.ranges.append(wanted)
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and not Server.plain else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        if Server.meeting:
            middle = (start + len(BODY)) // 2
            self.wfile.write(BODY[start:middle])
            start = middle
            with suppress(threading.BrokenBarrierError):
                Server.meeting.wait(1)
        end = start + Server.cut if Server.cut else None
        Server.cut = None
        self.wfile.write(BODY[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("C2V_MODELS", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Server.ranges, Server.cut, Server.plain, Server.meeting = [], None, False, None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/ViT-B-32.pt"
    server.shutdown()


def test_the_published_address_and_hash_are_openais():
    known = DOWNLOADS["clip-vit-b32"]
    assert known.sha256 == "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    assert known.url.startswith("https://openaipublic.azureedge.net/clip/models/")
    assert known.sha256 in known.url


def test_a_file_is_downloaded_once(url):
    seen = []
    path = fetch("clip-vit-b32", url=url, sha256=SHA, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert fetch("clip-vit-b32", url=url, sha256=SHA) == path
    assert len(Server.ranges) == 1


def test_two_at_once_download_one_file(url):
    Server.meeting = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch("clip-vit-b32", url=url, sha256=SHA), range(2)))
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == BODY
    assert Server.ranges == [None]


def test_an_interrupted_download_goes_on(url):
    Server.cut = 1_500_000
    with pytest.raises(CheckpointError, match="again to resume"):
        fetch("clip-vit-b32", url=url, sha256=SHA)
    assert fetch("clip-vit-b32", url=url, sha256=SHA).read_bytes() == BODY
    assert Server.ranges == [None, "bytes=1500000-"]


def test_a_server_without_ranges_starts_over(url):
    Server.cut = 1_500_000
    with pytest.raises(CheckpointError):
        fetch("clip-vit-b32", url=url, sha256=SHA)
    Server.plain = True
    assert fetch("clip-vit-b32", url=url, sha256=SHA).read_bytes() == BODY


def test_another_file_is_refused_and_deleted(url, tmp_path):
    with pytest.raises(CheckpointError, match=f"SHA-256 {SHA}, expected {'0' * 64}; it was deleted"):
        fetch("clip-vit-b32", url=url, sha256="0" * 64)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_whole_part_is_only_checked(url, tmp_path):
    part = tmp_path / "downloads" / "ViT-B-32.pt.part"
    part.parent.mkdir()
    part.write_bytes(BODY)
    assert fetch("clip-vit-b32", url=url, sha256=SHA).read_bytes() == BODY


def test_no_server_is_one_line(url, monkeypatch):
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        fetch("clip-vit-b32", url="http://127.0.0.1:9/x", sha256=SHA)
    with pytest.raises(CheckpointError, match="there is clip-vit-b32"):
        fetch("clip-vit-l14")


def test_the_command_fetches(url, c2v, tmp_path):
    done = c2v("models", "fetch", "clip-vit-b32", "--url", url, "--sha256", SHA)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("downloads/ViT-B-32.pt")
