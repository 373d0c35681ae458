"""Users of one App: what their pages ask over HTTP, what the answers must be, and what they write meanwhile.

A ``Page`` asks what a page of the App asks, by the same routes and in the same order. It leaves out the session that
all pages of a server share (which view is shown), so that users at once do not turn each other's pages.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pydash
import requests

from clip2video_plugin.app.operators.forms import PANEL, URI

K = 25  # hits that are asked for
NEAR = 2e-3  # scores of one video and sentence are no further apart, whatever the batch that it was encoded in
WAIT = 300  # seconds until a request counts as lost
SIMILARITY = "@voxel51/panels/similarity_search"
DELETE = "@voxel51/operators/delete_selected_samples"
FIRST = 20  # samples of the grid's first page
GRID = """query paginateSamplesQuery($count: Int, $dataset: String!, $view: BSONArray!, $filter: SampleFilter!) {
  samples(dataset: $dataset, view: $view, first: $count, filter: $filter, paginationData: true) {
    ... on SampleItemStrConnection { edges { node { __typename ... on VideoSample { id sample } } } } } }"""


class Refused(Exception):
    """The server answered that it cannot, in these words."""


class Page:
    """One page: its view, its selection, and the state of its Video search panel."""

    def __init__(self, address: str, dataset: str) -> None:
        self._address, self._dataset, self._session = address, dataset, requests.Session()
        self.state: dict[str, Any] = {}
        self.view: list[Any] = []
        self.selected: list[str] = []
        self.drawn: dict[str, Any] = {}

    def post(self, route: str, body: dict[str, Any]) -> Any:
        address = f"{self._address}/{route}"
        try:
            answer = self._session.post(address, json=body, timeout=WAIT)
        except requests.ConnectionError:
            # The server closes a connection that was idle for 5 s, also one on which a request just came. Browsers
            # then send it again on another; so does this page, once.
            answer = self._session.post(address, json=body, timeout=WAIT)
        if answer.status_code != 200:
            raise Refused(f"{route} answers {answer.status_code}: {last_line(answer.text)}")
        return answer.json()

    def execute(self, uri: str, params: dict[str, Any], view: list[Any] | None = None) -> Any:
        """Runs an operator, and does what its answer asks of the page; returns its result."""
        body = self._asked(uri, params, view)
        told = self.post("operators/execute", body)
        if told.get("error"):
            raise Refused(last_line(told.get("error_message") or told["error"]))
        for request in told["executor"]["requests"]:
            self._obey(request["operator_uri"], request["params"] or {})
        return told["result"]

    def run(self, operator: str, params: dict[str, Any], view: list[Any]) -> Any:
        """Runs an operator of the plugin after its form was drawn, as the page does."""
        body = {**self._asked(f"{URI}/{operator}", params, view), "target": "inputs", "results": None}
        self.post("operators/resolve-type", body)
        return self.execute(f"{URI}/{operator}", params, view)

    @property
    def hits(self) -> list[dict[str, Any]]:
        """What the panel lists."""
        listed: list[dict[str, Any]] = self.drawn["page"]["hits"]
        return listed

    def event(self, name: str, **params: Any) -> dict[str, Any]:
        """Tells the Video search panel of an event; returns what it shows then."""
        before, self.drawn = self.drawn, {}
        told = {"panel_id": "panel", "panel_state": self.state, "__method__": name, **params}
        self.execute(f"{URI}/{PANEL}", told)
        self.drawn = self.drawn or before
        if error := self.drawn.get("error_shown"):
            raise Refused(error["view"]["label"])
        return self.drawn

    def open(self) -> None:
        self.event("on_load")

    def ask(self, sentence: str) -> list[tuple[str, float]]:
        """Types a sentence: the hits that the panel lists, (file, score) each."""
        self.event("on_query", value=sentence, chips=[])
        return [(hit["media"], hit["score"]) for hit in self.hits]

    def grid(self, view: list[Any] | None = None) -> list[str]:
        """Files of the grid's first page."""
        view = self.view if view is None else view
        self.post("operators/resolve-placements", self._asked("", {}, view))
        variables = {"dataset": self._dataset, "view": view, "filter": {"group": None}, "count": FIRST}
        told = self.post("graphql", {"query": GRID, "variables": variables})
        if told.get("errors"):
            raise Refused(last_line(told["errors"][0]["message"]))
        return [edge["node"]["sample"]["filepath"] for edge in told["data"]["samples"]["edges"]]

    def magnifier(self, sentence: str) -> list[str]:
        """What the App's own similarity search finds: files of the grid's first page."""
        asked = {"brain_key": self.state["options"]["brain_key"], "query_type": "text", "query": sentence, "k": K}
        run = self.execute(f"{SIMILARITY}", asked, view=[])
        shown = {"panel_id": "similarity", "panel_state": {}, "__method__": "apply_run", "run_id": run["run_id"]}
        self.execute("@voxel51/panels/similarity_search_panel", shown, view=[])
        view, self.view = self.view, []
        return self.grid(view)

    def sorted_stage(self, sentence: str) -> list[str]:
        """A view that says ``sort_by_similarity``, which the server answers while it reads the page of the grid."""
        asked = [["query", sentence], ["k", K], ["reverse", False], ["dist_field", None]]
        asked.append(["brain_key", self.state["options"]["brain_key"]])
        return self.grid([{"_cls": "fiftyone.core.stages.SortBySimilarity", "kwargs": asked}])

    def operator(self, sentence: str, k: int = K) -> list[tuple[str, float]]:
        """The operator that searches, by its form: (sample, score) each."""
        params = {"query": sentence, "brain_key": self.state["options"]["brain_key"], "k": k}
        found = self.run("search_videos", params, view=[])
        self.view = []
        return list(zip(found["ids"], found["scores"], strict=True))

    def select(self, sample: str) -> dict[str, Any]:
        """Selects a hit: what is told of it, and where in it the sentence fits; its frames are computed if need be."""
        self.selected = [sample]
        self.event("on_change_selected", value={})
        if self.drawn["page"]["detail"]["needs_frames"]:
            self.event("on_embed_frames")
        detail: dict[str, Any] = self.drawn["page"]["detail"]
        return detail

    def delete(self, samples: list[str]) -> None:
        """Deletes samples as the App's own menu does."""
        self.selected = samples
        self.execute(DELETE, {})

    def _asked(self, uri: str, params: dict[str, Any], view: list[Any] | None) -> dict[str, Any]:
        return {
            "dataset_name": self._dataset,
            "operator_uri": uri,
            "params": params,
            "view": self.view if view is None else view,
            "view_name": None,
            "filters": {},
            "extended": {},
            "extended_selection": {"selection": None},
            "selected": self.selected,
            "selected_labels": [],
            "current_sample": None,
            "group_slice": None,
            "query_performance": True,
            "active_fields": [],
        }

    def _obey(self, what: str, params: dict[str, Any]) -> None:
        if what == "patch_panel_state" and params["panel_id"] == "panel":
            for path, value in params["state"].items():
                pydash.set_(self.state, path, value)
        elif what == "show_panel_output" and params["panel_id"] == "panel":
            output = params["output"]
            self.drawn = {**output["type"]["properties"], "page": output["view"]}
        elif what == "set_view":
            self.view = params["view"]
        elif what == "clear_selected_samples":
            self.selected = []


