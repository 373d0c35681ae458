"""A MongoDB of one's own for FiftyOne.

FiftyOne attaches to any database service of the same user that is running, whatever FIFTYONE_DATABASE_DIR says.
So what must keep out of a user's database, the demo and the tests, starts its own server and names it by URI.
Nothing here imports fiftyone, which reads its settings when it is imported.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from clip2video_plugin.errors import Clip2VideoError

START = 60  # seconds a server may take to start


def use_own_database(folder: Path) -> None:
    """Points FiftyOne, once it is imported, to a database below ``folder`` and to nothing of the user's.

    Raises:
        Clip2VideoError: there is no mongod, or it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # How FiftyOne hands its database to child processes, such as "!c2v demo" in a notebook
    os.environ.pop("FIFTYONE_PRIVATE_DATABASE_PORT", None)
    os.environ.update(
        FIFTYONE_DATABASE_URI=start_mongod(folder / "database"),
        FIFTYONE_CONFIG_PATH=str(folder / "fiftyone.json"),
        FIFTYONE_DATABASE_VALIDATION="false",
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_SHOW_PROGRESS_BARS="false",
    )


def start_mongod(folder: Path) -> str:
    """URI of a server on a database directory, which ends with this process; one that runs there is used.

    Call it before fiftyone is imported: what is registered first runs last at exit, and FiftyOne
    still needs its database then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "port"
    if note.is_file() and _answers(port := int(note.read_text() or 0)):
        return f"mongodb://127.0.0.1:{port}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "mongod.log"
    command = [find_mongod(), "--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    server = subprocess.Popen(
        [*map(str, command), "--logpath", str(log)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us
    )
    atexit.register(_stop, server, note)
    deadline = time.monotonic() + START
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > deadline:
            raise Clip2VideoError(f"FiftyOne's database does not start; see {log}")
        time.sleep(0.1)
    note.write_text(str(port))
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


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _stop(server: subprocess.Popen[bytes], note: Path) -> None:
    note.unlink(missing_ok=True)
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
