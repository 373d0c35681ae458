"""``c2v demo --app`` as a newcomer meets it: the real command, in a home of its own, and real Chromium."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request

import psutil
import pytest

from clip2video_plugin.shapes import caption, held_out_scenes

from ..conftest import C2V
from .browser import CHROMIUM, FLAGS, MARKS, QUERY, open_panel, shoot

pytestmark = MARKS
START = 240  # seconds, on a busy machine


class Demo:
    """The command in a home of its own, where the user has a plugin and the demo never ran."""

    def __init__(self, folder):
        self.home, self.out = folder / "home", folder / "out"
        self.plugins = self.home / "fiftyone" / "__plugins__"
        (self.plugins / "mine").mkdir(parents=True)
        (self.plugins / "mine" / "fiftyone.yml").write_text("name: '@me/mine'\n")
        self.before = self.files()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("C2V_", "FIFTYONE_", "MPL"))}
        self.environment |= {"HOME": str(self.home), "FIFTYONE_PLUGINS_DIR": str(self.plugins)}

    def start(self):
        with self.out.open("w") as out:
            command = [*C2V, "demo", "--app", "--port", str(self.port)]
            return subprocess.Popen(command, env=self.environment, cwd=self.home, stdout=out, stderr=out)

    def files(self):
        """Everything in the home but what the demo keeps in its own folder."""
        return {
            path: path.read_bytes() if path.is_file() else None
            for path in self.home.rglob("*")
            if ".cache/clip2video" not in str(path) and path.name != ".cache"
        }

    def address(self, process):
        """The address that the command says, once it has."""
        deadline = time.monotonic() + START
        while not (found := re.search(r"http://\S+", self.out.read_text())):
            assert process.poll() is None, self.out.read_text()
            assert time.monotonic() < deadline, self.out.read_text()
            time.sleep(0.2)
        return found[0]


def lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return Demo(tmp_path_factory.mktemp("newcomer"))


@pytest.fixture(scope="module")
def running(demo):
    process = demo.start()
    yield process, demo.address(process)
    if process.poll() is None:
        process.kill()


def test_the_address_is_said_when_the_app_answers(demo, running):
    with urllib.request.urlopen(running[1], timeout=10) as answer:
        assert answer.status == 200
    said = demo.out.read_text()
    assert "Video search button" in said
    assert "ssh" not in said
    assert "Could not connect" not in said


def test_the_panel_is_there_and_finds_what_is_typed(demo, running):
    from playwright.sync_api import sync_playwright

    sentence = caption(held_out_scenes(48, 19)[0])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 2200, "height": 1000})
        page.set_default_timeout(60_000)
        page.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
        page.route("**/fonts.googleapis.com/**", lambda route: route.abort())
        page.goto(f"http://127.0.0.1:{demo.port}/")  # who types the port alone is there as well
        page.wait_for_selector('[data-cy="looker"]', timeout=90_000)
        open_panel(page)
        page.fill(QUERY, sentence)
        page.press(QUERY, "Enter")
        page.wait_for_selector(':text("of 48 videos, best score")', timeout=120_000)
        page.wait_for_selector('[data-cy="looker"]')
        shoot(page, "demo-app")
        assert page.url.startswith(running[1])
        browser.close()


def test_a_port_that_is_taken_is_one_line_before_any_work(demo, running):
    began = time.monotonic()
    second = subprocess.run(
        [*C2V, "demo", "--app", "--port", str(demo.port)], env=demo.environment, capture_output=True, text=True
    )
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"c2v: the App cannot be at 127.0.0.1:{demo.port} (Address already in use); choose another port with --port\n"
    )
    assert time.monotonic() - began < 30


def test_killed_it_starts_again_and_ctrl_c_leaves_no_process(demo, running):
    process, address = running
    children = psutil.Process(process.pid).children(recursive=True)
    app = next(child for child in children if "clip2video_plugin.app.demo.serve" in child.cmdline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while lives(app) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not lives(app)
    again = demo.start()
    assert demo.address(again) == address
    children += psutil.Process(again.pid).children(recursive=True)
    again.send_signal(signal.SIGINT)
    assert again.wait(60) == 0
    assert [child for child in children if lives(child)] == []
    assert "Traceback" not in demo.out.read_text()
    assert demo.files() == demo.before  # all of the user's home, the plugins folder included
