"""The App in real Chromium: a server in a process of its own, and a page that remembers what the grid shows."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from clip2video_plugin.app import plugin

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
START = 120  # seconds the App may take to start
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]
QUERY, HIT, PANEL = (
    '[data-cy="clip2video-query"]',
    '[data-cy="clip2video-hit"]',
    '[data-cy="panel-content-video_search"]',
)
BUTTON = '[data-item-id="@clip2video/clip2video/open_video_search"]'
# Screenshots are kept where this names a folder.
SHOTS = os.environ.get("C2V_SCREENSHOTS")


@contextmanager
def app_server(dataset, log):
    """Address of an App server that shows a dataset."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = [sys.executable, "-c", "from fiftyone.core.cli import main; main()"]
    where = ["--remote", "--address", "127.0.0.1", "--port", str(port), "--wait", "-1"]
    with log.open("w") as output:
        server = subprocess.Popen(
            [*launch, "app", "launch", dataset.name, *where],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, f"the App server ended:\n{log.read_text()[-2000:]}"
                assert time.monotonic() < deadline, f"the App did not start within {START} s"
                time.sleep(0.5)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


@contextmanager
def plugin_server(dataset, tmp_path_factory, **environment):
    """Address of an App server that has the plugin, and makes indexes in a folder of its own."""
    plugin.install()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"C2V_INDEX": str(tmp_path_factory.mktemp("index")), **environment}.items():
            patch.setenv(name, value)
        with app_server(dataset, tmp_path_factory.mktemp("app-log") / "log") as address:
            yield address
    plugin.uninstall()


@contextmanager
def app_page(address, dataset):
    """A browser with one page, see ``open_page``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield open_page(browser, address, dataset)
        browser.close()


def open_page(browser, address, dataset):
    """A fresh page that shows the dataset, and the orders in which its grid has shown the videos so far."""
    page = browser.new_page(viewport={"width": 2200, "height": 1000})
    page.set_default_timeout(60_000)
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
        orders.append([edge["node"]["sample"]["filepath"].rsplit("/", 1)[1] for edge in edges])

    page.on("response", remember)
    page.goto(f"{address}/datasets/{dataset.name}")
    page.wait_for_selector('[data-cy="looker"]', timeout=90_000)
    return page, orders


def files(samples):
    """File names in order."""
    return [path.rsplit("/", 1)[1] for path in samples.values("filepath")]


def start_over(page, orders, dataset, panel=None):
    """Closes the panel and clears the view that the page before left in the App's session."""
    tab = page.locator(f'[data-cy="panel-tab-{panel}"] [title="Close"]')
    if tab.is_visible():
        tab.click()
    clear = page.locator('[data-cy="btn-clear-view-bar"]')
    if clear.is_visible():
        clear.click()
        wait_for_order(page, orders, files(dataset))


def open_panel(page, shows=QUERY):
    """Opens the Video search panel, and waits for what it shows."""
    from playwright.sync_api import TimeoutError as NotYet

    for _ in range(30):  # on a busy machine the button is there before it does anything
        page.locator(BUTTON).evaluate("e => e.click()")  # it may lie under a neighbour where the row is full
        with suppress(NotYet):
            page.wait_for_selector(PANEL, timeout=3_000)
            break
    page.wait_for_selector(shows, timeout=60_000)


def wait_for_order(page, orders, expected, seconds=60):
    """Waits until the grid's first page shows these files in this order; waiting on the page lets its events arrive."""
    for _ in range(seconds * 20):
        if orders and len(orders[-1]) > 1 and orders[-1] == expected[: len(orders[-1])]:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"the grid shows {orders[-1][:3]}..., not {expected[:3]}...")


def select_first(page):
    """Selects the first video of the grid."""
    page.wait_for_timeout(3000)  # the grid makes room for the panel
    select(page, 0)


def select(page, number):
    """Selects a video of the grid besides those that are selected."""
    box = page.locator('[data-cy="looker"]').nth(number).bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.wait_for_timeout(500)
    page.mouse.click(box["x"] + 20, box["y"] + 20)  # the box that appears in its corner


DIALOG = '[role="dialog"]'


def open_operator(page, label):
    """Opens an operator's form, from the list that ` opens."""
    page.keyboard.press("`")
    page.fill('[data-cy="operators-browser-search"]', label)
    page.wait_for_timeout(500)
    page.keyboard.press("Enter")
    page.wait_for_selector(f'{DIALOG} [aria-haspopup="menu"]', timeout=60_000)
    page.wait_for_timeout(1000)


def field(page, label):
    """The input of a form that stands under this label."""
    return page.locator(f'{DIALOG} .MuiGrid-item:has(p:text-is("{label}")) input').last


def execute(page):
    """Presses Execute; returns what the operator's output says."""
    page.wait_for_selector(f"{DIALOG} button:text-is('Execute'):not([disabled])", timeout=60_000)
    page.click(f"{DIALOG} button:text-is('Execute')")
    page.wait_for_selector(f"{DIALOG} button:text-is('Close')", timeout=300_000)
    page.wait_for_function(f"document.querySelector('{DIALOG}').innerText.trim() != 'Close'", timeout=60_000)
    said = page.locator(DIALOG).last.inner_text()
    page.click(f"{DIALOG} button:text-is('Close')")
    return " ".join(said.split())


def refuses(page, why):
    """The form says why it cannot be executed, and cannot be."""
    page.wait_for_selector(f'{DIALOG} :text("{why}")', timeout=60_000)
    page.wait_for_selector(f'{DIALOG} [aria-haspopup="menu"][disabled]', timeout=60_000)


def cancel(page):
    page.click(f"{DIALOG} button:text-is('Cancel')")
    page.wait_for_selector(DIALOG, state="detached", timeout=60_000)


def shoot(page, name):
    """Keeps a screenshot as a test artefact, where C2V_SCREENSHOTS names a folder."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(1500)  # thumbnails
        page.screenshot(path=f"{SHOTS}/{name}.png")
