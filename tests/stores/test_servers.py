"""Videos on web servers, on one that lies as they do: frames are the file's, or the error says why there are none."""

import hashlib
import socket
import time

import numpy as np
import pytest

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import place_of
from clip2video_plugin.stores import ranges
from clip2video_plugin.video.frames import read_frames

from ..standin import StandIn, certificate
from ..video.clips import write


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video, and its bytes."""
    file = write(tmp_path_factory.mktemp("clip") / "clip.mp4", options={"g": "5"})
    return file, file.read_bytes()


@pytest.fixture(params=[True, False], ids=["heads", "no heads"])
def heads(request):
    """Whether the server answers to HEAD; a signed address may allow GET alone."""
    return request.param


@pytest.fixture
def server():
    found = StandIn()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(ranges.time, "sleep", lambda seconds: None)


def reads_as(clip, address):
    frames, local = read_frames(address, size=32), read_frames(clip[0], size=32)
    np.testing.assert_array_equal(frames.pixels, local.pixels)
    np.testing.assert_array_equal(frames.timestamps, local.timestamps)


def refused(address):
    """The one line that says why it cannot be read."""
    with pytest.raises(VideoReadError) as caught:
        read_frames(address, size=32)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"ranges": False},
        {"ranges": False, "says": {"Content-Length": None}},  # nor does it say how long it is
        {"cuts": [1000, 0, 500, 2000]},
        {"codes": [503, 429, 500]},
        {"says": {"ETag": None}},
    ],
    ids=["ranges", "whole", "endless", "breaks off", "busy", "no tag"],
)
def test_frames_are_the_files(server, clip, how):
    reads_as(clip, server.put("/a b/ü#?.mp4", clip[1], **how).replace("#", "%23").replace("?", "%3F"))


def test_redirects_are_followed_and_never_from_https_to_http(server, clip, tmp_path, monkeypatch):
    there = server.put("/real.mp4", clip[1])
    reads_as(clip, server.put("/first", goes_to="/second") and server.put("/second", goes_to=there))
    assert "from address to address" in refused(server.put("/round", goes_to="/round"))
    file, key = certificate(tmp_path, "127.0.0.1")
    secure = StandIn((file, key))
    monkeypatch.setattr("clip2video_plugin.stores.servers._pool", lambda *a: _trusting(file))
    try:
        reads_as(clip, secure.put("/a.mp4", clip[1]))
        asked = len(server.asked)
        assert "from https to http" in refused(secure.put("/down.mp4", goes_to=there))
        assert len(server.asked) == asked
    finally:
        secure.close()


def _trusting(file):
    import urllib3

    return urllib3.PoolManager(ca_certs=str(file))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"codes": [404] * 9}, "there is no such file"),
        ({"codes": [403] * 9}, "access is denied"),
        ({"codes": [401] * 9}, "wants credentials"),
        ({"codes": [500] * 99}, "HTTP 500; try again later"),
        ({"cuts": [0] * 99}, "again"),
        ({"shift": 7}, "other bytes than were asked for"),
        ({"says": {"Content-Encoding": "gzip"}}, "packed"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(server, clip, how, says):
    address = server.put("/a.mp4", clip[1], **how)
    message = refused(address.replace("://", "://me:pa55word@") + "?X-Amz-Signature=5igned")
    assert message.startswith(f"cannot read {address}: ")
    assert says in message
    assert "pa55word" not in message
    assert "5igned" not in message


@pytest.mark.parametrize("tag", [True, False])
def test_a_file_that_changes_between_requests_is_no_video_of_both(server, clip, tag, monkeypatch):
    monkeypatch.setattr(ranges, "FIRST", 1000)
    monkeypatch.setattr(ranges, "SMALL", 0)
    says = {} if tag else {"ETag": None, "Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"}
    address = server.put("/a.mp4", clip[1], says=says)
    file = stores.opened(place_of(address))
    assert file.read(10) == clip[1][:10]
    other = {} if tag else {"ETag": None, "Last-Modified": "Sat, 28 Nov 2026 10:00:01 GMT"}
    server.put("/a.mp4", clip[1][::-1], says=other)
    file.seek(2000)
    with pytest.raises(VideoReadError, match="it changed while it was read"):
        file.read(10)


def test_its_stamp_is_equal_as_long_as_the_file_is(clip, heads):
    server = StandIn(heads=heads)
    page = {"says": {"Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"}}
    assert stores.stamp(place_of(server.put("/dated.mp4", clip[1], **page))) == (len(clip[1]), 1795860000.0)
    tagged = place_of(server.put("/tagged.mp4", clip[1]))
    size, number = stores.stamp(tagged)
    tag = f'"{hashlib.md5(clip[1]).hexdigest()}"'
    assert (size, number) == (len(clip[1]), int.from_bytes(hashlib.sha256(tag.encode()).digest()[:6]))
    assert int(np.float64(number)) == number
    server.put("/tagged.mp4", clip[1][:-1] + b"\0")
    assert stores.stamp(tagged)[1] != number
    server.close()


def test_credentials_go_to_their_own_host_only(server, clip):
    other = StandIn()
    try:
        other.put("/b.mp4", clip[1])
        address = server.put("/a.mp4", goes_to=f"{other.url}/b.mp4")
        reads_as(clip, address.replace("://", "://me:pa%2055@"))
        assert server.asked[0][1]["authorization"] == "Basic bWU6cGEgNTU="  # me:pa 55
        assert all("authorization" not in headers for _, headers in other.asked)
    finally:
        other.close()


def test_a_playlist_leads_nowhere(server, clip, tmp_path):
    server.put("/a.mp4", clip[1])
    assert "not a video" in refused(server.put("/list.m3u8", b"#EXTM3U\n#EXTINF:5,\na.mp4\n#EXT-X-ENDLIST\n"))
    assert "not a video" in refused(server.put("/list.txt", f"ffconcat version 1.0\nfile {clip[0]}\n".encode()))
    assert [path for path, _ in server.asked if path == "/a.mp4"] == []


def test_a_server_that_is_not_there_is_named_soon():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/a.mp4"
    began = time.monotonic()
    assert "no answer from 127.0.0.1:" in refused(address)
    assert "no answer from no.such.host.invalid" in refused("http://no.such.host.invalid/a.mp4")
    assert time.monotonic() - began < 10
