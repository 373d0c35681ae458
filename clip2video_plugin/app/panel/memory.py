"""What each open panel shows, kept by the server.

The page sends the panel's state with every event, as it was when the event happened. Events overlap: a new view
reports its empty selection before the answer to the query has arrived. A panel drawn from what the page
sent would lose what was found meanwhile. So results are kept here, and the page's state
holds only what the user typed or chose, and the data of plots. Of what was chosen since the page was loaded, the last
is kept here too: the page may tell a second choice before it has the answer to the first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

from clip2video_plugin.query import Query

PANELS = 256  # most panels remembered; the one that was longest not used is forgotten


@dataclass
class Shown:
    """What one panel shows of one dataset."""

    dataset: str | None
    query: Query | None = None
    chips: list[dict[str, str]] = field(default_factory=list)  # of the query
    options: dict[str, Any] = field(default_factory=dict)  # chosen, by their paths in the page's state
    asked: dict[str, Any] | None = None  # options of the last search
    ids: list[str] = field(default_factory=list)  # found by it, the best first
    hits: list[dict[str, Any]] = field(default_factory=list)  # the best of them, as the page lists them
    threshold: float | None = None  # from which a hit fits what was negated
    calibrated: bool = False
    comparable: str = ""  # what the scores may be compared with
    refused: float | None = None  # confidence of the best hit that was left out
    base: Any = None  # stages of the view that was searched
    view: Any = None  # stages of the view it was answered with
    score_field: str | None = None
    message: str | None = None
    error: str | None = None
    selected: list[dict[str, str]] = field(default_factory=list)  # id and name, the last one selected last
    sample: str | None = None  # about the selected sample
    curve: dict[str, Any] | None = None  # of the selected sample
    needs_frames: bool = False
    frame: bool = False

    def say(self, message: str | None, *, error: str | None = None) -> None:
        self.message, self.error = message, error

    def forget_search(self) -> None:
        """The base view is shown again."""
        self.query = self.asked = self.base = self.view = self.message = self.error = self.threshold = None
        self.ids, self.hits, self.chips = [], [], []

    def forget_selection(self) -> None:
        self.sample, self.curve, self.needs_frames, self.frame = None, None, False, False


_panels: OrderedDict[str, Shown] = OrderedDict()
_lock = threading.Lock()


def shown_in(page: str | None, dataset: str | None) -> Shown:
    """What the panel of a page shows; nothing yet when it is new, has no id, or showed another dataset."""
    if page is None:
        return Shown(dataset)
    with _lock:
        known = _panels.get(page)
        if known is None or known.dataset != dataset:
            known = _panels[page] = Shown(dataset)
        _panels.move_to_end(page)
        while len(_panels) > PANELS:
            _panels.popitem(last=False)
        return known


def remember(page: str, shown: Shown) -> None:
    """Starts the panel of a new page with what another shows."""
    with _lock:
        _panels[page] = replace(shown)


def forget(page: str | None) -> None:
    """Called when a panel is closed."""
    with _lock:
        _panels.pop(page or "", None)
