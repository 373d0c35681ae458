"""The progress of a long operator, and its end when someone cancels it."""

from __future__ import annotations

import time

import fiftyone.operators as foo
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionRunState

from clip2video_plugin.errors import Clip2VideoError

CHECK_SECONDS = 1.0  # between two looks at whether the run was cancelled


class Cancelled(Clip2VideoError):
    """Someone marked the delegated run as failed, which is how FiftyOne's runs are cancelled."""


class Running:
    """Tells a run's progress, with its rate and failures; raises Cancelled once it was cancelled."""

    def __init__(self, ctx: foo.ExecutionContext, unit: str = "videos") -> None:
        self._ctx, self._unit = ctx, unit
        self._began = self._looked = time.monotonic()

    def __call__(self, done: int, total: int | None = None, *, made: int | None = None, failed: int = 0) -> None:
        """``made`` of the ``done`` took work: only they count for the rate."""
        self._stop_if_cancelled()
        made = done if made is None else made
        seconds = time.monotonic() - self._began
        of = f" of {total}" if total else ""
        rate = f", {made / seconds:.1f} {self._unit}/s" if made and seconds else ""
        fails = f", {failed} failed" if failed else ""
        self._ctx.set_progress(progress=done / total if total else 0.0, label=f"{done}{of}{rate}{fails}")

    def _stop_if_cancelled(self) -> None:
        run, now = self._ctx.request_params.get("run_doc"), time.monotonic()
        if run is None or now - self._looked < CHECK_SECONDS:
            return
        self._looked = now
        found = DelegatedOperationService().get(run)
        if found is None or found.run_state == ExecutionRunState.FAILED:
            raise Cancelled("cancelled; what was done is kept, run it again to go on")
