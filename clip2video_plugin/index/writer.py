"""Rows and failures on their way to an index, kept while another process writes to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from clip2video_plugin.errors import IndexBusyError, VideoIndexError
from clip2video_plugin.index.store import VideoIndex
from clip2video_plugin.index.windows import VideoWindows

logger = logging.getLogger(__name__)

FLUSH_ROWS, FLUSH_SECONDS, FLUSH_LETTERS = 1000, 30.0, 1 << 24
FLUSH_BYTES = 32 * 1024**2  # of windows' vectors
# Seconds to wait for another writer: between two batches, before it is tried again, at the end before it is told,
# and when the run was interrupted.
BUSY_SECONDS, RETRY_SECONDS, QUIET_SECONDS, RESCUE_SECONDS = 2.0, 10.0, 15.0, 10.0
WAITING_BYTES = 256 * 1024**2  # of rows in memory; above, embedding waits as well
ROW_BYTES = 2_000  # of a row, beside its vector


class Writer:
    """Collects rows, windows and failures; writes them every 1000 rows or 30 seconds.

    The first batch is written at once: what cannot be written shows before hours of work. Where another process is
    writing, rows stay here until it is done. ``tell`` is called with whether this one waits for it.
    """

    def __init__(self, index: VideoIndex, tell: Callable[[bool], None]) -> None:
        self.index, self.tell = index, tell
        self.rows: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.windows: list[VideoWindows] = []
        self.moved: list[str] = []  # ids under which rows were known before
        self.bytes = 0  # of windows
        self.most = WAITING_BYTES // (4 * index.dim + ROW_BYTES)
        self.letters = 0  # of captions, those of films among them
        self.last = time.monotonic() - 2 * FLUSH_SECONDS
        self.again = 0.0  # not to be tried before

    def add(self, row: dict[str, Any], instead_of: str | None = None) -> None:
        """A row, and the id under which it stands in the index until now."""
        self.rows.append(row)
        self.letters += sum(map(len, row["captions"] or ()))
        self.moved += [instead_of] if instead_of else []

    def add_windows(self, windows: VideoWindows) -> None:
        """All windows of a video."""
        self.windows.append(windows)
        self.bytes += windows.vectors.nbytes

    def add_failure(self, failure: dict[str, Any]) -> None:
        self.failures.append(failure)

    def flush_when_due(self) -> None:
        """Writes what waits when it is time to and nobody else is writing."""
        now, waiting = time.monotonic(), len(self.rows) + len(self.failures) + len(self.windows)
        full = waiting >= FLUSH_ROWS or self.letters >= FLUSH_LETTERS or self.bytes >= FLUSH_BYTES
        if waiting >= self.most or self.bytes >= WAITING_BYTES:
            self.finish()
        elif now >= self.again and (full or (waiting and now - self.last > FLUSH_SECONDS)):
            try:
                self._write(BUSY_SECONDS)
            except IndexBusyError:
                self.again = time.monotonic() + RETRY_SECONDS

    def finish(self) -> None:
        """Writes what waits. Where another process writes, says so and waits for as long as it takes."""
        try:
            self._write(QUIET_SECONDS)
        except IndexBusyError:
            logger.warning(
                "index %s: another process is writing to it; %d videos wait for it in memory",
                self.index.uri,
                max(len(self.rows), len(self.windows)),
            )
            self.tell(True)
            self._write(-1)
            self.tell(False)

    def rescue(self) -> None:
        """Writes what waits when a run ends before its time.

        Raises:
            VideoIndexError: another process kept it from that, so rows are lost.
        """
        try:
            self._write(RESCUE_SECONDS)
        except (IndexBusyError, KeyboardInterrupt):
            lost = max(len(self.rows), len(self.windows))
            raise VideoIndexError(
                f"index {self.index.uri}: {lost} embedded videos were not written and are lost, as another "
                "process is writing to it; run the same command again when it is done"
            ) from None
        except VideoIndexError:
            return  # which is why the run ends

    def _write(self, seconds: float) -> None:
        if not (self.rows or self.failures or self.windows):
            return
        with self.index.writing(seconds):
            if self.windows and (table := self.index.windows()) is not None:
                table.write_windows(self.windows)
            self.index.clear_failures([row["id"] for row in self.rows])  # first: with its row there, nobody would again
            self.index.write(self.rows, instead_of=self.moved)
            self.index.write_failures(self.failures)
        self.rows, self.failures, self.windows, self.moved, self.letters, self.bytes = [], [], [], [], 0, 0
        self.last = time.monotonic()
