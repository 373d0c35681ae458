"""What servers say wrongly does not become a file; what they say late does. Against a server on this machine."""

import hashlib
import resource
import socket
import threading
import time

import pytest

from clip2video_plugin import download as module
from clip2video_plugin.download import Wanted, bring, in_words
from clip2video_plugin.errors import CheckpointError
from tests.standin import StandIn, certificate

BODY = bytes(range(256)) * 8_000
SHA = hashlib.sha256(BODY).hexdigest()
OTHER = BODY[::-1]
QUOTA = b"<!DOCTYPE html>\n<html><head><title>Google Drive - Quota exceeded</title></head><body>Sorry.</body></html>"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    server = StandIn()
    yield server
    server.close()


@pytest.fixture
def got(tmp_path):
    """Downloads as ``c2v models fetch`` does, with no time to lose; the bytes of the file."""

    def get(url, *, pauses=(), timeout=10.0, tell=None, **known):
        with in_words(url, CheckpointError):
            bring(Wanted(url=url, **known), tmp_path / "file", pauses=pauses, timeout=timeout, tell=tell)
        return (tmp_path / "file").read_bytes()

    return get


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_server_that_breaks_off_is_asked_for_the_rest(server, got):
    url, said = server.put("/x", BODY, cuts=[300_000, 0, 300_000, 0]), []
    assert got(url, pauses=(0.01, 0.02), tell=said.append) == BODY
    assert server.ranges() == [None, "bytes=300000-", "bytes=300000-", "bytes=600000-", "bytes=600000-"]
    tags = {headers.get("If-Range") for _, headers in server.asked[1:]}
    assert tags == {f'"{hashlib.md5(BODY).hexdigest()}"'}
    assert said[0] == f"the connection ended after 300000 of {len(BODY)} bytes; trying again in 0.01 s"
    assert [line.split()[-2] for line in said] == ["0.01", "0.02", "0.01", "0.02"]  # anew, once more had arrived


def test_one_that_only_breaks_off_is_left_and_the_next_run_resumes(server, got, tmp_path):
    url = server.put("/x", BODY, cuts=[400_000, 0, 0])
    with pytest.raises(CheckpointError, match=r"ended after 400000 of .* run the same command again to resume"):
        got(url, pauses=(0.01, 0.01))
    assert left(tmp_path) == ["file.part", "file.part.from"]
    assert got(url) == BODY
    assert server.ranges()[-1] == "bytes=400000-"
    assert left(tmp_path) == ["file", "file.from"]


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, got):
    assert got(server.put("/busy", BODY, codes=[503, 429]), pauses=(0.01, 0.01)) == BODY
    assert len(server.asked) == 3
    with pytest.raises(CheckpointError, match=r"/nowhere cannot be downloaded: HTTP 404 Not Found$"):
        got(f"{server.url}/nowhere", pauses=(9, 9))


def test_where_nothing_answers_nobody_waits(got):
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=r"cannot be downloaded: .*refused"):
        got("http://127.0.0.1:9/x", pauses=(9, 9))
    assert time.monotonic() - start < 5


def test_a_server_that_stands_still_is_left(server, got, tmp_path):
    url = server.put("/x", BODY, pause=3)
    with pytest.raises(CheckpointError, match=r"no byte for 0.2 s; run the same command again to resume"):
        got(url, timeout=0.2)
    assert left(tmp_path) == ["file.part", "file.part.from"]
    server.pages["/x"].pause = 0
    assert got(url) == BODY
    assert server.ranges()[-1] != "bytes=0-"


@pytest.mark.parametrize("says", [{}, {"ETag": None, "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT"}])
def test_a_file_that_changed_in_between_is_not_glued(server, got, says):
    url = server.put("/x", BODY, cuts=[500_000], says=says)
    with pytest.raises(CheckpointError, match="ended after"):
        got(url)
    newer = says and {**says, "Last-Modified": "Thu, 22 Oct 2026 07:28:00 GMT"}
    server.put("/x", OTHER, says=newer)
    assert got(url) == OTHER
    assert server.ranges()[-1] == "bytes=500000-"


