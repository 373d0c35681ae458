"""``c2v demo``: from nothing to a searched FiftyOne dataset, in a database directory of its own."""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clip2video_plugin.app.demo.mongod import use_own_database
from clip2video_plugin.errors import Clip2VideoError
from clip2video_plugin.model.installed import EMBEDDED, VARIABLE
from clip2video_plugin.progress import bar

if TYPE_CHECKING:
    import fiftyone as fo

NAME, BRAIN_KEY = "clip2video-demo", "clip2video"
COUNT, SEED = 48, 19
QUERIES = 3
START = 180  # seconds the App may take to answer


@dataclass(frozen=True)
class Ranking:
    """The best videos for one sentence: (score, captions, path) each."""

    query: str
    searched: int
    rows: list[tuple[float, list[str], str]]


def default_folder() -> Path:
    """$C2V_DEMO, else ~/.cache/clip2video/demo."""
    return Path(os.environ.get("C2V_DEMO") or Path.home() / ".cache" / "clip2video" / "demo").expanduser()


def run_demo(folder: Path, *, k: int = 5) -> list[Ranking]:
    """Generates videos, imports them, embeds them and searches a few sentences.

    Everything is below ``folder``: videos, index and FiftyOne's database. Run again, it starts over
    with the dataset and keeps the videos; while another process has the demo open, it is searched as it is.

    Raises:
        Clip2VideoError: fiftyone was imported before, or its database cannot be started.
    """
    from clip2video_plugin.shapes import caption, held_out_scenes

    folder = folder.absolute()
    use_own_database(folder)
    import fiftyone as fo

    scenes = held_out_scenes(COUNT, SEED)
    with _lock(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)  # whoever makes it is done then
            if not (fo.dataset_exists(NAME) and fo.load_dataset(NAME).has_brain_run(BRAIN_KEY)):
                raise Clip2VideoError(
                    f"the demo in {folder} is open in another process and incomplete; close that, then: c2v demo"
                ) from None
        else:
            _make(folder)
        dataset = fo.load_dataset(NAME)
        out = []
        for scene in scenes[:: COUNT // QUERIES][:QUERIES]:
            query = caption(scene)
            view = dataset.sort_by_similarity(query, k=k, brain_key=BRAIN_KEY, dist_field="score")
            rows = list(zip(*view.values(["score", "captions", "filepath"]), strict=True))
            out.append(Ranking(query, len(dataset), rows))
    return out


def _make(folder: Path) -> None:
    """Videos that are not there yet, and the dataset anew."""
    import fiftyone as fo

    from clip2video_plugin.app.brain import compute_clip2video
    from clip2video_plugin.datasets import CaptionedVideoFolder
    from clip2video_plugin.shapes import held_out_scenes, write_videos

    videos = folder / "videos"
    if not (videos / "captions.csv").is_file():
        shutil.rmtree(videos, ignore_errors=True)
        with bar("Generating videos", COUNT) as progress:
            write_videos(videos, held_out_scenes(COUNT, SEED), progress=progress)
    if fo.dataset_exists(NAME):
        old: fo.Dataset = fo.load_dataset(NAME)
        if old.has_brain_run(BRAIN_KEY):
            old.delete_brain_run(BRAIN_KEY)
        old.delete()
    dataset = fo.Dataset.from_dir(dataset_dir=str(videos), dataset_type=CaptionedVideoFolder, name=NAME, progress=False)
    dataset.persistent = True
    compute_clip2video(dataset, model=EMBEDDED, brain_key=BRAIN_KEY, index=folder / "index")


def open_app(
    folder: Path, *, port: int = 5151, address: str = "127.0.0.1", ready: Callable[[str], None] | None = None
) -> None:
    """Serves the demo dataset in the App, with this plugin alone, until Ctrl-C (or SIGTERM, SIGHUP) ends it.

    Args:
        ready: called with the address once the App answers there.

    Raises:
        Clip2VideoError: the demo has not been run yet, the port is taken, or the App does not start.
    """
    folder = folder.absolute()
    use_own_database(folder)
    import fiftyone as fo

    from clip2video_plugin.app import plugin

    with _lock(folder) as lock, listen(address, port) as door:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not fo.dataset_exists(NAME):
            raise Clip2VideoError("the demo has not been run yet: c2v demo")
        plugin.install()
        with suppress(KeyboardInterrupt), _signals(), _server(folder, door, port) as server:
            host = address if address not in ("", "0.0.0.0") else "127.0.0.1"
            _wait_until_it_answers(host, port, folder, server)
            url = f"http://{host}:{port}/datasets/{NAME}"
            if ready:
                ready(url)
            if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or not sys.platform.startswith("linux"):
                webbrowser.open(url)
            server.wait()
            raise _ended(folder)


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens there; raises Clip2VideoError, in one line, where that is not possible."""
    try:
        return socket.create_server((address, port))
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else error
        raise Clip2VideoError(
            f"the App cannot be at {address}:{port} ({reason}); choose another port with --port"
        ) from None


@contextmanager
def _server(folder: Path, door: socket.socket, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The App's server on a socket, which is handed over to it."""
    with (folder / "app.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "clip2video_plugin.app.demo.serve", str(door.fileno()), str(port), NAME],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[door.fileno()],
            start_new_session=True,  # Ctrl-C is for us
            cwd=folder,
            env={**os.environ, "C2V_INDEX": str(folder / "index"), VARIABLE: EMBEDDED},
        )
    try:
        door.close()
        yield server
    finally:
        assert server.stdin
        server.stdin.close()  # its sign to end
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_it_answers(host: str, port: int, folder: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            connection = http.client.HTTPConnection(host, port, timeout=5)
            connection.request("GET", "/fiftyone")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise _ended(folder)
        time.sleep(0.2)


def _ended(folder: Path) -> Clip2VideoError:
    return Clip2VideoError(f"the App does not run; see {folder / 'app.log'}")


@contextmanager
def _lock(folder: Path) -> Iterator[IO[str]]:
    """Held alone by a process that makes the demo anew, shared by those that show it; ends with the process."""
    with (folder / "lock").open("w") as lock:
        yield lock


@contextmanager
def _signals() -> Iterator[None]:
    """A closed terminal or ``kill`` ends the App as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
