"""A database server of one's own: found by its directory, shared by processes, ended by the last of them."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pymongo
import pytest

USE = """
import sys
from pathlib import Path
from clip2video_plugin.app.demo.mongod import start_mongod
print(start_mongod(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def use(tmp_path):
    """Starts processes that use the server of a directory; each says its URI and ends with its standard input."""
    started = []

    def start(folder="db"):
        process = subprocess.Popen(
            [sys.executable, "-c", USE, tmp_path / folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


def uri_of(process):
    return process.stdout.readline().strip()


def server(uri):
    with pymongo.MongoClient(uri) as client:
        return psutil.Process(client.admin.command("serverStatus")["pid"])


def dbpath(uri):
    with pymongo.MongoClient(uri) as client:
        return client.admin.command("getCmdLineOpts")["parsed"]["storage"]["dbPath"]


def test_two_processes_at_once_share_one_server_and_the_last_ends_it(use):
    first, second = use(), use()
    uris = {uri_of(first), uri_of(second)}
    assert len(uris) == 1
    mongod = server(*uris)
    first.communicate()
    assert server(*uris) == mongod  # although the process that started it may be gone
    second.communicate()
    assert not mongod.is_running()


def test_a_server_whose_users_were_killed_is_used_again_and_ended(use):
    killed = use()
    uri = uri_of(killed)
    mongod = server(uri)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = use()
    assert uri_of(again) == uri
    assert server(uri) == mongod
    again.communicate()
    assert not mongod.is_running()


@pytest.mark.parametrize("note", ["garbage", "port"])
def test_a_note_of_a_port_where_another_program_listens_now_is_not_believed(use, tmp_path, note):
    (tmp_path / "db").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (tmp_path / "db" / "port").write_text(str(port) if note == "port" else note)
        (tmp_path / "db" / "mongod.lock").write_text(str(os.getpid()) if note == "port" else note)
        uri = uri_of(use())
        assert not uri.endswith(f":{port}")
        assert dbpath(uri) == str(tmp_path / "db")


def test_the_server_of_another_directory_is_not_taken_for_ones_own(use, tmp_path):
    uri = uri_of(use())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mongod.lock").write_text((tmp_path / "db" / "mongod.lock").read_text())
    (tmp_path / "other" / "port").write_text(uri.rsplit(":", 1)[1])
    assert dbpath(uri_of(use("other"))) == str(tmp_path / "other")


def test_fiftyone_imported_before_is_refused_as_it_would_use_the_users_database(tmp_path):
    code = (
        "import sys; from pathlib import Path; import fiftyone; from clip2video_plugin.app.demo import run_demo; "
        "run_demo(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "demo"], capture_output=True, text=True, timeout=120)
    assert "is imported already" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "demo").exists()