def test_without_anything_that_names_a_version_its_length_does(server, got):
    url = server.put("/x", BODY, cuts=[500_000], says={"ETag": None})
    with pytest.raises(CheckpointError, match="ended after"):
        got(url)
    server.put("/x", OTHER + b"longer", says={"ETag": None})
    assert got(url, pauses=(0.01,)) == OTHER + b"longer"
    assert server.ranges() == [None, "bytes=500000-", None]


@pytest.mark.parametrize(("known", "asked"), [({}, None), ({"sha256": SHA}, "bytes=500000-")])
def test_a_part_from_elsewhere_counts_only_where_a_hash_will_tell(server, got, known, asked):
    with pytest.raises(CheckpointError, match="ended after"):
        got(server.put("/first", BODY, cuts=[500_000]), **known)
    assert got(server.put("/second", BODY), **known) == BODY
    assert server.ranges()[-1] == asked


def test_another_range_than_was_asked_for_is_not_taken(server, got):
    url = server.put("/x", BODY, cuts=[500_000])
    with pytest.raises(CheckpointError):
        got(url)
    server.put("/x", BODY, shift=7)
    assert got(url, pauses=(0.01,)) == BODY
    assert server.ranges()[-2:] == ["bytes=500000-", None]


def test_a_part_that_is_longer_than_the_file_starts_over(server, got, tmp_path):
    (tmp_path / "file.part").write_bytes(BODY + b"more")
    assert got(server.put("/x", BODY), sha256=SHA, size=len(BODY)) == BODY
    (tmp_path / "file").unlink()
    (tmp_path / "file.part").write_bytes(BODY + b"more")
    assert got(server.put("/x", BODY), sha256=SHA, pauses=(0.01,)) == BODY


@pytest.mark.parametrize("claimed", [len(BODY) - 1000, len(BODY) + 1000])
def test_a_wrong_length_is_noticed(server, got, tmp_path, claimed):
    url = server.put("/x", BODY, says={"Content-Length": str(claimed)})
    with pytest.raises(CheckpointError, match=f"offers {claimed} bytes, expected {len(BODY)}; nothing was kept"):
        got(url, size=len(BODY))
    with pytest.raises(CheckpointError, match="it was deleted" if claimed < len(BODY) else f"of {claimed} bytes"):
        got(url, sha256=SHA)
    assert left(tmp_path) in ([], ["file.part", "file.part.from"])


@pytest.mark.parametrize("known", [{"size": 1000}, {"largest": 1000}])
def test_a_file_without_end_is_cut_off(server, got, tmp_path, known):
    url = server.put("/x", BODY, says={"Content-Length": None})
    with pytest.raises(CheckpointError, match="gave more than 1000 bytes; nothing was kept"):
        got(url, **known)
    server.put("/x", BODY)
    with pytest.raises(CheckpointError, match=f"offers {len(BODY)} bytes, .* nothing was kept"):
        got(url, **known)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "says"), [(QUOTA, {}), (b"<!-- -->" + QUOTA, {"Content-Type": "text/html; charset=utf-8"})]
)
def test_a_page_for_people_is_named_and_not_kept(server, got, tmp_path, body, says):
    url = server.put("/x", body, says=says)
    with pytest.raises(CheckpointError, match='gave a web page "Google Drive - Quota exceeded" instead of the file'):
        got(url)
    assert left(tmp_path) == []


def test_a_page_in_the_middle_leaves_what_had_arrived(server, got):
    url = server.put("/x", BODY, cuts=[500_000])
    with pytest.raises(CheckpointError, match="ended after"):
        got(url)
    server.put("/x", QUOTA, says={"Content-Type": "text/html"})
    with pytest.raises(CheckpointError, match="web page"):
        got(url)
    server.put("/x", BODY)
    assert got(url) == BODY
    assert server.ranges()[-1] == "bytes=500000-"


