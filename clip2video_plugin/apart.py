"""A process that decodes (``video/worker.py``), seen from the one that started it: asked, watched, and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from clip2video_plugin.video.worker import Answer, receive

CRASHED = "its decoder crashed"
READY = 120.0  # seconds that it has until it is ready
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from clip2video_plugin.video.worker import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of libraries that decode nothing


class Death(Exception):  # nobody is told: the video is tried again, or blamed for it
    """A worker died, and why; ``sure`` where another one would as well, ``outside`` where somebody else killed it."""

    def __init__(self, reason: str, *, sure: bool = False, outside: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.sure, self.outside = reason, sure, outside


class Worker:
    """A process that may have so many bytes of memory. ``source`` is the last that it was sent."""

    def __init__(self, most: float) -> None:
        self._most = most
        mine, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, json.dumps(sys.path), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=os.environ | ONE_THREAD,
                start_new_session=True,  # Ctrl-C is for the one who started it
            )
        self._connection = Connection(mine.detach())
        self._used = False
        self._looking = threading.Lock()
        self._limit = self._deadline = 0.0  # seconds of what it is at, and when these are over; 0 for nothing
        self._killed: Death | None = None  # by ``look``
        self.source: bytes | None = None

    def wait_until_ready(self) -> None:
        """Raises Death when it does not start."""
        errors = self.process.stderr
        assert errors is not None
        with errors:
            try:
                if self._connection.poll(READY) and self._connection.recv_bytes():
                    return
                self.end()
                raise Death(f"it was not ready after {READY:g} s")
            except (EOFError, OSError):
                self.end()
                said = errors.read().decode(errors="replace").strip().splitlines()
                raise Death(said[-1] if said else _how(self.process.returncode)) from None

    def ask(self, seconds: float, request: tuple[Any, ...]) -> Answer:
        """Raises Death when it does not live to tell, or took too much."""
        self._limit, self._deadline = seconds, time.monotonic() + seconds
        try:
            self._connection.send(request)
            answer = receive(self._connection)
            with self._looking:
                self._deadline = 0.0
            if self._killed or self._memory() > self._most:  # between two looks
                raise self._killed or self._too_much()
        except (EOFError, OSError):
            self.end()
            code = self.process.returncode
            raise self._killed or Death(_how(code), outside=code == -signal.SIGKILL) from None
        self._used = True
        return answer

    def look(self) -> None:
        """Kills it where it takes too much."""
        with self._looking:
            if not self._deadline or self._killed:
                return
            if time.monotonic() > self._deadline:
                self._killed = Death(f"it took more than {round(self._limit, 1):g} s to decode", sure=True)
            elif self._memory() > self._most:
                self._killed = self._too_much()
            if self._killed:
                self.process.kill()

    def _too_much(self) -> Death:
        # What one keeps may come of all that it decoded.
        return Death(f"it took more than {self._most / 1e9:g} GB of memory to decode", sure=not self._used)

    def _memory(self) -> int:
        """The most bytes that it ever had, where the system says so, else those that it has."""
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
        with suppress(psutil.Error):
            return int(psutil.Process(self.process.pid).memory_info().rss)
        return 0

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._connection.close()


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its decoder was killed, as the system does where memory runs out"
    with suppress(ValueError):
        return f"{CRASHED} ({signal.Signals(-code).name})"
    return f"{CRASHED} (it ended with {code})"
