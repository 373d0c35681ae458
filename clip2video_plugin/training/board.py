"""A run's numbers for TensorBoard, where that is installed.

Its own writer has a thread, which prints a traceback where a disk is full. So records are written here as they come.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Board:
    """A new file of events in a folder; of earlier files, points after ``step`` are not shown.

    Raises:
        ImportError: TensorBoard is not installed.
        OSError: the folder cannot be written; so do ``write`` and ``close``.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("wb"))
        self._add(file_version="brain.Event:2")
        self._add(step=step + 1, session_log=SessionLog(status=SessionLog.START))
        self._records.flush()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Adds a point to the curve of each name."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        self._add(step=step, summary=Summary(value=values))
        self._records.flush()

    def close(self) -> None:
        self._records.close()

    def _add(self, **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