class WrongAnswer(Exception):
    """An answer is none that a quiet App gives, and no write explains it."""


@dataclass
class Truth:
    """What a quiet App answers, and which videos are there when: by sentence and file the score, by file its stays."""

    scores: dict[str, dict[str, float]]
    stays: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    def absent(self, path: str) -> None:
        """A video that is not there now, and may come."""
        self.stays[path] = []

    def may_come(self, path: str) -> None:
        """From now on a video may be found; ``is_there`` says that it must be."""
        self.stays[path].append([time.monotonic(), float("inf"), float("inf"), float("inf")])

    def is_there(self, path: str) -> None:
        self.stays[path][-1][1] = time.monotonic()

    def may_go(self, path: str) -> None:
        self.stays[path][-1][2] = time.monotonic()

    def is_gone(self, path: str) -> None:
        self.stays[path][-1][3] = time.monotonic()

    def check(self, sentence: str, found: list[str], began: float, k: int = K) -> None:
        """Raises WrongAnswer unless these k files, in this order, are the best at some time since ``began``.

        Those that were deleted since may be missing: no others take their place.
        """
        ended, scores = time.monotonic(), self.scores[sentence]
        if double := [path for path, times in Counter(found).items() if times > 1]:
            raise WrongAnswer(f"{double[0]} is in one answer twice")
        gone = sum(self._went(path, began, ended) for path in self.stays.keys() - set(found))
        if len(found) + gone < k:
            raise WrongAnswer(f"{len(found)} hits instead of {k}, and {gone} were deleted meanwhile")
        for path in found:
            if path not in scores:
                raise WrongAnswer(f"{path} is no video of the dataset")
            if path in self.stays and not self._maybe(path, began, ended):
                raise WrongAnswer(f"{path} is found, and was not there")
        for one, other in pairwise(found):
            if scores[one] < scores[other] - NEAR:
                raise WrongAnswer(f"{other} stands behind {one}, and fits better")
        least = min(scores[path] for path in found) + NEAR
        for path in scores.keys() - set(found):
            if scores[path] > least and self._surely(path, began, ended):
                raise WrongAnswer(f"{path} is not found, and fits better than the last hit")

    def check_grid(self, listed: list[str], shown: list[str], began: float) -> None:
        """Raises WrongAnswer unless the grid shows what the panel lists, but for what was deleted meanwhile."""
        ended = time.monotonic()
        left = [path for path in listed if path in shown or self._surely(path, began, ended)]
        if left[: len(shown)] != shown[: len(left)]:
            raise WrongAnswer(f"the grid shows other videos than the panel lists: {shown} and {left}")

    def check_scores(self, sentence: str, found: list[tuple[str, float]]) -> None:
        for path, score in found:
            if abs(self.scores[sentence][path] - score) > NEAR:
                raise WrongAnswer(f"{path} scores {score}, and {self.scores[sentence][path]} in a quiet App")

    def there(self) -> set[str]:
        """The files that are to be found when all is quiet again."""
        paths = set(next(iter(self.scores.values())))
        now = time.monotonic()
        return {path for path in paths if self._surely(path, now, now)}

    def _maybe(self, path: str, began: float, ended: float) -> bool:
        return any(first <= ended and began <= last for first, _, _, last in self.stays[path])

    def _went(self, path: str, began: float, ended: float) -> bool:
        return any(going <= ended and began <= last for _, _, going, last in self.stays[path])

    def _surely(self, path: str, began: float, ended: float) -> bool:
        if path not in self.stays:
            return True
        return any(there <= began and ended <= going for _, there, going, _ in self.stays[path])


@dataclass
class Log:
    """Seconds by action, and errors by kind, of all users."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.Lock)

    def done(self, action: str, seconds: float) -> None:
        with self.lock:
            self.seconds[action].append(seconds)

    def failed(self, action: str, error: Exception) -> None:
        with self.lock:
            self.errors[f"{action}: {type(error).__name__}: {last_line(str(error))}"] += 1


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.replace("\\n", "\n").strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
