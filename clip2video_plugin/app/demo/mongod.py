"""A MongoDB of one's own for FiftyOne.

FiftyOne attaches to any database service of the same user that is running, whatever FIFTYONE_DATABASE_DIR says.
So what must keep out of a user's database, the demo and the tests, starts its own server and names it by URI.
Nothing here imports fiftyone, which reads its settings when it is imported.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import IO

import psutil
import pymongo
import pymongo.errors

from clip2video_plugin.errors import Clip2VideoError

START = 120  # seconds a server may take to start
PORT_IS_TAKEN = 48  # mongod's exit code


def use_own_database(folder: Path) -> None:
    """Points FiftyOne, once it is imported, to a database and folders below ``folder`` and to nothing of the user's.

    Raises:
        Clip2VideoError: fiftyone was imported before, there is no mongod, or it does not start.
    """
    if (fiftyone := sys.modules.get("fiftyone")) and os.environ.get("FIFTYONE_CONFIG_PATH") != _config(folder):
        raise Clip2VideoError(
            f"fiftyone {fiftyone.__version__} is imported already, with a database that is not the one in {folder}; "
            "run this in a process of its own"
        )
    uri = start_mongod(folder / "database")
    for name in [name for name in os.environ if name.startswith("FIFTYONE_")]:
        del os.environ[name]  # the user's settings, and what a FiftyOne process hands to its children
    os.environ.update(
        FIFTYONE_DATABASE_URI=uri,
        FIFTYONE_DATABASE_VALIDATION="false",
        FIFTYONE_CONFIG_PATH=_config(folder),
        FIFTYONE_APP_CONFIG_PATH=str(folder / "fiftyone-app.json"),
        FIFTYONE_DEFAULT_DATASET_DIR=str(folder / "fiftyone"),
        FIFTYONE_PLUGINS_DIR=str(folder / "plugins"),
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_SHOW_PROGRESS_BARS="false",
        MPLCONFIGDIR=str(folder / "matplotlib"),
    )


def start_mongod(folder: Path) -> str:
    """URI of a server on a database directory; one that runs there is used, and the last process to use it ends it.

    Call it before fiftyone is imported: what is registered first runs last at exit, and FiftyOne
    still needs its database then.

    Raises:
        Clip2VideoError: there is no mongod, or it does not start.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        gate, users = (folder / "gate").open("w"), (folder / "users").open("w")
    except OSError as error:
        raise Clip2VideoError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)  # one process at a time looks, starts or stops
        server, port = _running(folder) or _start(folder)
        fcntl.flock(users, fcntl.LOCK_SH)  # ends with the process, however that ends
    finally:
        fcntl.flock(gate, fcntl.LOCK_UN)
    atexit.register(_leave, gate, users, server)
    return f"mongodb://127.0.0.1:{port}"


def find_mongod() -> Path:
    """FiftyOne's own mongod, else the one on the PATH."""
    spec = importlib.util.find_spec("fiftyone")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / "db" / "bin" / "mongod").is_file():
            return path
    if on_path := shutil.which("mongod"):
        return Path(on_path)
    raise Clip2VideoError("FiftyOne has no MongoDB here; install one with: pip install 'clip2video-plugin[mongod]'")


def _config(folder: Path) -> str:
    return str(folder / "fiftyone.json")


def _running(folder: Path) -> tuple[psutil.Process, int] | None:
    """The server that has this directory open, and its port, from its own lock file and command line."""
    try:
        server = psutil.Process(int((folder / "mongod.lock").read_text()))
        said = dict(pairwise(server.cmdline()))
        if not os.path.samefile(said["--dbpath"], folder):
            return None
        port = int(said["--port"])
    except (OSError, ValueError, KeyError, psutil.Error):  # none, or it did not end by itself
        return None
    return (server, port) if _answers(server, port) else None


def _start(folder: Path) -> tuple[psutil.Process, int]:
    log = folder / "mongod.log"
    for _ in range(3):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        command = [find_mongod(), "--dbpath", folder, "--port", port, "--bind_ip", "127.0.0.1", "--nounixsocket"]
        server = psutil.Popen(
            [*map(str, command), "--logpath", str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
        try:
            if _answers(server, port):
                return server, port
        except BaseException:
            _stop(server)
            raise
        if server.poll() != PORT_IS_TAKEN:  # by another program, meanwhile
            break
    _stop(server)
    raise Clip2VideoError(f"FiftyOne's database does not start; see {log}")


def _answers(server: psutil.Process, port: int) -> bool:
    """Waits until this server, and none but this one, answers on a port; whether it does."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        try:
            client: pymongo.MongoClient[dict[str, int]]
            with pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=500) as client:
                return bool(client.admin.command("serverStatus")["pid"] == server.pid)
        except pymongo.errors.PyMongoError:
            time.sleep(0.1)
    return False


def _leave(gate: IO[str], users: IO[str], server: psutil.Process) -> None:
    """Ends the server, unless another process still uses it."""
    with gate, users:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_UN)
        with suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _stop(server)


def _stop(server: psutil.Process) -> None:
    try:
        server.terminate()
        server.wait(20)
    except psutil.TimeoutExpired:
        server.kill()
    except psutil.NoSuchProcess:
        pass
