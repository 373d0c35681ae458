"""While an input is read: no network, no folders of this machine, and nothing run or written that it asks for.

Python tells its audit hooks before it opens, lists, starts or connects. What an input may not do is refused there, and
what the product should never do for it is noted as a finding.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn"}
CHANGES = {  # of a path
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_room: str | None = None
_broken: list[str] = []
_hooked = False


@contextmanager
def watching(room: Path) -> Iterator[list[str]]:
    """Within, the hook is at work; the list receives what should not have happened."""
    global _room, _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_hook)
    _broken.clear()
    _room = str(room)
    try:
        yield _broken
    finally:
        _room = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _room is None:
        return
    if event in ("os.scandir", "os.listdir"):
        path = os.path.abspath(os.fsdecode(arguments[0] or ".")) if isinstance(arguments[0], str | bytes) else _room
        # A walk over this machine is no hang of the product; where this package lies, modules are looked for.
        if _outside(path) and path.count("/") < 4 and not _by_import():
            raise PermissionError(13, "Permission denied", path)
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(101, "Network is unreachable")
    elif event in STARTS and not _by_import():
        _refuse(event, arguments)
    elif event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
        path = arguments[0]
        if not isinstance(path, int) and _outside(os.path.abspath(os.fsdecode(path))):
            _refuse(event, arguments)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    _broken.append(f"{event} {arguments!r:.200}")
    raise PermissionError(1, "Operation not permitted")


def _outside(path: str) -> bool:
    assert _room is not None
    return not path.startswith((_room, "/dev/null", "/proc/self", "/dev/fd"))


def _by_import() -> bool:
    """Whether a library is just being imported, and starts what it needs."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