def test_a_redirect_leads_to_another_host_with_nothing_that_tells_who_asks(server, got, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    far = StandIn()
    url = server.put("/x", goes_to=far.put("/there/x", BODY, cuts=[500_000]), says={"Set-Cookie": "who=you"})
    assert got(url, pauses=(0.01,)) == BODY
    assert far.ranges() == [None, "bytes=500000-"]
    for _, headers in server.asked + far.asked:
        assert not {"Authorization", "Cookie", "Referer"} & set(headers)
        assert "hf_secret" not in str(headers)
    far.close()


def test_no_redirect_leads_out_of_https_or_in_circles(server, got, tmp_path, monkeypatch):
    files = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    safe = StandIn(files)
    assert got(safe.put("/x", BODY)) == BODY
    (tmp_path / "file").unlink()
    away = server.put("/x", BODY)
    with pytest.raises(CheckpointError, match=f"leads to {away}, which is not https; nothing was kept"):
        got(safe.put("/away", goes_to=away))
    assert got(server.put("/up", goes_to=safe.url + "/x")) == BODY
    with pytest.raises(CheckpointError, match="cannot be downloaded: HTTP 302"):
        got(server.put("/circle", goes_to=f"{server.url}/circle"))
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    (tmp_path / "file").unlink()
    with pytest.raises(CheckpointError, match=r"cannot be downloaded: .*certificate verify failed"):
        got(safe.url + "/x", pauses=(9, 9))
    safe.close()


def test_what_the_server_states_of_its_file_is_checked(server, got, tmp_path):
    far = StandIn()
    true = {"X-Linked-ETag": f'"{SHA}"', "X-Linked-Size": str(len(BODY))}
    url = server.put("/x", goes_to=far.put("/x", BODY), says=true)
    assert got(url) == BODY
    (tmp_path / "file").unlink()
    far.put("/x", OTHER)
    with pytest.raises(CheckpointError, match=f"gave a file with SHA-256 .*, expected {SHA}; it was deleted"):
        got(url)
    with pytest.raises(CheckpointError, match=f"offers a file with SHA-256 {SHA}, expected {'0' * 64}; nothing was"):
        got(url, sha256="0" * 64)
    far.put("/x", OTHER, says=true)  # whoever stores the file does not speak for the one who was asked
    server.put("/x", goes_to=far.url + "/x")
    (tmp_path / "file.from").unlink()
    assert got(url) == OTHER
    far.close()


def test_a_full_disk_is_one_line_and_no_loss(server, got, tmp_path):
    url = server.put("/x", BODY)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, limits[1]))  # writing fails, as on a full disk
    try:
        with pytest.raises(CheckpointError, match="/x cannot be written: File too large; run the same command again"):
            got(url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert got(url) == BODY
    assert server.ranges()[-1] not in (None, "bytes=0-")


def test_a_disk_that_is_too_small_is_not_filled(server, got, tmp_path):
    url = server.put("/x", BODY, says={"Content-Length": str(10**15)})
    with pytest.raises(CheckpointError, match=r"file.part: 1,000,000,000 MB are needed, [\d,]+ MB are free"):
        got(url, largest=10**16)
    assert left(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "/tmp/x", "http://"])
def test_only_web_addresses_are_addresses(got, url):
    with pytest.raises(CheckpointError, match="is no address; it begins with https:// or http://"):
        got(url)


def test_an_address_that_cannot_be_asked_is_one_line(server, got):
    for url in (f"{server.url}/a b", f"{server.url}/ü", server.put("/x", goes_to="http://[bad/")):
        with pytest.raises(CheckpointError, match=f"^{url} is no address that can be asked: "):
            got(url)


@pytest.mark.parametrize(
    "answer", [b"", b"?\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"]
)
def test_what_is_no_answer_is_one_line(got, answer):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            connection.recv(65536)
            connection.sendall(answer)
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(CheckpointError, match=r"cannot be downloaded: the connection broke: .*; run the same"):
            got(f"http://127.0.0.1:{listening.getsockname()[1]}/x")


def test_pauses_grow_and_end():
    assert list(module.PAUSES) == sorted(set(module.PAUSES))
    assert sum(module.PAUSES) < 60
