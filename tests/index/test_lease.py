"""The lease of an index in a store: one owner at a time, none waits for ever, and what a store refuses is said."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter

import boto3
import lancedb
import pytest

from clip2video_plugin.errors import IndexBusyError, VideoIndexError
from clip2video_plugin.index import VideoIndex, connection, lease, open_index, uri_of
from clip2video_plugin.index.connection import held, local_folder, lock_of
from clip2video_plugin.index.lease import Lease

from .test_store import MADE, row, unit

HOLD = """
import sys, time
from clip2video_plugin.index.lease import Lease
assert Lease(sys.argv[1], ".c2v.lock").acquire(60) == ""
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def another(tmp_path):
    """Another process that has the lease of an index."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "SECONDS", 0.8)


def test_who_waits_is_told_who_writes_and_has_it_at_once_when_that_process_is_killed(tmp_path, another):
    waiting = Lease(str(tmp_path), ".c2v.lock")
    with (
        pytest.raises(
            IndexBusyError, match=f"process {another.pid} on .* since 20.*UTC has been writing to it; waited"
        ),
        held(waiting, str(tmp_path), 0.3),
    ):
        pass
    another.kill()
    another.wait()
    with held(waiting, str(tmp_path), 20):
        pass


def test_one_on_another_machine_is_taken_over_when_its_beat_stops_and_not_before(tmp_path, quick, monkeypatch):
    owner, waiting = Lease(str(tmp_path), "x"), Lease(str(tmp_path), "x")
    assert owner.acquire(5) == ""
    monkeypatch.setattr(lease, "_machine", lambda: "another")
    began = time.monotonic()
    assert f"process {os.getpid()}" in waiting.acquire(2)  # longer than one lives without its beat
    assert time.monotonic() - began > 2
    owner._stop.set()  # as if it were paused
    assert waiting.acquire(20) == ""
    owner.release()  # it goes on, and changes nothing
    row = lancedb.connect(tmp_path / ".c2v").open_table("leases").to_arrow().to_pylist()[0]
    assert row["owner"] == waiting._row["owner"] != ""
    waiting.release()
    assert lancedb.connect(tmp_path / ".c2v").open_table("leases").to_arrow()["owner"].to_pylist() == [""]


def test_threads_of_a_process_take_turns_and_one_that_has_it_may_ask_again(tmp_path):
    one, inside, most = lease.lease_of(str(tmp_path), "x"), [], []

    def enter():
        assert one.acquire(60) == ""
        assert one.acquire(0) == ""
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        one.release()
        one.release()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 4


def test_an_index_in_a_store_is_written_by_one_at_a_time_and_its_lease_is_no_table(s3):
    uri = s3.uri("in dex")
    index = VideoIndex.create(uri, 16, MADE)
    together = threading.Barrier(3)

    def write(index):
        together.wait()
        for start in range(0, 20, 10):
            index.write([row(i, v) for i, v in enumerate(unit(10, start), start)])

    writers = [threading.Thread(target=write, args=[open_index(uri)]) for _ in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(120)
    ids = lancedb.connect(uri).open_table("videos").to_arrow()["id"].to_pylist()
    assert Counter(ids) == Counter(f"v{i}" for i in range(20))
    assert [table.name for table in index.info().tables] == ["videos"]
    with index.writing(), index.writing(0):
        found = lancedb.connect(f"{uri}/.c2v").open_table("leases").to_arrow().to_pylist()
        assert [(row["pid"], row["name"]) for row in found if row["owner"]] == [(os.getpid(), ".c2v.lock")]


def test_a_place_with_nothing_but_a_lease_is_no_index(s3):
    with connection.writer_lock(s3.uri("nothing")):
        pass
    with pytest.raises(VideoIndexError, match="no index at s3://"):
        open_index(s3.uri("nothing"))


@pytest.mark.parametrize(
    ("change", "uri", "cause"),
    [
        ({}, "s3://no-such-bucket/i", r"The specified bucket does not exist \(NoSuchBucket\)"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "s3://b/i", "no credentials for the store"),
        ({"AWS_ENDPOINT": "http://127.0.0.1:1"}, "s3://b/i", "127.0.0.1:1 cannot be reached .Connection refused"),
        ({"AWS_ALLOW_HTTP": "false"}, "s3://b/i", "AWS_ALLOW_HTTP=true"),
        ({}, "foo://b/i", "No object store provider found for scheme: 'foo'"),
    ],
)
def test_what_a_store_refuses_is_said_in_one_line_that_names_the_cause(s3, monkeypatch, tmp_path, change, uri, cause):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for ask in (open_index, lambda uri: VideoIndex.create(uri, 16, MADE)):
        with pytest.raises(VideoIndexError, match=cause) as error:
            ask(uri)
        said = str(error.value)
        assert "\n" not in said
        assert ".rs" not in said
        assert os.environ["AWS_ENDPOINT_URL"] not in said
        assert "s3cr3t" not in said


def test_credentials_in_the_address_of_an_index_are_refused_and_not_repeated():
    for uri in ("s3://user:pa55word@bucket/i", "az://c/i?sig=pa55word"):
        with pytest.raises(VideoIndexError, match="credentials") as error:
            uri_of(uri)
        assert "pa55word" not in str(error.value)


@pytest.mark.parametrize("uri", ["file://{}/a%20b%25", "file://localhost{}/a%20b%25", "FILE://{}/a b%25"])
def test_file_uris_are_folders_of_this_machine(tmp_path, uri):
    folder = local_folder(uri.format(tmp_path))
    assert folder == tmp_path / "a b%"
    index = VideoIndex.create(uri.format(tmp_path), 16, MADE)
    index.write([row(1, unit(1)[0])])
    assert lancedb.connect(folder).open_table("videos").count_rows() == 1
    assert (folder / ".c2v.lock").exists()


def test_stores_that_commit_through_dynamodb_are_written_with_a_lease(s3, monkeypatch):
    names, types = ("base_uri", "version"), ("S", "N")
    boto3.client("dynamodb", endpoint_url=s3.address, region_name="us-east-1").create_table(
        TableName="commits",
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in zip(names, ("HASH", "RANGE"), strict=True)],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in zip(names, types, strict=True)],
        BillingMode="PAY_PER_REQUEST",
    )
    uri = f"s3+ddb://{s3.bucket}/index?ddbTableName=commits"
    assert isinstance(lock_of(uri), Lease)
    assert lock_of("memory://") is None
    with pytest.raises(VideoIndexError, match="DynamoDB"):
        VideoIndex.create(uri, 16, MADE)
    monkeypatch.setenv("DYNAMODB_ENDPOINT", s3.address)
    VideoIndex.create(uri, 16, MADE).write([row(1, unit(1)[0])])
    assert lancedb.connect(uri).open_table("videos").to_arrow()["id"].to_pylist() == ["v1"]
