"""The App, as ``c2v demo --app`` starts it, and users at once who search, tag, look, compute, add and delete.

Every answer is compared with that of the same App before the load, in which only what users add and delete may make a
difference; at the end all tags, rows and answers are compared with what there must be.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import fiftyone as fo
import psutil

from clip2video_plugin import compute_clip2video
from clip2video_plugin.app.demo import BRAIN_KEY, NAME
from clip2video_plugin.app.search import load_run
from clip2video_plugin.datasets import import_dataset
from clip2video_plugin.index.frames import FrameIndex
from clip2video_plugin.shapes import caption, scenes, write_videos

from .browser import QUERY, app_page, open_panel
from .users import FIRST, NEAR, Log, Page, Truth, WrongAnswer

OWN, CHANGED = 3, 2  # videos that each user adds and deletes; and whose files change
SENTENCES = 24
CHECKED = 30  # curves that are asked for again when it is quiet
SERVE = """import sys; from pathlib import Path; from clip2video_plugin.app.demo import open_app
open_app(Path(sys.argv[1]), port=int(sys.argv[2]), ready=lambda url: print(url, flush=True))"""
ACTIONS = {  # how often, of a hundred
    "search in the panel": 36,
    "search by the operator": 8,
    "search by the magnifier": 8,
    "search by a view stage": 8,
    "look at a video's moments": 14,
    "tag the hits": 10,
    "mark a video's moments": 3,
    "compute a changed view": 5,
    "add or delete": 8,
}


class Load:
    """A dataset with its App, and its users.

    ``log`` has what each action took and what failed; ``wrong`` what was lost, doubled or other at the end; ``memory``
    (seconds, MB of the App's server, MB of mongod, open files of the server) over the time.
    """

    def __init__(self, folder: Path, users: int, videos: int, seed: int = 0, think: float = 1.0) -> None:
        self.folder, self.users, self.videos, self.seed, self.think = folder, users, videos, seed, think
        made = list(islice(scenes(9), videos + users * OWN))
        write_videos(folder / "videos", made, paraphrases=1)
        self.dataset = import_dataset("folder", folder / "videos", name=NAME, progress=False)
        self.dataset.persistent = True
        compute_clip2video(self.dataset, model="shapes", brain_key=BRAIN_KEY, index=folder / "index", progress=False)
        self.files: dict[str, str] = dict(zip(*self.dataset.values(["id", "filepath"]), strict=True))
        self.captions = dict(zip(*self.dataset.values(["filepath", "captions"]), strict=True))
        paths = sorted(self.captions)
        base = [one for one, path in self.files.items() if path in paths[:videos]]
        # Files of some change, which takes their moments away until they are computed anew: others are looked at.
        self.still, self.changing = base[users * CHANGED :], base[: users * CHANGED]
        self.own = [paths[videos + user * OWN :][:OWN] for user in range(users)]
        self.sentences = [caption(scene) for scene in made]
        self.log, self.wrong = Log(), list[str]()
        self.tags: dict[str, set[str]] = defaultdict(set)  # of a sample
        self.curves: dict[tuple[str, str], Any] = {}  # of a sentence and a sample
        self.memory: list[tuple[float, float, float, int]] = []
        self._lock, self._over = threading.Lock(), threading.Event()

    @contextmanager
    def server(self, home: Path) -> Iterator[None]:
        """The App's server, on loopback; ``home`` is the folder that ``use_own_database`` was called with."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen([sys.executable, "-c", SERVE, home, str(port)], stdout=subprocess.PIPE)
        try:
            assert process.stdout
            if not process.stdout.readline():
                raise RuntimeError((home / "app.log").read_text()[-2000:])
            self.address = f"http://127.0.0.1:{port}"
            (self._app,) = psutil.Process(process.pid).children()
            self._mongod = psutil.Process(int((home / "database" / "mongod.lock").read_text()))
            yield
        finally:
            process.terminate()
            process.wait(60)

    def quiet(self) -> None:
        """Learns what one user is answered while nobody writes; then the users' own videos are deleted."""
        page = Page(self.address, NAME)
        page.open()
        scores = dict[str, dict[str, float]]()
        for sentence in self.sentences:
            found = page.operator(sentence, len(self.files))
            if len(dict(found)) != len(self.files):
                raise WrongAnswer(f"{len(found)} of {len(self.files)} videos are found while it is quiet")
            given = [score for _, score in found]
            if given == sorted(given, reverse=True):  # else captions came first, which say nothing of the order
                scores[sentence] = {self.files[one]: score for one, score in found}
            if len(scores) == SENTENCES:
                break
        self.sentences, self.truth = list(scores), Truth(scores)
        own = {path for paths in self.own for path in paths}
        page.delete([one for one, path in self.files.items() if path in own])
        for path in own:
            self.truth.absent(path)
        for sentence in self.sentences:
            self._search(page, sentence)

    def run(self, seconds: float, pages: int = 1) -> None:
        """All users at once, ``pages`` of them in Chromium; KeyboardInterrupt ends it early, when all have stopped."""
        users = [(self._typist if number < pages else self._user, number) for number in range(self.users)]
        threads = [threading.Thread(target=target, args=(number,)) for target, number in users]
        self._remember(0.0)
        began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            while (spent := time.monotonic() - began) < seconds:
                time.sleep(min(1.0, seconds - spent))
                self._remember(time.monotonic() - began)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
            self.seconds = time.monotonic() - began

    def compare(self) -> None:
        """Adds to ``wrong`` what is not as it must be, now that it is quiet again."""
        page = Page(self.address, NAME)
        page.open()
        for sentence in self.sentences:
            self._expect(lambda asked=sentence: self._search(page, asked))
        for sentence, sample in list(self.curves)[:CHECKED]:
            self._expect(lambda asked=sentence, one=sample: (self._search(page, asked), self._curve(page, asked, one)))
        self.dataset.reload()
        there = self.truth.there()
        ids, paths, tagged = self.dataset.values(["id", "filepath", "tags"])
        samples = dict(zip(ids, zip(paths, tagged, strict=True), strict=True))
        if Counter(paths) != Counter(there):
            self.wrong.append(f"there are {len(paths)} samples instead of {len(there)}")
        run = load_run(self.dataset, BRAIN_KEY)
        rows = Counter(run.table.ids())
        if double := [one for one, times in rows.items() if times > 1]:
            self.wrong.append(f"{len(double)} rows are doubled")
        if lost := samples.keys() - rows.keys():
            self.wrong.append(f"{len(lost)} rows are lost")
        for one, (path, tags) in samples.items():
            if set(tags) != self.tags[one] or len(tags) != len(set(tags)):
                self.wrong.append(f"{path} has the tags {sorted(tags)} and not {sorted(self.tags[one])}")
        frames = FrameIndex.open(run.config.uri, run.frames_table)
        for sample in {sample for _, sample in self.curves}:
            times = frames.read(sample, None)[0].tolist() if frames else []
            if times != sorted(set(times)) or not times:
                self.wrong.append(f"frames of {samples[sample][0]} are at {times}")

    def end(self) -> None:
        """Deletes the dataset and its run."""
        self.dataset.delete_brain_run(BRAIN_KEY)
        self.dataset.delete()

    def _expect(self, asked: Any) -> None:
        try:
            asked()
        except Exception as error:  # whatever it is, it is not what a quiet App does
            self.wrong.append(f"{type(error).__name__}: {error}")

    def _remember(self, seconds: float) -> None:
        server, mongod = (process.memory_info().rss / 2**20 for process in (self._app, self._mongod))
        self.memory.append((seconds, server, mongod, self._app.num_fds()))

    # What a user does

    def _user(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        page, asked, own = Page(self.address, NAME), "", list[str]()
        first = list(ACTIONS)[number :: self.users]  # so that each is done, however short the time
        while not self._over.wait(chance.expovariate(1 / self.think) if self.think else 0) or first:
            sentence, action = chance.choice(self.sentences), "search in the panel"
            if asked:
                action = first.pop() if first else chance.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            began = time.monotonic()
            try:
                if not page.state:
                    page.open()
                match action:
                    case "search in the panel":
                        self._search(page, sentence)
                        asked = sentence
                    case "search by the operator":
                        found = [(self.files[one], score) for one, score in page.operator(sentence)]
                        self.truth.check(sentence, [path for path, _ in found], began)
                        self.truth.check_scores(sentence, found)
                    case "search by the magnifier":
                        self.truth.check(sentence, page.magnifier(sentence), began, FIRST)
                    case "search by a view stage":
                        self.truth.check(sentence, page.sorted_stage(sentence), began, FIRST)
                    case "look at a video's moments":
                        self._look(page, asked, chance)
                    case "mark a video's moments":
                        self._mark(page, asked, chance)
                        asked = ""
                    case "tag the hits":
                        self._tag(page, f"user-{number}-{chance.randrange(5)}")
                    case "compute a changed view":
                        self._compute(page, self.changing[number :: self.users], changed=True)
                    case _ if own:
                        action, gone, own = "delete", own, []
                        self._give_up(page, gone)
                    case _:
                        action, own = "add and compute", self._take_up(page, self.own[number])
            except Exception as error:  # each is counted, by its kind
                self.log.failed(action, error)
            else:
                self.log.done(action, time.monotonic() - began)

    def _search(self, page: Page, sentence: str) -> None:
        began = time.monotonic()
        hits = page.ask(sentence)
        listed = [path for path, _ in hits]
        self.truth.check(sentence, listed, began)
        self.truth.check_scores(sentence, hits)
        self.truth.check_grid(listed, page.grid(), began)

    def _look(self, page: Page, asked: str, chance: random.Random) -> None:
        """Selects one of the best hits; its curve is that of before."""
        self._curve(page, asked, chance.choice([hit["id"] for hit in page.hits if hit["id"] in self.still][:5]))

    def _curve(self, page: Page, asked: str, sample: str) -> None:
        curve = page.select(sample)["curve"]
        if not curve:
            raise WrongAnswer(f"there are no moments of {self.files[sample]}")
        with self._lock:
            before = self.curves.setdefault((asked, sample), curve)
        scores = zip(before["scores"], curve["scores"], strict=True)
        if before["times"] != curve["times"] or any(abs(one - other) > NEAR for one, other in scores):
            raise WrongAnswer(f"the moments of {self.files[sample]} are others than before")

    def _mark(self, page: Page, asked: str, chance: random.Random) -> None:
        """Marks the moments of a hit, sees them as clips, and goes back."""
        self._look(page, asked, chance)
        page.event("on_mark", threshold=page.state["threshold"])
        if not page.grid():
            raise WrongAnswer("no clip is shown")
        page.event("on_back")

    def _tag(self, page: Page, tag: str) -> None:
        samples = [hit["id"] for hit in page.hits]
        page.event("on_tag", value=tag)
        with self._lock:
            for sample in samples:
                self.tags[sample].add(tag)

    def _compute(self, page: Page, samples: list[str], *, changed: bool = False) -> None:
        """Computes a view of these samples; changed ones have another time, and are embedded anew."""
        for sample in samples if changed else ():
            os.utime(self.files[sample])
        view = [{"_cls": "fiftyone.core.stages.Select", "kwargs": [["sample_ids", samples], ["ordered", False]]}]
        told = page.run("compute_embeddings", {"brain_key": BRAIN_KEY, "view_target": "CURRENT_VIEW"}, view)
        if told["failed"]:
            raise WrongAnswer(told["failures"])

    def _take_up(self, page: Page, paths: list[str]) -> list[str]:
        """Adds samples, as another process does, and computes them; returns their ids."""
        for path in paths:
            self.truth.may_come(path)
        with self._lock:
            samples = [fo.Sample(filepath=path, captions=self.captions[path]) for path in paths]
            added: list[str] = self.dataset.add_samples(samples, progress=False)
            self.files.update(zip(added, paths, strict=True))
        self._compute(page, added)
        for path in paths:
            self.truth.is_there(path)
        return added

    def _give_up(self, page: Page, samples: list[str]) -> None:
        for sample in samples:
            self.truth.may_go(self.files[sample])
        page.delete(samples)
        for sample in samples:
            self.truth.is_gone(self.files[sample])

    def _typist(self, number: int) -> None:
        """A user with a page in Chromium, who types sentences; a search is over when the grid is painted."""
        chance, before = random.Random(self.seed * 1000 + number), ""
        with app_page(self.address, self.dataset) as (page, orders):
            open_panel(page)
            while not self._over.is_set() or not before:
                sentence = chance.choice([one for one in self.sentences if one != before])
                began, before = time.monotonic(), sentence
                try:
                    page.fill(QUERY, sentence)
                    page.press(QUERY, "Enter")
                    self._wait_for_answer(page, orders, sentence, began)
                    page.evaluate("() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))")
                except Exception as error:
                    self.log.failed("type in Chromium", error)
                else:
                    self.log.done("type in Chromium", time.monotonic() - began)
                page.wait_for_timeout(1000 * chance.expovariate(1 / self.think) if self.think else 0)

    def _wait_for_answer(self, page: Any, orders: list[list[str]], sentence: str, began: float) -> None:
        """Waits until the grid shows an answer to the sentence."""
        seen, problem = len(orders), WrongAnswer("the grid does not change")
        while time.monotonic() < began + 120:
            page.wait_for_timeout(50)
            for order in orders[seen:]:
                seen += 1
                try:
                    self.truth.check(sentence, [str(self.folder / "videos" / one) for one in order], began, FIRST)
                    return
                except WrongAnswer as error:  # it may have been drawn for what was shown before
                    problem = error
        raise problem
