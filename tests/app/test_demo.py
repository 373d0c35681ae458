"""``c2v demo`` from nothing, in a process of its own, and the plugin as FiftyOne loads it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import fiftyone as fo

ROOT = Path(__file__).parent.parent.parent


def test_the_demo_finds_its_three_sentences(c2v, tmp_path):
    start = time.monotonic()
    done = c2v("demo", "--dir", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 180
    assert done.stdout.count("among 48 videos") == 3
    assert "c2v demo --app" in done.stdout
    assert "generated shapes only" not in done.stdout + done.stderr
    again = c2v("demo", "--dir", tmp_path / "demo", env={**os.environ, "C2V_MODEL": "another"})
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


def test_the_demo_keeps_out_of_the_database_of_its_parent_process(c2v, tmp_path):
    fo.list_datasets()  # from here on, child processes would share this process's database
    assert c2v("demo", "--dir", tmp_path / "demo").returncode == 0
    assert "clip2video-demo" not in fo.list_datasets()


def test_the_app_cannot_open_before_the_demo_was_run(tmp_path):
    code = (
        "import sys; from pathlib import Path; from clip2video_plugin.app.demo import open_app; "
        "open_app(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "demo"], capture_output=True, text=True, timeout=120)
    assert "not been run yet: c2v demo" in done.stderr
