"""FiftyOne's App server on a socket that ``open_app`` made, in a process that ends with the one that started it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

os.environ["FIFTYONE_SERVER"] = "1"  # read when fiftyone is imported

import fiftyone as fo
import fiftyone.constants
from fiftyone.core.state import StateDescription
from fiftyone.server.app import app
from fiftyone.server.events import set_port
from fiftyone.server.events.state import set_state
from hypercorn.asyncio import serve
from hypercorn.config import Config


def main(socket: int, port: int, dataset: str) -> None:
    """Serves until standard input ends, as it does when the parent process ends in whatever way."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    fiftyone.constants.FIFTYONE_CONFIG_DIR = os.getcwd()  # the home folder, says FiftyOne, and writes to it
    config = Config()
    config.bind = [f"fd://{socket}"]
    set_port(port)
    set_state(StateDescription(dataset=fo.load_dataset(dataset)))  # what "/" shows
    asyncio.run(serve(app, config))


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
