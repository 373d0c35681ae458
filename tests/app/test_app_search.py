"""A sentence typed into the App's magnifier reorders a video dataset, in real Chromium.

The App runs in a process of its own that never imported this project.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from clip2video_plugin.shapes import caption

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
START = 120  # seconds the App may take to start


@pytest.fixture(scope="module")
def dataset(world, model, tmp_path_factory):
    import fiftyone as fo

    from clip2video_plugin import compute_clip2video
    from clip2video_plugin.datasets import CaptionedVideoFolder

    dataset = fo.Dataset.from_dir(dataset_dir=str(world[0]), dataset_type=CaptionedVideoFolder, name="app-search")
    dataset.persistent = True
    compute_clip2video(dataset, model=model, brain_key="c2v", index=tmp_path_factory.mktemp("app"), progress=False)
    yield dataset
    dataset.delete_brain_run("c2v")
    dataset.delete()


@pytest.fixture(scope="module")
def app(dataset, tmp_path_factory):
    """Address of an App server that shows the dataset."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("app-log") / "log").open("w")
    launch = [sys.executable, "-m", "fiftyone.core.cli"]
    script = os.path.join(os.path.dirname(sys.executable), "fiftyone")
    if os.path.exists(script):
        launch = [script]
    server = subprocess.Popen(
        [
            *launch,
            "app",
            "launch",
            dataset.name,
            "--remote",
            "--address",
            "127.0.0.1",
            "--port",
            str(port),
            "--wait",
            "-1",
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert server.poll() is None, "the App server ended"
            assert time.monotonic() < deadline, f"the App did not start within {START} s"
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    os.killpg(server.pid, 15)
    server.wait(30)


@pytest.fixture
def page(app, dataset):
    """A fresh page that shows the dataset's grid, and the order in which the grid shows the videos."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 2200, "height": 1000})
        page.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
        page.route("**/fonts.googleapis.com/**", lambda route: route.abort())
        orders: list[list[str]] = []

        def remember(response):
            if "/graphql" not in response.url or "paginateSamples" not in (response.request.post_data or ""):
                return
            if json.loads(response.request.post_data)["variables"].get("after"):
                return  # a later page of the same order
            try:
                edges = response.json()["data"]["samples"]["edges"]
            except Exception:
                return
            paths = [edge["node"]["sample"]["filepath"] for edge in edges]
            orders.append([path.rsplit("/", 1)[1] for path in paths])

        page.on("response", remember)
        page.goto(f"{app}/datasets/{dataset.name}")
        page.wait_for_selector('[data-cy="looker"]', timeout=90_000)
        yield page, orders
        browser.close()


def best(dataset, sentence):
    """The file that the same search finds from Python."""
    return dataset.sort_by_similarity(sentence, k=1, brain_key="c2v").first().filename


def type_sentence(page, orders, sentence, run):
    """Types into the magnifier, presses "Show results" of this ``run``-th search, returns the grid's new order."""
    page.click('[data-cy="action-sort-by-similarity"]')
    page.fill('[data-cy="input-Type anything!"]', sentence)
    with page.expect_response(lambda r: "/operators/execute" in r.url, timeout=120_000) as answer:
        page.press('[data-cy="input-Type anything!"]', "Enter")
    assert answer.value.json().get("error") is None, json.dumps(answer.value.json())[:2000]
    button = '[data-cy="panel-content-similarity_search_panel"] button[aria-label="Show results"]:not([disabled])'
    page.wait_for_function("([b, n]) => document.querySelectorAll(b).length == n", arg=[button, run], timeout=60_000)
    page.wait_for_timeout(500)
    before = orders[-1]
    page.locator(button).first.evaluate("e => e.click()")  # the newest search stands first
    for _ in range(200):
        if orders[-1] != before:
            return orders[-1]
        page.wait_for_timeout(200)
    raise AssertionError("the order of the grid did not change")


def test_a_sentence_typed_into_the_magnifier_reorders_the_videos(page, dataset, world):
    page, orders = page
    shot = os.environ.get("C2V_SCREENSHOT")
    # The model is right about nearly all of these; the App must be where it is.
    right = [n for n, scene in enumerate(world[1]) if best(dataset, caption(scene)) == f"{n:05d}.mp4"]
    assert len(right) >= 18
    for run, number in enumerate((right[1], right[-2]), start=1):
        sentence = caption(world[1][number])
        order = type_sentence(page, orders, sentence, run)
        assert order[0] == f"{number:05d}.mp4"
        assert len(order) > 1
        if shot:
            page.wait_for_timeout(3000)
            page.screenshot(path=shot.format(number))
        page.click('[data-cy="panel-tab-similarity_search_panel"] [title="Close"]')
        page.click('[data-cy="btn-clear-view-bar"]')
        page.wait_for_timeout(1500)
