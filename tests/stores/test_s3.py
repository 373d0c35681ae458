"""Objects in S3: exact keys, and errors that name the cause and never a secret."""

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clip2video_plugin import stores
from clip2video_plugin.errors import VideoReadError
from clip2video_plugin.places import place_of
from clip2video_plugin.stores import ranges
from clip2video_plugin.stores.s3 import S3Object, client, presigned
from clip2video_plugin.video.fingerprint import fingerprint
from clip2video_plugin.video.frames import read_frames

from ..objectstore import KEYS
from ..video.clips import write


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write(tmp_path_factory.mktemp("clip") / "clip.mp4", options={"g": "5"})


def refused(uri):
    with pytest.raises(VideoReadError) as caught:
        read_frames(uri, size=32)
    message = str(caught.value)
    assert message.startswith(f"cannot read {place_of(uri)}: ")
    assert "\n" not in message
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in message
    assert KEYS["AWS_ACCESS_KEY_ID"] not in message
    return message


KEYS_OF_OBJECTS = ["a b/ü#1.mp4", "a?b%20c%.mp4", "x/../y.mp4", "../z.mp4", "a//b.mp4", "a+b&c=d;'\"<>.mp4", "ends/."]


def test_keys_are_exact(s3, clip):
    for number, key in enumerate(KEYS_OF_OBJECTS):
        s3.client.put_object(Bucket=s3.bucket, Key=key, Body=f"{number} {key}".encode())
    for number, key in enumerate(KEYS_OF_OBJECTS):
        with stores.opened(place_of(s3.uri(key))) as file:
            assert file.read() == f"{number} {key}".encode()
    listed = [str(uri) for uri, _ in stores.walk(place_of(f"s3://{s3.bucket}"))]
    assert sorted(listed) == sorted(s3.uri(key) for key in KEYS_OF_OBJECTS)


def test_the_stamp_of_a_listing_is_that_of_the_object(s3, clip):
    uri = place_of(s3.put("a/b.mp4", clip))
    ((found, stamp),) = stores.walk(place_of(s3.uri("a")))
    assert (found, stamp) == (uri, stores.stamp(uri))
    assert stamp[0] == clip.stat().st_size
    with stores.held(uri):
        read_frames(uri, size=32)
        assert stores.stamp(uri) == stamp


def test_nothing_is_fetched_twice_while_it_is_held(s3, clip, monkeypatch):
    uri = place_of(s3.put("a.mp4", clip))
    with stores.held(uri):
        frames = [read_frames(uri, size=32, start=start).pixels for start in (None, 1.0, 2.0)]
        content = fingerprint(uri)
        assert stores.fetched(uri).requests == 1
    assert content == fingerprint(clip)
    np.testing.assert_array_equal(frames[1], read_frames(clip, size=32, start=1.0).pixels)


def test_errors_name_the_cause(s3, clip, monkeypatch):
    uri = s3.put("a.mp4", clip)
    assert "there is no bucket 'no-such-bucket-1'" in refused("s3://no-such-bucket-1/a.mp4")
    assert "there is no such object" in refused(s3.uri("b.mp4"))
    assert "names of a bucket" in refused("s3://A_b!/a.mp4")
    s3.client.put_object(Bucket=s3.bucket, Key="empty.mp4", Body=b"")
    assert "the file is empty" in refused(s3.uri("empty.mp4"))
    with pytest.raises(VideoReadError, match="there is no such object"):
        stores.stamp(place_of(s3.uri("b.mp4")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert "no answer from 127.0.0.1:" in refused(uri)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    assert "AWS_ENDPOINT_URL is 'nonsense'" in refused(uri)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "there is no profile 'nobody'" in refused(uri)


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("AccessDenied", 403, "do not allow to read it"),
        ("InvalidAccessKeyId", 403, "not accepted (InvalidAccessKeyId)"),
        ("ExpiredToken", 400, "not accepted (ExpiredToken)"),
        ("AuthorizationHeaderMalformed", 400, "set AWS_REGION=eu-north-1"),
        ("InvalidObjectState", 403, "archived"),
        ("SlowDown", 503, "busy or broken (SlowDown)"),
        ("PreconditionFailed", 412, "it changed while it was read"),
    ],
)
def test_what_a_store_answers_is_said_in_words(s3, clip, monkeypatch, code, status, says):
    monkeypatch.setattr(ranges.time, "sleep", lambda seconds: None)
    body = f"<Error><Code>{code}</Code><Message>id {KEYS['AWS_ACCESS_KEY_ID']}</Message></Error>".encode()
    uri = s3.put("a.mp4", clip)

    def answer(request, **more):
        from botocore.awsrequest import AWSResponse

        class Raw:
            def stream(self, *a, **k):
                yield body

        return AWSResponse(request.url, status, {"x-amz-bucket-region": "eu-north-1"}, Raw())

    events = client(place_of(uri)).meta.events
    events.register("before-send.s3.GetObject", answer)
    try:
        assert says in refused(uri)
    finally:
        events.unregister("before-send.s3.GetObject", answer)


def test_an_object_that_changes_between_requests_is_no_video_of_both(s3, clip, monkeypatch):
    monkeypatch.setattr(ranges, "FIRST", 1000)
    monkeypatch.setattr(ranges, "SMALL", 0)
    uri = s3.put("a.mp4", clip)
    with stores.opened(place_of(uri)) as file:
        assert file.read(4) == clip.read_bytes()[:4]
        s3.client.put_object(Bucket=s3.bucket, Key="a.mp4", Body=clip.read_bytes()[::-1])
        file.seek(2000)
        with pytest.raises(VideoReadError, match="it changed while it was read"):
            file.read(4)


def test_without_credentials_it_is_asked_unsigned(s3, clip, monkeypatch, tmp_path):
    uri = s3.put("a.mp4", clip)
    private = s3.put("b.mp4", clip)
    s3.client.put_object_acl(Bucket=s3.bucket, Key="a.mp4", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    seen = []
    events = client(place_of(uri)).meta.events
    events.register("before-send.s3", lambda request, **more: seen.append(dict(request.headers)))
    np.testing.assert_array_equal(read_frames(uri, size=32).pixels, read_frames(clip, size=32).pixels)
    assert seen
    assert not any("Authorization" in headers for headers in seen)
    assert "it is not public, and no credentials were found" in refused(private)


def test_sixteen_threads_and_a_fork_read_the_same(s3, clip):
    uri, local = s3.put("a.mp4", clip), read_frames(clip, size=32).pixels
    barrier = threading.Barrier(16)

    def read(_):
        barrier.wait()
        return read_frames(uri, size=32).pixels

    with ThreadPoolExecutor(16) as pool:
        for pixels in pool.map(read, range(16)):
            np.testing.assert_array_equal(pixels, local)
    child = os.fork()
    if not child:
        same = np.array_equal(read_frames(uri, size=32).pixels, local)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_presigned_address_reads_the_object(s3, clip):
    uri = place_of(s3.put("a b/ü.mp4", clip))
    address = presigned(uri, 60, "video/mp4")
    assert "X-Amz-Signature=" in address
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in address
    np.testing.assert_array_equal(read_frames(address, size=32).pixels, read_frames(clip, size=32).pixels)
    assert "Signature" not in str(place_of(address))
    assert S3Object(uri).look().size == clip.stat().st_size
